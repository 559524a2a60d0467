"""Consuming with a log of the serial: one of each, adjacent, and only for a copy that was consumed."""

import pytest

from conftest import FILE_HASH, NOBODY, OTHER_HASH, WORDS, license_id, moved, names, refused


def test_both_entries_stand_together(licenses, people, issued):
    id = issued()
    tx = licenses.useLicenseAndLog(id, FILE_HASH, 1, *WORDS, {"from": people.printer})
    assert names(tx) == ["LicenseUsed", "TransferSingle", "PrintLogged", "SerialRegistered"]
    used, logged, registered = (tx.events[n] for n in ("LicenseUsed", "PrintLogged", "SerialRegistered"))
    assert (used["id"], used["device"], used["copy"]) == (id, people.printer, 1)
    assert (used["fileHash"], used["keyRecipient"]) == (FILE_HASH, WORDS[0])
    assert moved(tx) == (people.printer, people.printer, NOBODY, id, 1)
    assert (logged["id"], logged["copy"], logged["encryptedSerial"]) == (id, 1, WORDS[1])
    assert (registered["commitment"], registered["device"]) == (WORDS[2], people.printer)


@pytest.mark.parametrize("copy", [0, 1, 3, 2**16 + 2, 2**256 - 1])
def test_only_the_next_copy(licenses, people, printed, copy):
    """The copy number is the nonce: a repeated call can't consume a second copy."""
    id = printed(1)
    with refused("CopyOutOfOrder", id, copy, 2):
        licenses.useLicenseAndLog(id, FILE_HASH, copy, *WORDS, {"from": people.printer})
    licenses.useLicenseAndLog(id, FILE_HASH, 2, *WORDS, {"from": people.printer})


def test_no_serial_without_a_license(licenses, people, issued):
    id = issued(copies=1)
    send = {"from": people.printer}
    with refused("NotThePrinter", id, people.stranger):
        licenses.useLicenseAndLog(id, FILE_HASH, 1, *WORDS, {"from": people.stranger})
    with refused("FileHashMismatch", id, OTHER_HASH):
        licenses.useLicenseAndLog(id, OTHER_HASH, 1, *WORDS, send)
    licenses.useLicenseAndLog(id, FILE_HASH, 1, *WORDS, send)
    with refused("LicenseExhausted", id):
        licenses.useLicenseAndLog(id, FILE_HASH, 2, *WORDS, send)
    with refused("LicenseNotFound", license_id(people.stranger)):
        licenses.useLicenseAndLog(license_id(people.stranger), FILE_HASH, 1, *WORDS, send)


def test_cost_does_not_grow_with_the_parts(licenses, people, printed):
    """SAMPL's contract kept serials in an array: 206,155 gas for the first, 1,200,204 for the 400th."""
    id = printed(1, copies=400)
    first = licenses.useLicenseAndLog(id, FILE_HASH, 2, *WORDS, {"from": people.printer})
    for copy in range(3, 20):
        last = licenses.useLicenseAndLog(id, FILE_HASH, copy, *WORDS, {"from": people.printer})
    assert first.gas_used == last.gas_used
