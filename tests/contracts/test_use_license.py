"""Consuming copies: only the printer, only its file, never more than was issued."""

import pytest
from brownie import chain

from conftest import FILE_HASH, OTHER_HASH, license_id, refused


def test_each_use_consumes_one_copy(licenses, people, issued):
    id = issued(copies=4)
    for copy in range(1, 5):
        tx = licenses.useLicense(id, FILE_HASH, {"from": people.printer})
        event = tx.events["LicenseUsed"]
        assert (event["id"], event["device"], event["copy"]) == (id, people.printer, copy)
        assert event["fileHash"] == FILE_HASH
        assert event["keyRecipient"] == "0x" + "00" * 32
        license = licenses.licenseOf(id)
        assert (license["remaining"], license["used"]) == (4 - copy, copy)


def test_exhausted_license_reverts(licenses, people, issued):
    """SAMPL's contract answered with a successful receipt: a client that trusts it prints unlicensed."""
    id = issued(copies=1)
    licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    for _ in range(2):
        with refused("LicenseExhausted", id):
            licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    license = licenses.licenseOf(id)
    assert (license["remaining"], license["used"]) == (0, 1)


@pytest.mark.parametrize("caller", ["owner", "operator", "stranger", "deployer"])
def test_only_the_printer_consumes(licenses, people, issued, caller):
    id = issued()
    account = getattr(people, caller)
    with refused("NotThePrinter", id, account):
        licenses.useLicense(id, FILE_HASH, {"from": account})
    assert licenses.licenseOf(id)["remaining"] == 2


def test_wrong_file_reverts(licenses, people, issued):
    id = issued()
    with refused("FileHashMismatch", id, OTHER_HASH):
        licenses.useLicense(id, OTHER_HASH, {"from": people.printer})
    assert licenses.licenseOf(id)["remaining"] == 2


def test_zero_hash_reverts(licenses, people, issued):
    """SAMPL's contract skipped the file check for a hash of zero."""
    id = issued()
    with refused("FileHashIsZero", id):
        licenses.useLicense(id, 0, {"from": people.printer})
    assert licenses.licenseOf(id)["remaining"] == 2


@pytest.mark.parametrize("file_hash", [0, FILE_HASH])
def test_unknown_license_reverts(licenses, people, file_hash):
    id = license_id(people.owner)
    with refused("LicenseNotFound", id):
        licenses.useLicense(id, file_hash, {"from": people.printer})


def test_expired_license_reverts(licenses, people, issued):
    until = chain.time() + 100
    id = issued(validUntil=until)
    licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    chain.sleep(200)
    with refused("LicenseExpired", id, until):
        licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    assert licenses.licenseOf(id)["remaining"] == 1


def test_last_of_the_most_copies(licenses, people, issued):
    """Counters at their borders leave the neighbouring fields alone."""
    id = issued(copies=65535, validUntil=2**32 - 1)
    licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    license = licenses.licenseOf(id).dict()
    assert (license["remaining"], license["used"]) == (65534, 1)
    assert (license["validUntil"], license["flags"], license["failedWindow"]) == (2**32 - 1, 0, 0)


def test_check_hash(licenses, people, issued):
    id = issued()
    assert licenses.checkHash(id, FILE_HASH)
    assert not licenses.checkHash(id, OTHER_HASH)
    assert not licenses.checkHash(id, 0)


def test_check_hash_of_an_unknown_license(licenses, people):
    """SAMPL's contract said true for an unknown id and a hash of zero."""
    id = license_id(people.owner)
    assert not licenses.checkHash(id, 0)
    assert not licenses.checkHash(id, FILE_HASH)


def test_uses_of_two_licenses_do_not_touch_each_other(licenses, people, issued):
    first, second = issued(number=1), issued(number=2, fileHash=OTHER_HASH)
    licenses.useLicense(second, OTHER_HASH, {"from": people.printer})
    assert licenses.licenseOf(first)["remaining"] == 2
    assert licenses.licenseOf(second)["remaining"] == 1
