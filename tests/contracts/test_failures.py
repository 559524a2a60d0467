"""Failed prints: once for each copy, only recent ones, as often as the owner allowed."""

import pytest

from conftest import (
    EVIDENCE,
    FILE_HASH,
    NOBODY,
    REVOCABLE,
    TRANSFERABLE,
    license_id,
    moved,
    names,
    refused,
)


@pytest.fixture
def report(licenses, people):
    return lambda id, copy, who=people.printer: licenses.reportFailure(id, copy, EVIDENCE, {"from": who})


def test_failed_copy_comes_back(licenses, people, printed, report):
    id = printed(3, failuresAllowed=2)
    tx = report(id, 2)
    assert names(tx) == ["PrintFailed", "TransferSingle"]
    event = tx.events["PrintFailed"]
    assert (event["id"], event["copy"], event["evidence"]) == (id, 2, EVIDENCE)
    assert moved(tx) == (people.printer, NOBODY, people.printer, id, 1)
    license = licenses.licenseOf(id)
    assert (license["remaining"], license["used"], license["failed"]) == (3, 3, 1)
    assert license["failedWindow"] == 0b10


def test_copy_fails_once(licenses, people, printed, report):
    id = printed(2, failuresAllowed=5)
    report(id, 1)
    licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    with refused("CopyNotRefundable", id, 1):
        report(id, 1)


def test_only_as_often_as_allowed(licenses, people, printed, report):
    """Fail, print again, fail again: it ends with the free failures."""
    id = printed(1, copies=1, failuresAllowed=2)
    for copy in (1, 2):
        report(id, copy)
        licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    with refused("NoFreeFailureLeft", id):
        report(id, 3)
    with refused("LicenseExhausted", id):
        licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    assert licenses.licenseOf(id)["used"] == 3


def test_none_allowed(printed, report):
    id = printed(1)
    with refused("NoFreeFailureLeft", id):
        report(id, 1)


@pytest.mark.parametrize("copy", [0, 3, 2**16 + 1, 2**256 - 1])
def test_copies_that_were_not_printed(printed, report, copy):
    id = printed(2, failuresAllowed=5)
    with refused("CopyNotRefundable", id, copy):
        report(id, copy)


def test_only_the_last_sixteen(licenses, printed, report):
    id = printed(17, failuresAllowed=63)
    with refused("CopyNotRefundable", id, 1):
        report(id, 1)
    for copy in range(2, 18):
        report(id, copy)
    license = licenses.licenseOf(id)
    assert (license["failed"], license["failedWindow"], license["used"]) == (16, 0xFFFF, 17)


def test_window_moves_with_the_prints(licenses, people, printed, report):
    id = printed(2, copies=20, failuresAllowed=5)
    report(id, 1)
    for _ in range(14):
        licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    assert licenses.licenseOf(id)["failedWindow"] == 1 << 15
    with refused("CopyNotRefundable", id, 1):
        report(id, 1)
    licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    assert licenses.licenseOf(id)["failedWindow"] == 0
    report(id, 2)


@pytest.mark.parametrize("who", ["owner", "operator", "stranger"])
def test_only_the_printer_reports(people, printed, report, who):
    id = printed(1, failuresAllowed=1)
    account = getattr(people, who)
    with refused("NotThePrinter", id, account):
        report(id, 1, account)


def test_unknown_license(people, report):
    with refused("LicenseNotFound", license_id(people.owner)):
        report(license_id(people.owner), 1)


def test_device_reports_for_its_wallet(people, keys, printed, report, bind):
    id = printed(1, failuresAllowed=1)
    bind(people.printer, keys.device)
    assert report(id, 1, keys.device.account).events["PrintFailed"]["copy"] == 1


def test_revoked_license_forfeits_failures(licenses, people, printed, report):
    """Revoke, fail, use: the failure is counted, but there is nothing to print again."""
    id = printed(2, flags=REVOCABLE, failuresAllowed=2)
    licenses.revoke(id, {"from": people.owner})
    tx = report(id, 2)
    assert names(tx) == ["PrintFailed"]
    license = licenses.licenseOf(id)
    assert (license["remaining"], license["failed"]) == (0, 1)
    assert licenses.balanceOf(people.printer, id) == 0
    with refused("LicenseIsRevoked", id):
        licenses.useLicense(id, FILE_HASH, {"from": people.printer})


def test_buyer_cannot_scrap_the_sellers_parts(licenses, people, printed, report):
    id = printed(3, flags=TRANSFERABLE, failuresAllowed=5)
    licenses.transferLicense(id, people.buyer, {"from": people.printer})
    for copy in (1, 2, 3):
        with refused("CopyNotRefundable", id, copy):
            report(id, copy, people.buyer)
    licenses.useLicense(id, FILE_HASH, {"from": people.buyer})
    report(id, 4, people.buyer)
    with refused("NotThePrinter", id, people.printer):
        report(id, 3)


def test_most_failures(licenses, people, printed, report):
    """The counter of six bits at its end leaves its neighbours alone."""
    id = printed(16, copies=80, failuresAllowed=63)
    for turn in range(4):
        for copy in range(turn * 16 + 1, turn * 16 + 17):
            if licenses.licenseOf(id)["failed"] < 63:
                report(id, copy)
        for _ in range(16):
            licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    license = licenses.licenseOf(id).dict()
    assert (license["failed"], license["failuresAllowed"]) == (63, 63)
    assert (license["printer"], license["used"]) == (people.printer, 80)
    assert license["remaining"] == 63
    with refused("NoFreeFailureLeft", id):
        report(id, 80)
