"""Uses and failures that devices signed and somebody else submits: bad entries are named and harm nobody."""

from types import SimpleNamespace

import pytest
from brownie import chain

from conftest import (
    EVIDENCE,
    FILE_HASH,
    FOR_EVER,
    NOBODY,
    OTHER_HASH,
    REVOCABLE,
    TRUSTED_DEVICE,
    WORDS,
    license_id,
    names,
    reason,
)
from imprimatur.chain import typed_data


@pytest.fixture
def sign(domain):
    """A signed use as the contract's struct."""

    def sign_use(key, id, copy=1, within=None, **changes):
        fields = {
            "id": id,
            "file_hash": f"{FILE_HASH:064x}",
            "copy": copy,
            "key_recipient": bytes.fromhex(WORDS[0][2:]),
            "encrypted_serial": bytes.fromhex(WORDS[1][2:]),
            "commitment": bytes.fromhex(WORDS[2][2:]),
            "deadline": FOR_EVER,
        }
        use = typed_data.Use(**(fields | changes))
        return tuple(typed_data.sign_use(key.signer, within or domain, use).values().values())

    return sign_use


@pytest.fixture
def sign_failure(domain):
    """A signed failure as the contract's struct."""

    def sign(key, id, copy=1, deadline=FOR_EVER):
        failure = typed_data.Failure(id, copy, bytes.fromhex(EVIDENCE[2:]), deadline)
        return tuple(typed_data.sign_failure(key.signer, domain, failure).values().values())

    return sign


@pytest.fixture
def submit(licenses, people):
    """Hands signed uses in as a stranger."""
    return lambda *uses: licenses.useLicensesSigned(uses, {"from": people.stranger})


@pytest.fixture
def signed_license(keys, issued):
    """Issues a license whose printer is a key that the tests hold; its id."""
    return lambda **changes: issued(**({"printer": keys.printer.address} | changes))


def test_stranger_submits_what_the_printer_signed(people, keys, signed_license, sign, submit):
    id = signed_license()
    tx = submit(sign(keys.printer, id))
    assert names(tx) == ["LicenseUsed", "TransferSingle", "PrintLogged", "SerialRegistered"]
    used = tx.events["LicenseUsed"]
    assert (used["id"], used["device"], used["copy"], used["keyRecipient"]) == (
        id,
        keys.printer.address,
        1,
        WORDS[0],
    )
    assert tx.events["TransferSingle"]["operator"] == people.stranger
    assert tx.events["SerialRegistered"]["device"] == keys.printer.address
    assert tx.events["PrintLogged"]["encryptedSerial"] == WORDS[1]


def test_bound_device_signs(keys, signed_license, sign, submit, bind):
    id = signed_license()
    bind(keys.printer.account, keys.device)
    assert submit(sign(keys.device, id)).events["LicenseUsed"]["device"] == keys.device.address


def test_replay_is_skipped(licenses, keys, signed_license, sign, submit):
    """In the same batch and in a later one: the copy number is the nonce."""
    id = signed_license()
    use = sign(keys.printer, id)
    for tx in (submit(use, use), submit(use)):
        skipped = tx.events["UseSkipped"][-1]
        assert (skipped["id"], skipped["copy"], reason(skipped)) == (id, 1, "CopyOutOfOrder")
    assert licenses.licenseOf(id)["used"] == 1


@pytest.mark.parametrize("field", [1, 2, 3, 4, 5, 6])
def test_front_runner_cannot_change_anything(licenses, keys, signed_license, sign, submit, field):
    """Each field is signed: with another value the signature is somebody else's."""
    id = signed_license()
    use = list(sign(keys.printer, id))
    use[field] = OTHER_HASH if field in (1, 2, 6) else "0x" + "77" * 32
    assert reason(submit(tuple(use)).events["UseSkipped"]) in ("NotThePrinter", "InvalidSignature")
    assert licenses.licenseOf(id)["used"] == 0


@pytest.mark.parametrize(
    "change",
    [{"chainId": 1}, {"verifyingContract": NOBODY}, {"version": "2"}, {"name": "Imprimatur DeviceRegistry"}],
    ids=lambda change: next(iter(change)),
)
def test_signature_for_another_domain(keys, domain, signed_license, sign, submit, change):
    use = sign(keys.printer, signed_license(), within=domain | change)
    assert reason(submit(use).events["UseSkipped"]) == "NotThePrinter"


def test_malleable_signature(licenses, keys, signed_license, sign, submit):
    """The compact form has no room for a high s: its bit is v's, so another account comes out."""
    id = signed_license()
    use = sign(keys.printer, id)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    vs = int.from_bytes(use[-1], "big")
    s, parity = vs & (1 << 255) - 1, vs >> 255
    high = (order - s) & (1 << 255) - 1 | (1 - parity) << 255
    tx = submit((*use[:-1], high.to_bytes(32, "big")))
    assert names(tx) == ["UseSkipped"]
    assert licenses.licenseOf(id)["used"] == 0


@pytest.mark.parametrize(("r", "vs"), [(0, 0), (0, 1), (2**256 - 1, 1)])
def test_no_signature_at_all(keys, signed_license, sign, submit, r, vs):
    use = sign(keys.printer, signed_license())
    words = (r.to_bytes(32, "big"), vs.to_bytes(32, "big"))
    assert reason(submit((*use[:-2], *words)).events["UseSkipped"]) == "InvalidSignature"


def test_each_reason_has_its_name(licenses, people, keys, issued, sign, submit, signed_license):
    soon = chain.time() + 100
    fresh = SimpleNamespace(
        expired=signed_license(number=1, validUntil=soon),
        revoked=signed_license(number=2, flags=REVOCABLE),
        used_up=signed_license(number=3, copies=1),
        trusted=signed_license(number=4, flags=TRUSTED_DEVICE),
        good=signed_license(number=5),
    )
    licenses.revoke(fresh.revoked, {"from": people.owner})
    licenses.useLicense(fresh.used_up, FILE_HASH, {"from": keys.printer.account})
    chain.sleep(200)
    nowhere = license_id(people.stranger)
    key = keys.printer
    cases = [
        (sign(key, nowhere), "LicenseNotFound"),
        (sign(keys.stranger, fresh.good), "NotThePrinter"),
        (sign(key, fresh.revoked), "LicenseIsRevoked"),
        (sign(key, fresh.expired), "LicenseExpired"),
        (sign(key, fresh.good, file_hash="00" * 32), "FileHashIsZero"),
        (sign(key, fresh.good, file_hash=f"{OTHER_HASH:064x}"), "FileHashMismatch"),
        (sign(key, fresh.used_up, copy=2), "LicenseExhausted"),
        (sign(key, fresh.trusted), "DeviceNotTrusted"),
        (sign(key, fresh.good, copy=2), "CopyOutOfOrder"),
        (sign(key, fresh.good, copy=0), "CopyOutOfOrder"),
        (sign(key, fresh.good, deadline=soon), "SignatureExpired"),
    ]
    uses = [use for use, _ in cases]
    tx = submit(*uses, sign(key, fresh.good))
    skipped = tx.events["UseSkipped"]
    assert [reason(event) for event in skipped] == [name for _, name in cases]
    assert [event["id"] for event in skipped] == [use[0] for use in uses]
    # The good one at the end of them all was done.
    assert tx.events["LicenseUsed"]["id"] == fresh.good


def test_failures_are_submitted_by_anybody(licenses, people, keys, signed_license, sign_failure):
    id = signed_license(copies=5, failuresAllowed=1)
    for _ in range(2):
        licenses.useLicense(id, FILE_HASH, {"from": keys.printer.account})
    failure = sign_failure(keys.printer, id, 2)
    tx = licenses.reportFailuresSigned([failure], {"from": people.stranger})
    assert names(tx) == ["PrintFailed", "TransferSingle"]
    assert tx.events["PrintFailed"]["evidence"] == EVIDENCE
    assert licenses.licenseOf(id)["remaining"] == 4

    cases = [
        (failure, "CopyNotRefundable"),
        (sign_failure(keys.printer, id, 1), "NoFreeFailureLeft"),
        (sign_failure(keys.printer, id, 3), "CopyNotRefundable"),
        (sign_failure(keys.stranger, id, 1), "NotThePrinter"),
        (sign_failure(keys.printer, id + 1, 1), "LicenseNotFound"),
        (sign_failure(keys.printer, id, 1, deadline=1), "SignatureExpired"),
        ((*failure[:-2], "0x" + "00" * 32, "0x" + "00" * 32), "InvalidSignature"),
    ]
    tx = licenses.reportFailuresSigned([entry for entry, _ in cases], {"from": people.stranger})
    assert [reason(event) for event in tx.events["FailureSkipped"]] == [name for _, name in cases]
    assert licenses.licenseOf(id)["failed"] == 1


def test_changed_failure_report(people, keys, licenses, signed_license, sign_failure):
    id = signed_license(copies=5, failuresAllowed=1)
    for _ in range(2):
        licenses.useLicense(id, FILE_HASH, {"from": keys.printer.account})
    failure = list(sign_failure(keys.printer, id, 2))
    failure[1] = 1
    tx = licenses.reportFailuresSigned([tuple(failure)], {"from": people.stranger})
    assert names(tx) == ["FailureSkipped"]


def test_empty_batches(licenses, people):
    assert names(licenses.useLicensesSigned([], {"from": people.stranger})) == []
    assert names(licenses.reportFailuresSigned([], {"from": people.stranger})) == []


def test_full_block_of_uses(licenses, people, keys, issued, sign, submit):
    """A batch of sixty of one license, in order, in one transaction."""
    id = issued(printer=keys.printer.address, copies=60)
    tx = submit(*(sign(keys.printer, id, copy) for copy in range(1, 61)))
    assert [event["copy"] for event in tx.events["LicenseUsed"]] == list(range(1, 61))
    assert licenses.licenseOf(id)["remaining"] == 0
