"""What the owner can change: more copies, another file, the end."""

import pytest
from brownie import chain

from conftest import (
    EVIDENCE,
    FILE_HASH,
    MANIFEST,
    NOBODY,
    OTHER_HASH,
    REVOCABLE,
    REVOKED,
    RIGHT_APPROVE_FILE,
    RIGHT_GRANT,
    RIGHT_REVOKE,
    TRANSFERABLE,
    license_id,
    moved,
    names,
    refused,
)

CHANGES = [
    ("grantCopies", (1, 0), RIGHT_GRANT),
    ("approveFile", (OTHER_HASH, MANIFEST, True), RIGHT_APPROVE_FILE),
    ("revoke", (), RIGHT_REVOKE),
]


@pytest.mark.parametrize(("function", "arguments", "right"), CHANGES)
@pytest.mark.parametrize("who", ["stranger", "printer", "operator"])
def test_nobody_else_changes_terms(licenses, people, issued, function, arguments, right, who):
    id = issued(flags=REVOCABLE)
    others = 15 - right
    licenses.setOperator(people.owner, people.operator, others, 2**64 - 1, {"from": people.owner})
    account = getattr(people, who)
    with refused("NotAllowed", people.owner, account, right):
        getattr(licenses, function)(id, *arguments, {"from": account})


@pytest.mark.parametrize(("function", "arguments", "right"), CHANGES)
def test_operator_changes_terms_until_a_date(licenses, people, issued, function, arguments, right):
    ids = [issued(number=n, flags=REVOCABLE) for n in (1, 2)]
    until = chain.time() + 100
    licenses.setOperator(people.owner, people.operator, right, until, {"from": people.owner})
    getattr(licenses, function)(ids[0], *arguments, {"from": people.operator})
    chain.sleep(200)
    with refused("NotAllowed", people.owner, people.operator, right):
        getattr(licenses, function)(ids[1], *arguments, {"from": people.operator})


@pytest.mark.parametrize(("function", "arguments", "right"), CHANGES)
def test_unknown_license_has_no_terms(licenses, people, function, arguments, right):
    id = license_id(people.owner)
    with refused("LicenseNotFound", id):
        getattr(licenses, function)(id, *arguments, {"from": people.owner})


def test_grant(licenses, people, printed):
    id = printed(2)
    tx = licenses.grantCopies(id, 5, 0, {"from": people.owner})
    assert names(tx) == ["CopiesGranted", "TransferSingle"]
    event = tx.events["CopiesGranted"]
    assert (event["id"], event["copies"], event["forCopy"]) == (id, 5, 0)
    assert moved(tx) == (people.owner, NOBODY, people.printer, id, 5)
    assert licenses.licenseOf(id)["remaining"] == 7


def test_replaced_copy_cannot_fail_any_more(licenses, people, printed):
    id = printed(2, failuresAllowed=5)
    licenses.grantCopies(id, 1, 2, {"from": people.owner})
    assert licenses.licenseOf(id)["failedWindow"] == 1
    with refused("CopyNotRefundable", id, 2):
        licenses.reportFailure(id, 2, EVIDENCE, {"from": people.printer})


def test_failed_or_replaced_copy_is_not_replaced_again(licenses, people, printed):
    id = printed(2, failuresAllowed=5)
    licenses.reportFailure(id, 1, EVIDENCE, {"from": people.printer})
    licenses.grantCopies(id, 1, 2, {"from": people.owner})
    for copy in (1, 2, 3):
        with refused("CopyNotRefundable", id, copy):
            licenses.grantCopies(id, 1, copy, {"from": people.owner})


def test_old_copy_is_replaced(licenses, people, printed):
    """Reports end after sixteen copies; what the owner grants then is her judgement."""
    id = printed(17)
    tx = licenses.grantCopies(id, 1, 1, {"from": people.owner})
    assert tx.events["CopiesGranted"]["forCopy"] == 1
    assert licenses.licenseOf(id)["failedWindow"] == 0


def test_nothing_is_not_granted(licenses, people, issued):
    id = issued()
    with refused("NoCopies", id):
        licenses.grantCopies(id, 0, 0, {"from": people.owner})


def test_revoked_license_gets_nothing(licenses, people, issued):
    id = issued(flags=REVOCABLE)
    licenses.revoke(id, {"from": people.owner})
    with refused("LicenseIsRevoked", id):
        licenses.grantCopies(id, 1, 0, {"from": people.owner})


def test_grant_up_to_the_most(licenses, people, printed):
    """Used, left, granted and every failure still allowed must fit the counter."""
    id = printed(3, failuresAllowed=10)
    licenses.reportFailure(id, 1, EVIDENCE, {"from": people.printer})
    room = 65535 - (3 + 3 + 9)
    with refused("TooManyCopies", id, 65536):
        licenses.grantCopies(id, room + 1, 0, {"from": people.owner})
    licenses.grantCopies(id, room, 0, {"from": people.owner})
    assert licenses.licenseOf(id)["remaining"] == 65535 - 3 - 9
    licenses.reportFailure(id, 2, EVIDENCE, {"from": people.printer})
    license = licenses.licenseOf(id).dict()
    assert (license["remaining"], license["used"], license["failed"]) == (65535 - 3 - 8, 3, 2)


def test_another_file_is_printed(licenses, people, issued):
    id = issued()
    tx = licenses.approveFile(id, OTHER_HASH, MANIFEST, True, {"from": people.owner})
    event = tx.events["FileApproved"]
    assert (event["id"], event["fileHash"], event["manifestHash"]) == (id, OTHER_HASH, MANIFEST)
    assert event["approved"]
    assert licenses.checkHash(id, OTHER_HASH)
    for file_hash in (OTHER_HASH, FILE_HASH):
        tx = licenses.useLicense(id, file_hash, {"from": people.printer})
        assert tx.events["LicenseUsed"]["fileHash"] == file_hash


def test_approval_is_taken_back(licenses, people, issued):
    id = issued()
    licenses.approveFile(id, OTHER_HASH, MANIFEST, True, {"from": people.owner})
    tx = licenses.approveFile(id, OTHER_HASH, MANIFEST, False, {"from": people.owner})
    assert not tx.events["FileApproved"]["approved"]
    assert not licenses.checkHash(id, OTHER_HASH)
    with refused("FileHashMismatch", id, OTHER_HASH):
        licenses.useLicense(id, OTHER_HASH, {"from": people.printer})


def test_approval_is_for_one_license(licenses, people, issued):
    first, second = issued(number=1), issued(number=2)
    licenses.approveFile(first, OTHER_HASH, MANIFEST, True, {"from": people.owner})
    assert not licenses.checkHash(second, OTHER_HASH)


@pytest.mark.parametrize(
    ("file_hash", "error", "values"),
    [(0, "FileHashIsZero", []), (FILE_HASH, "FileIsTheLicensedOne", [FILE_HASH])],
)
def test_files_that_cannot_be_approved(licenses, people, issued, file_hash, error, values):
    """Not even taken back: the licensed file stays the license's."""
    id = issued()
    for approved in (True, False):
        with refused(error, id, *values):
            licenses.approveFile(id, file_hash, MANIFEST, approved, {"from": people.owner})


def test_revoke(licenses, people, printed):
    id = printed(1, copies=5, flags=REVOCABLE | TRANSFERABLE)
    tx = licenses.revoke(id, {"from": people.owner})
    assert names(tx) == ["LicenseRevoked", "TransferSingle"]
    assert (tx.events["LicenseRevoked"]["id"], tx.events["LicenseRevoked"]["forfeited"]) == (id, 4)
    assert moved(tx) == (people.owner, people.printer, NOBODY, id, 4)
    license = licenses.licenseOf(id)
    assert (license["remaining"], license["used"]) == (0, 1)
    assert license["flags"] == REVOCABLE | TRANSFERABLE | REVOKED
    with refused("LicenseIsRevoked", id):
        licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    with refused("LicenseIsRevoked", id):
        licenses.revoke(id, {"from": people.owner})
    with refused("LicenseIsRevoked", id):
        licenses.transferLicense(id, people.buyer, {"from": people.printer})


def test_license_is_not_revocable_by_default(licenses, people, issued):
    id = issued()
    with refused("LicenseNotRevocable", id):
        licenses.revoke(id, {"from": people.owner})
