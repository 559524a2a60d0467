"""Issuing: who may, under which terms, and what stands on the chain afterwards."""

import pytest
from brownie import chain, web3
from brownie.exceptions import VirtualMachineError
from eth_abi import encode

from conftest import FILE_HASH, NUMBER, RIGHT_ISSUE, license_id, refused

LICENSES_SLOT = 6
"""Of the mapping from ids to licenses."""


def test_owner_issues(licenses, people, order):
    tx = licenses.issue(order(failuresAllowed=3, validUntil=2**32 - 1), {"from": people.owner})
    id = license_id(people.owner)
    assert tx.return_value == id
    assert licenses.ownerOf(id) == people.owner
    event = tx.events["LicenseIssued"]
    assert event["id"] == id
    assert event["printer"] == people.printer
    assert event["fileHash"] == FILE_HASH
    assert (event["copies"], event["validUntil"], event["flags"], event["failuresAllowed"]) == (
        2,
        2**32 - 1,
        0,
        3,
    )
    assert event["manifestHash"] == "0x" + "11" * 32
    license = licenses.licenseOf(id).dict()
    assert license["printer"] == people.printer
    assert license["fileHash"] == FILE_HASH
    assert (license["remaining"], license["used"], license["failed"]) == (2, 0, 0)


def test_first_word_is_packed_as_drawn(licenses, people, issued):
    """The layout that `LicenseState.sol` draws, read from the storage of the chain."""
    id = issued(copies=0x1234, validUntil=0xFEDCBA98, failuresAllowed=0x2A)
    licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    slot = int.from_bytes(web3.keccak(encode(["uint256", "uint256"], [id, LICENSES_SLOT])), "big")
    word = int.from_bytes(web3.eth.get_storage_at(licenses.address, slot), "big")
    assert word & (1 << 160) - 1 == int(str(people.printer), 16)
    assert word >> 160 & 0xFFFFFFFF == 0xFEDCBA98
    assert word >> 192 & 0xF == 0
    assert word >> 196 & 0xFFFF == 0x1233
    assert word >> 212 & 0xFFFF == 1
    assert word >> 228 & 0xFFFF == 0
    assert word >> 244 & 0x3F == 0x2A
    assert word >> 250 == 0
    assert int.from_bytes(web3.eth.get_storage_at(licenses.address, slot + 1), "big") == FILE_HASH


def test_nobody_else_issues_for_the_owner(licenses, people, order):
    with refused("NotAllowed", people.owner, people.stranger, RIGHT_ISSUE):
        licenses.issue(order(), {"from": people.stranger})
    with refused("NotAllowed", people.owner, people.stranger, RIGHT_ISSUE):
        licenses.issueFor(order(), {"from": people.stranger})
    with refused("LicenseNotFound", license_id(people.owner)):
        licenses.licenseOf(license_id(people.owner))


def test_same_number_of_another_owner_is_another_license(licenses, people, order, issued):
    first = issued()
    licenses.issue(order(owner=people.stranger), {"from": people.stranger})
    assert licenses.licenseOf(first)["remaining"] == 2
    assert licenses.licenseOf(license_id(people.stranger))["remaining"] == 2


def test_repeated_order_reverts(licenses, people, order, issued):
    id = issued()
    with refused("LicenseExists", id):
        licenses.issue(order(), {"from": people.owner})


def test_exhausted_license_cannot_be_reissued(licenses, people, order, issued):
    """SAMPL's contract gave an id away after its last copy."""
    id = issued(copies=1)
    licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    with refused("LicenseExists", id):
        licenses.issue(order(), {"from": people.owner})


@pytest.mark.parametrize(
    ("changes", "error", "values"),
    [
        ({"printer": "0x" + "00" * 20}, "InvalidPrinter", []),
        ({"fileHash": 0}, "FileHashIsZero", []),
        ({"copies": 0}, "NoCopies", []),
        ({"flags": 8}, "InvalidFlags", [8]),
        ({"flags": 16}, "InvalidFlags", [16]),
        ({"failuresAllowed": 64}, "TooManyFailures", [64]),
        ({"copies": 65535, "failuresAllowed": 1}, "TooManyCopies", [65536]),
        ({"validUntil": 1}, "InvalidValidity", [1]),
        ({"deadline": 1}, "OrderExpired", [1]),
    ],
)
def test_refused_terms(licenses, people, order, changes, error, values):
    id = license_id(people.owner)
    with refused(error, id, *values):
        licenses.issue(order(**changes), {"from": people.owner})
    assert not licenses.checkHash(id, FILE_HASH)


def test_largest_terms(licenses, people, order):
    licenses.issue(
        order(number=2**96 - 1, copies=65535 - 63, failuresAllowed=63, validUntil=2**32 - 1),
        {"from": people.owner},
    )
    license = licenses.licenseOf(license_id(people.owner, 2**96 - 1)).dict()
    assert (license["remaining"], license["failuresAllowed"]) == (65535 - 63, 63)
    assert license["validUntil"] == 2**32 - 1


def test_operator_with_right_issues(licenses, people, order):
    until = chain.time() + 1000
    tx = licenses.setOperator(people.owner, people.operator, RIGHT_ISSUE, until, {"from": people.owner})
    event = tx.events["OperatorSet"]
    assert (event["owner"], event["operator"]) == (people.owner, people.operator)
    assert (event["rights"], event["until"]) == (RIGHT_ISSUE, until)
    assert licenses.operatorOf(people.owner, people.operator) == (RIGHT_ISSUE, until)
    tx = licenses.issueFor(order(), {"from": people.operator})
    assert tx.events["LicenseIssued"]["id"] == license_id(people.owner)


@pytest.mark.parametrize("rights", [0, 2, 4, 8, 14])
def test_operator_without_right_cannot_issue(licenses, people, order, rights):
    licenses.setOperator(people.owner, people.operator, rights, 2**64 - 1, {"from": people.owner})
    with refused("NotAllowed", people.owner, people.operator, RIGHT_ISSUE):
        licenses.issueFor(order(), {"from": people.operator})


def test_operator_right_ends(licenses, people, order):
    licenses.setOperator(
        people.owner, people.operator, RIGHT_ISSUE, chain.time() + 100, {"from": people.owner}
    )
    chain.sleep(200)
    with refused("NotAllowed", people.owner, people.operator, RIGHT_ISSUE):
        licenses.issueFor(order(), {"from": people.operator})


def test_operator_is_cut_off(licenses, people, order):
    licenses.setOperator(people.owner, people.operator, RIGHT_ISSUE, 2**64 - 1, {"from": people.owner})
    licenses.setOperator(people.owner, people.operator, 0, 0, {"from": people.owner})
    with refused("NotAllowed", people.owner, people.operator, RIGHT_ISSUE):
        licenses.issueFor(order(), {"from": people.operator})


def test_operator_of_one_owner_is_nothing_to_another(licenses, people, order):
    licenses.setOperator(people.owner, people.operator, RIGHT_ISSUE, 2**64 - 1, {"from": people.owner})
    with refused("NotAllowed", people.stranger, people.operator, RIGHT_ISSUE):
        licenses.issueFor(order(owner=people.stranger), {"from": people.operator})


def test_operator_cannot_use_the_owners_function(licenses, people, order):
    licenses.setOperator(people.owner, people.operator, RIGHT_ISSUE, 2**64 - 1, {"from": people.owner})
    with refused("NotAllowed", people.owner, people.operator, RIGHT_ISSUE):
        licenses.issue(order(), {"from": people.operator})


def test_unknown_rights_are_refused(licenses, people):
    with refused("InvalidRights", 16):
        licenses.setOperator(people.owner, people.operator, 16, 2**64 - 1, {"from": people.owner})


def test_takes_no_ether(licenses, people):
    with pytest.raises(VirtualMachineError):
        people.owner.transfer(licenses, 1)


def test_names_its_version(licenses):
    assert licenses.version() == "1.0.0"
    assert license_id("0x" + "00" * 20) == NUMBER
