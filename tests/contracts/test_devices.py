"""Devices: wallets bind them, anybody states something about them, owners choose whom to believe."""

import pytest
from brownie import chain

from conftest import (
    EVIDENCE,
    FILE_HASH,
    FOR_EVER,
    NOBODY,
    TRUSTED_DEVICE,
    high_s,
    names,
    refused,
)
from imprimatur.chain import typed_data


@pytest.fixture
def consent(keys, device_domain, people):
    """The device's signature, with every part replaceable."""

    def sign(wallet=people.printer, key=keys.device, nonce=0, deadline=FOR_EVER, domain=device_domain):
        return typed_data.sign_binding(key.signer, domain, str(wallet), nonce, deadline)

    return sign


def test_bind(registry, people, keys, bind):
    tx = bind(people.printer, keys.device)
    event = tx.events["DeviceBound"]
    assert (event["device"], event["wallet"]) == (keys.device.address, people.printer)
    assert registry.walletOf(keys.device.address) == people.printer
    assert registry.nonceOf(keys.device.address) == 1


def test_device_has_one_wallet(people, keys, bind):
    bind(people.printer, keys.device)
    for wallet in (people.printer, people.buyer):
        with refused("DeviceIsBound", keys.device.address, people.printer):
            bind(wallet, keys.device)


def test_consent_is_for_one_wallet(registry, people, keys, consent):
    with refused("InvalidDeviceSignature", keys.device.address):
        registry.bind(keys.device.address, FOR_EVER, consent(), {"from": people.stranger})


def test_consent_counts_once(registry, people, keys, consent):
    """After unbinding the device has to agree again: nobody can bind it with the old signature."""
    registry.bind(keys.device.address, FOR_EVER, consent(), {"from": people.printer})
    registry.unbind(keys.device.address, {"from": keys.device.account})
    with refused("InvalidDeviceSignature", keys.device.address):
        registry.bind(keys.device.address, FOR_EVER, consent(), {"from": people.printer})
    registry.bind(keys.device.address, FOR_EVER, consent(nonce=1), {"from": people.printer})
    assert registry.nonceOf(keys.device.address) == 2


def test_consent_ends(registry, people, keys, consent):
    deadline = chain.time() + 100
    chain.sleep(200)
    with refused("BindingExpired", keys.device.address, deadline):
        registry.bind(keys.device.address, deadline, consent(deadline=deadline), {"from": people.printer})


@pytest.mark.parametrize(
    "damage",
    [
        lambda sign, keys, domain: sign(key=keys.stranger),
        lambda sign, keys, domain: sign(nonce=1),
        lambda sign, keys, domain: sign(deadline=5),
        lambda sign, keys, domain: sign(domain=domain | {"chainId": 1}),
        lambda sign, keys, domain: sign(domain=domain | {"name": "Imprimatur PrintLicense"}),
        lambda sign, keys, domain: high_s(sign()),
        lambda sign, keys, domain: sign()[:-2],
        lambda sign, keys, domain: "0x",
        lambda sign, keys, domain: "0x" + "00" * 65,
    ],
    ids=["key", "nonce", "deadline", "chain", "contract", "high s", "short", "empty", "zeros"],
)
def test_wrong_consent(registry, people, keys, consent, device_domain, damage):
    signature = damage(consent, keys, device_domain)
    with refused("InvalidDeviceSignature", keys.device.address):
        registry.bind(keys.device.address, FOR_EVER, signature, {"from": people.printer})


def test_nobody_cannot_be_bound(registry, people):
    """A signature that recovers to nothing isn't the zero account's consent."""
    with refused("InvalidDeviceSignature", NOBODY):
        registry.bind(NOBODY, FOR_EVER, "0x" + "00" * 65, {"from": people.printer})


@pytest.mark.parametrize("who", ["wallet", "device"])
def test_unbind(registry, people, keys, bind, who):
    bind(people.printer, keys.device)
    account = people.printer if who == "wallet" else keys.device.account
    tx = registry.unbind(keys.device.address, {"from": account})
    event = tx.events["DeviceUnbound"]
    assert (event["device"], event["wallet"]) == (keys.device.address, people.printer)
    assert registry.walletOf(keys.device.address) == NOBODY


def test_refused_unbinding(registry, people, keys, bind):
    with refused("NotTheDevice", keys.device.address, people.printer):
        registry.unbind(keys.device.address, {"from": people.printer})
    with refused("DeviceIsNotBound", keys.device.address):
        registry.unbind(keys.device.address, {"from": keys.device.account})
    bind(people.printer, keys.device)
    with refused("NotTheDevice", keys.device.address, people.stranger):
        registry.unbind(keys.device.address, {"from": people.stranger})


def test_bound_device_prints_for_its_wallet(licenses, registry, people, keys, issued, bind):
    id = issued(copies=5)
    use = lambda: licenses.useLicense(id, FILE_HASH, {"from": keys.device.account})  # noqa: E731
    with refused("NotThePrinter", id, keys.device.address):
        use()
    bind(people.printer, keys.device)
    assert use().events["LicenseUsed"]["device"] == keys.device.address
    registry.unbind(keys.device.address, {"from": people.printer})
    with refused("NotThePrinter", id, keys.device.address):
        use()


def test_unbound_device_is_no_printer_of_nobody(licenses, keys, issued, people):
    """An unbound device acts for the zero account, which holds no license."""
    issued()
    unknown = int(str(people.stranger), 16) << 96
    with refused("LicenseNotFound", unknown):
        licenses.useLicense(unknown, FILE_HASH, {"from": keys.device.account})


def test_statements(registry, people, keys):
    device = keys.device.address
    tx = registry.attest(device, EVIDENCE, {"from": people.attestor})
    event = tx.events["DeviceAttested"]
    assert (event["device"], event["attestor"], event["evidence"]) == (device, people.attestor, EVIDENCE)
    assert registry.attestationOf(people.attestor, device) == EVIDENCE
    tx = registry.retract(device, {"from": people.attestor})
    assert names(tx) == ["AttestationRetracted"]
    assert registry.attestationOf(people.attestor, device) == "0x" + "00" * 32
    with refused("NotAttested", device, people.attestor):
        registry.retract(device, {"from": people.attestor})
    with refused("NoEvidence", device):
        registry.attest(device, "0x" + "00" * 32, {"from": people.attestor})


def test_presenting(registry, accounts, people, keys, bind):
    device = keys.device.address
    tx = registry.presentAttestor(device, people.attestor, True, {"from": keys.device.account})
    event = tx.events["AttestorPresented"]
    assert (event["device"], event["attestor"], event["presented"]) == (device, people.attestor, True)
    with refused("AlreadyPresented", device, people.attestor):
        registry.presentAttestor(device, people.attestor, True, {"from": keys.device.account})
    with refused("NotTheDevice", device, people.printer):
        registry.presentAttestor(device, people.buyer, True, {"from": people.printer})
    bind(people.printer, keys.device)
    registry.presentAttestor(device, people.buyer, True, {"from": people.printer})
    assert list(registry.attestorsOf(device)) == [people.attestor, people.buyer]
    registry.presentAttestor(device, people.attestor, False, {"from": people.printer})
    assert list(registry.attestorsOf(device)) == [people.buyer]
    with refused("NotPresented", device, people.attestor):
        registry.presentAttestor(device, people.attestor, False, {"from": people.printer})


def test_device_shows_eight_statements_at_most(registry, accounts, keys):
    device = keys.device
    for attestor in accounts[:8]:
        registry.presentAttestor(device.address, attestor, True, {"from": device.account})
    with refused("TooManyAttestors", device.address, 8):
        registry.presentAttestor(device.address, accounts[8], True, {"from": device.account})
    assert registry.MAX_ATTESTORS() == 8


def test_trust_takes_all_three(licenses, registry, people, keys, issued, bind):
    """A statement, shown by the device, of somebody whom this license's owner accepts."""
    id = issued(copies=9, flags=TRUSTED_DEVICE)
    bind(people.printer, keys.device)
    device = keys.device
    steps = [
        lambda: registry.attest(device.address, EVIDENCE, {"from": people.attestor}),
        lambda: registry.presentAttestor(device.address, people.attestor, True, {"from": device.account}),
        lambda: registry.acceptAttestor(people.attestor, True, {"from": people.owner}),
    ]
    for step in steps:
        assert not registry.isTrusted(device.address, people.owner)
        with refused("DeviceNotTrusted", id, device.address):
            licenses.useLicense(id, FILE_HASH, {"from": device.account})
        tx = step()
    event = tx.events["AttestorAccepted"]
    assert (event["owner"], event["attestor"], event["accepted"]) == (people.owner, people.attestor, True)
    assert registry.acceptsAttestor(people.owner, people.attestor)
    assert not registry.isTrusted(device.address, people.stranger)
    licenses.useLicense(id, FILE_HASH, {"from": device.account})
    # The wallet itself isn't attested.
    with refused("DeviceNotTrusted", id, people.printer):
        licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    registry.acceptAttestor(people.attestor, False, {"from": people.owner})
    with refused("DeviceNotTrusted", id, device.address):
        licenses.useLicense(id, FILE_HASH, {"from": device.account})


def test_attestor_cannot_print(licenses, registry, people, keys, issued):
    """Vouching for a device, even an accepted one, gives no right to its copies."""
    id = issued(flags=TRUSTED_DEVICE)
    registry.acceptAttestor(people.attestor, True, {"from": people.owner})
    registry.attest(people.attestor, EVIDENCE, {"from": people.attestor})
    registry.presentAttestor(people.attestor, people.attestor, True, {"from": people.attestor})
    assert registry.isTrusted(people.attestor, people.owner)
    with refused("NotThePrinter", id, people.attestor):
        licenses.useLicense(id, FILE_HASH, {"from": people.attestor})


def test_license_contract_names_its_registry(licenses, registry):
    assert licenses.DEVICES() == registry
