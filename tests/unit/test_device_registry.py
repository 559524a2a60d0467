"""The typed client of DeviceRegistry against the real contract on a real node."""

import secrets

import pytest

from imprimatur.chain import typed_data
from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.orders import Terms
from imprimatur.chain.signers import KeySigner
from support.node import FOR_EVER

FILE_HASH = "5a" * 32
EVIDENCE = b"\x0e" * 32


@pytest.fixture(scope="module")
def wallet(chain):
    return chain.account()


@pytest.fixture
def device():
    return KeySigner(secrets.token_bytes(32))


def test_binding_and_unbinding(chain, wallet, device):
    assert chain.devices.wallet_of(device.address) is None
    chain.bind(wallet, device)
    assert chain.devices.wallet_of(device.address) == wallet.address
    assert chain.devices.nonce_of(device.address) == 1
    chain.send(wallet, chain.devices.unbind_call(device.address), chain.devices)
    assert chain.devices.wallet_of(device.address) is None
    names = [event.name for event in chain.devices.events(device=device.address)]
    assert names == ["DeviceBound", "DeviceUnbound"]


def test_a_devices_consent_counts_once(chain, wallet, device):
    consent = typed_data.sign_binding(device, chain.device_domain, wallet.address, 0, FOR_EVER)
    bind = chain.devices.bind_call(device.address, FOR_EVER, consent)
    chain.send(wallet, bind, chain.devices)
    chain.send(wallet, chain.devices.unbind_call(device.address), chain.devices)
    with pytest.raises(ContractReverted, match="InvalidDeviceSignature"):
        chain.send(wallet, bind, chain.devices)


def test_refusals_have_names(chain, wallet, device):
    with pytest.raises(ContractReverted) as caught:
        chain.send(wallet, chain.devices.retract_call(device.address), chain.devices)
    assert caught.value.name == "NotAttested"
    assert caught.value.values == {"device": device.address, "attestor": wallet.address}


def test_trust_needs_statement_presentation_and_acceptance(chain, wallet, device):
    owner, attestor = chain.account(), chain.account()
    devices = chain.devices
    chain.bind(wallet, device)
    id = chain.issue(owner, wallet.address, FILE_HASH, 1, "trusted", flags=Terms.TRUSTED_DEVICE)
    steps = [
        (attestor, devices.attest_call(device.address, EVIDENCE)),
        (wallet, devices.present_attestor_call(device.address, attestor.address)),
        (owner, devices.accept_attestor_call(attestor.address)),
    ]
    for sender, step in steps:
        assert not devices.is_trusted(device.address, owner.address)
        assert chain.licenses.can_use(id, FILE_HASH, device.address).reason == "DeviceNotTrusted"
        chain.send(sender, step, devices)
    assert devices.is_trusted(device.address, owner.address)
    assert chain.licenses.can_use(id, FILE_HASH, device.address)
    assert devices.attestation_of(attestor.address, device.address) == EVIDENCE
    assert devices.attestors_of(device.address) == [attestor.address]
    assert devices.accepts_attestor(owner.address, attestor.address)

    chain.send(attestor, devices.retract_call(device.address), devices)
    assert devices.attestation_of(attestor.address, device.address) is None
    assert not devices.is_trusted(device.address, owner.address)
