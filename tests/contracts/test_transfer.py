"""Moving licenses, and how they look to wallets and explorers that only know ERC-1155."""

import json

import pytest

from conftest import (
    FILE_HASH,
    NOBODY,
    TRANSFERABLE,
    license_id,
    moved,
    names,
    refused,
)


@pytest.fixture
def tradable(issued):
    return lambda **changes: issued(**({"flags": TRANSFERABLE, "copies": 3} | changes))


@pytest.fixture(params=["transferLicense", "safeTransferFrom", "safeBatchTransferFrom"])
def move(request, licenses):
    """Moves a license in each of the three ways."""

    def by(sender, holder, to, id, value=3):
        options = {"from": sender}
        if request.param == "transferLicense":
            return licenses.transferLicense(id, to, options)
        if request.param == "safeTransferFrom":
            return licenses.safeTransferFrom(holder, to, id, value, b"", options)
        return licenses.safeBatchTransferFrom(holder, to, [id], [value], b"", options)

    by.function = request.param
    return by


def test_license_moves_with_all_copies(licenses, people, tradable, move):
    id = tradable()
    tx = move(people.printer, people.printer, people.buyer, id)
    event = tx.events["LicenseTransferred"]
    assert (event["id"], event["from"], event["to"]) == (id, people.printer, people.buyer)
    standard = "TransferBatch" if move.function == "safeBatchTransferFrom" else "TransferSingle"
    assert names(tx) == ["LicenseTransferred", standard]
    assert [licenses.balanceOf(who, id) for who in (people.printer, people.buyer)] == [0, 3]
    with refused("NotThePrinter", id, people.printer):
        licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    licenses.useLicense(id, FILE_HASH, {"from": people.buyer})


def test_approved_account_moves(licenses, people, tradable, move):
    id = tradable()
    tx = licenses.setApprovalForAll(people.operator, True, {"from": people.printer})
    event = tx.events["ApprovalForAll"]
    assert (event["account"], event["operator"], event["approved"]) == (people.printer, people.operator, True)
    assert licenses.isApprovedForAll(people.printer, people.operator)
    move(people.operator, people.printer, people.buyer, id)
    licenses.setApprovalForAll(people.operator, False, {"from": people.buyer})
    with refused("ERC1155MissingApprovalForAll", people.operator, people.buyer):
        move(people.operator, people.buyer, people.printer, id)


@pytest.mark.parametrize("who", ["owner", "stranger", "buyer"])
def test_nobody_else_moves(people, tradable, move, who):
    """Not even the owner: what she sold is the printer's."""
    account = getattr(people, who)
    id = tradable()
    with refused("ERC1155MissingApprovalForAll", account, people.printer):
        move(account, people.printer, people.buyer, id)


def test_refused_moves(licenses, people, issued, tradable, move):
    nowhere = license_id(people.stranger)
    with refused("LicenseNotFound", nowhere):
        move(people.printer, people.printer, people.buyer, nowhere)
    bound = issued(number=1, copies=3)
    with refused("LicenseNotTransferable", bound):
        move(people.printer, people.printer, people.buyer, bound)
    with refused("ERC1155InvalidReceiver", NOBODY):
        move(people.printer, people.printer, NOBODY, tradable(number=2))
    empty = tradable(number=3, copies=1)
    licenses.useLicense(empty, FILE_HASH, {"from": people.printer})
    with refused("LicenseExhausted", empty):
        move(people.printer, people.printer, people.buyer, empty, 0)


@pytest.mark.parametrize("value", [0, 1, 4, 2**256 - 1])
def test_license_is_not_divided(licenses, people, tradable, value):
    id = tradable()
    with refused("PartialTransfer", id, value, 3):
        licenses.safeTransferFrom(people.printer, people.buyer, id, value, b"", {"from": people.printer})


def test_sender_must_hold_it(licenses, people, tradable):
    id = tradable()
    with refused("ERC1155InsufficientBalance", people.stranger, 0, 3, id):
        licenses.safeTransferFrom(people.stranger, people.buyer, id, 3, b"", {"from": people.stranger})


def test_contract_that_takes_licenses(licenses, people, tradable, move, sources):
    taker = people.deployer.deploy(sources.Taker)
    id = tradable()
    move(people.printer, people.printer, taker, id)
    assert licenses.balanceOf(taker, id) == 3


def test_data_reaches_the_receiver(licenses, people, tradable, sources):
    taker = people.deployer.deploy(sources.Taker)
    first, second = tradable(number=1), tradable(number=2)
    licenses.safeTransferFrom(people.printer, taker, first, 3, b"hello", {"from": people.printer})
    assert taker.lastData() == "0x" + b"hello".hex()
    licenses.safeBatchTransferFrom(people.printer, taker, [second], [3], b"batch", {"from": people.printer})
    assert taker.lastData() == "0x" + b"batch".hex()


@pytest.mark.parametrize("contract", ["WrongTaker", "SmartAccount"])
def test_contract_that_does_not(licenses, people, tradable, move, sources, contract):
    """One answers wrongly, the other has no such function."""
    receiver = people.deployer.deploy(getattr(sources, contract))
    with refused("ERC1155InvalidReceiver", receiver.address):
        move(people.printer, people.printer, receiver, tradable())


def test_reentering_gains_nothing(licenses, people, tradable, sources):
    """While it is asked, the receiver uses the license: it already holds it, and nothing more."""
    receiver = people.deployer.deploy(sources.Reentrant)
    id = tradable()
    receiver.plan(licenses.useLicense.encode_input(id, FILE_HASH), {"from": people.stranger})
    tx = licenses.transferLicense(id, receiver, {"from": people.printer})
    assert receiver.succeeded()
    assert names(tx) == ["LicenseTransferred", "TransferSingle", "LicenseUsed", "TransferSingle"]
    license = licenses.licenseOf(id)
    assert (license["printer"], license["remaining"], license["used"]) == (receiver, 2, 1)


def test_reentering_cannot_take_from_the_sender(licenses, people, tradable, sources):
    receiver = people.deployer.deploy(sources.Reentrant)
    first, second = tradable(number=1), tradable(number=2)
    attempt = licenses.safeTransferFrom.encode_input(people.printer, receiver, second, 3, b"")
    receiver.plan(attempt, {"from": people.stranger})
    licenses.transferLicense(first, receiver, {"from": people.printer})
    assert not receiver.succeeded()
    assert licenses.balanceOf(people.printer, second) == 3


def test_batch_of_licenses(licenses, people, tradable):
    ids = [tradable(number=n, copies=n) for n in (1, 2)]
    tx = licenses.safeBatchTransferFrom(
        people.printer, people.buyer, ids, [1, 2], b"", {"from": people.printer}
    )
    event = tx.events["TransferBatch"]
    assert (event["operator"], event["from"], event["to"]) == (people.printer, people.printer, people.buyer)
    assert (list(event["ids"]), list(event["values"])) == (ids, [1, 2])
    assert list(licenses.balanceOfBatch([people.buyer, people.printer], ids)) == [1, 0]


def test_batch_moves_all_or_none(licenses, people, tradable, issued):
    ids = [tradable(number=1), issued(number=2, copies=3)]
    with refused("LicenseNotTransferable", ids[1]):
        licenses.safeBatchTransferFrom(
            people.printer, people.buyer, ids, [3, 3], b"", {"from": people.printer}
        )
    assert licenses.balanceOf(people.printer, ids[0]) == 3


def test_lists_of_different_length(licenses, people, tradable):
    id = tradable()
    with refused("ERC1155InvalidArrayLength", 1, 2):
        licenses.safeBatchTransferFrom(
            people.printer, people.buyer, [id], [3, 3], b"", {"from": people.printer}
        )
    with refused("ERC1155InvalidArrayLength", 1, 2):
        licenses.balanceOfBatch([people.printer, people.buyer], [id])


def test_nobody_cannot_be_approved(licenses, people):
    with refused("ERC1155InvalidOperator", NOBODY):
        licenses.setApprovalForAll(NOBODY, True, {"from": people.printer})


def test_balance_is_what_is_left(licenses, people, printed):
    """Mints minus burns, as an explorer adds them up."""
    id = printed(2, copies=5)
    assert licenses.balanceOf(people.printer, id) == 3
    assert licenses.balanceOf(people.owner, id) == 0
    assert licenses.balanceOf(NOBODY, license_id(people.stranger)) == 0


def test_issue_is_a_mint_and_a_print_a_burn(licenses, people, order):
    id = license_id(people.owner)
    tx = licenses.issue(order(), {"from": people.owner})
    assert moved(tx) == (people.owner, NOBODY, people.printer, id, 2)
    tx = licenses.useLicense(id, FILE_HASH, {"from": people.printer})
    assert moved(tx) == (people.printer, people.printer, NOBODY, id, 1)


@pytest.mark.parametrize(
    ("interface", "supported"),
    [("0x01ffc9a7", True), ("0xd9b67a26", True), ("0x0e89341c", True), ("0xffffffff", False)],
    ids=["ERC-165", "ERC-1155", "metadata", "none"],
)
def test_interfaces(licenses, interface, supported):
    assert licenses.supportsInterface(interface) == supported


def test_metadata_needs_no_server(licenses, people, issued):
    id = issued()
    text = licenses.uri(id)
    kind, _, document = text.partition(",")
    assert kind == "data:application/json;utf8"
    metadata = json.loads(document)
    assert metadata["decimals"] == 0
    assert f"0x{id:064x}" in metadata["name"]
    assert metadata["properties"]["owner"] == str(people.owner).lower()
    assert metadata["properties"]["fileHash"] == f"0x{FILE_HASH:064x}"
    with refused("LicenseNotFound", id + 1):
        licenses.uri(id + 1)
