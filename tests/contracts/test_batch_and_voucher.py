"""Many licenses at once, and licenses that were ordered off chain."""

import pytest
from brownie import chain
from eth_account.messages import encode_typed_data

from conftest import (
    FOR_EVER,
    NOBODY,
    NUMBER,
    RIGHT_ISSUE,
    high_s,
    library_order,
    license_id,
    moved,
    names,
    refused,
)
from imprimatur.chain import typed_data


def test_batch_of_the_owner(licenses, people, order):
    orders = [order(number=n, copies=n) for n in (1, 2, 3)]
    tx = licenses.issueBatch(orders, {"from": people.owner})
    ids = [license_id(people.owner, n) for n in (1, 2, 3)]
    assert list(tx.return_value) == ids
    assert names(tx) == ["LicenseIssued", "TransferSingle"] * 3
    assert [event["id"] for event in tx.events["LicenseIssued"]] == ids
    assert [licenses.licenseOf(id)["remaining"] for id in ids] == [1, 2, 3]


def test_batch_of_an_operator(licenses, people, order):
    licenses.setOperator(people.owner, people.operator, RIGHT_ISSUE, FOR_EVER >> 192, {"from": people.owner})
    licenses.issueBatch([order(number=1), order(number=2)], {"from": people.operator})
    assert licenses.licenseOf(license_id(people.owner, 2))["remaining"] == 2


def test_batch_is_all_or_nothing(licenses, people, order):
    with refused("NoCopies", license_id(people.owner, 2)):
        licenses.issueBatch([order(number=1), order(number=2, copies=0)], {"from": people.owner})
    with refused("LicenseNotFound", license_id(people.owner, 1)):
        licenses.licenseOf(license_id(people.owner, 1))


def test_batch_with_a_number_twice(licenses, people, order):
    with refused("LicenseExists", license_id(people.owner)):
        licenses.issueBatch([order(), order()], {"from": people.owner})


def test_batch_of_another_owner(licenses, people, order):
    """The owner's consent is asked for each owner in the batch, wherever she stands in it."""
    theirs = order(owner=people.stranger)
    with refused("NotAllowed", people.stranger, people.owner, RIGHT_ISSUE):
        licenses.issueBatch([order(), theirs], {"from": people.owner})
    with refused("NotAllowed", people.owner, people.stranger, RIGHT_ISSUE):
        licenses.issueBatch([theirs, order(number=2), theirs], {"from": people.stranger})


def test_owner_zero_first_in_a_batch(licenses, people, order):
    with refused("NotAllowed", NOBODY, people.stranger, RIGHT_ISSUE):
        licenses.issueBatch([order(owner=NOBODY)], {"from": people.stranger})


def test_empty_batch(licenses, people):
    assert list(licenses.issueBatch([], {"from": people.stranger}).return_value) == []


def test_receiver_cannot_block_a_batch(licenses, people, order, sources):
    """Issuing never calls out: a wallet that refuses tokens gets its license all the same."""
    wrong = people.deployer.deploy(sources.WrongTaker)
    licenses.issueBatch([order(number=1), order(number=2, printer=wrong)], {"from": people.owner})
    assert licenses.balanceOf(wrong, license_id(people.owner, 2)) == 2


@pytest.fixture
def voucher(keys, order, domain):
    """An order of the account whose key the tests hold, and its signature."""

    def sign(signer=keys.owner.signer, **changes):
        values = order(**({"owner": keys.owner.address} | changes))
        return values, typed_data.sign_order(signer, domain, library_order(values))

    return sign


def test_voucher_is_redeemed_by_anybody(licenses, people, keys, voucher):
    values, signature = voucher()
    tx = licenses.redeem(values, signature, {"from": people.stranger})
    id = license_id(keys.owner.address)
    assert tx.return_value == id
    assert names(tx) == ["LicenseIssued", "TransferSingle"]
    assert moved(tx) == (people.stranger, NOBODY, people.printer, id, 2)
    assert licenses.ownerOf(id) == keys.owner.address


def test_voucher_is_redeemed_once(licenses, people, keys, voucher):
    values, signature = voucher()
    licenses.redeem(values, signature, {"from": people.stranger})
    with refused("LicenseExists", license_id(keys.owner.address)):
        licenses.redeem(values, signature, {"from": people.stranger})


@pytest.mark.parametrize(
    "change", [("number", 5), ("printer", "stranger"), ("copies", 3), ("deadline", FOR_EVER - 1)]
)
def test_changed_voucher_is_worth_nothing(licenses, people, keys, order, voucher, change):
    name, value = change
    _, signature = voucher()
    value = people.stranger if value == "stranger" else value
    values = order(**{"owner": keys.owner.address, name: value})
    with refused("InvalidSignature", license_id(keys.owner.address, values[1])):
        licenses.redeem(values, signature, {"from": people.stranger})


def test_voucher_of_somebody_else(licenses, people, keys, voucher):
    values, signature = voucher(signer=keys.stranger.signer)
    with refused("InvalidSignature", license_id(keys.owner.address)):
        licenses.redeem(values, signature, {"from": people.stranger})


@pytest.mark.parametrize(
    "change",
    [{"chainId": 1}, {"verifyingContract": NOBODY}, {"version": "2"}, {"name": "Imprimatur DeviceRegistry"}],
    ids=lambda change: next(iter(change)),
)
def test_voucher_for_another_domain(licenses, people, keys, order, domain, change):
    values = order(owner=keys.owner.address)
    signature = typed_data.sign_order(keys.owner.signer, domain | change, library_order(values))
    with refused("InvalidSignature", license_id(keys.owner.address)):
        licenses.redeem(values, signature, {"from": people.stranger})


@pytest.mark.parametrize("damage", [high_s, lambda s: s[:-2], lambda s: "0x", lambda s: "0x" + "00" * 65])
def test_malformed_voucher(licenses, people, keys, voucher, damage):
    values, signature = voucher()
    with refused("InvalidSignature", license_id(keys.owner.address)):
        licenses.redeem(values, damage(signature), {"from": people.stranger})


def test_voucher_after_its_deadline(licenses, people, keys, voucher):
    deadline = chain.time() + 100
    values, signature = voucher(deadline=deadline)
    chain.sleep(200)
    with refused("OrderExpired", license_id(keys.owner.address), deadline):
        licenses.redeem(values, signature, {"from": people.stranger})


def test_voucher_with_refused_terms(licenses, people, keys, voucher):
    values, signature = voucher(copies=0)
    with refused("NoCopies", license_id(keys.owner.address)):
        licenses.redeem(values, signature, {"from": people.stranger})


def test_voucher_of_the_account_that_took_control(licenses, people, keys, voucher):
    licenses.offerControl(keys.owner.address, keys.stranger.address, {"from": keys.owner.account})
    licenses.acceptControl(keys.owner.address, {"from": keys.stranger.account})
    id = license_id(keys.owner.address)
    values, old = voucher()
    with refused("InvalidSignature", id):
        licenses.redeem(values, old, {"from": people.stranger})
    values, new = voucher(signer=keys.stranger.signer)
    licenses.redeem(values, new, {"from": people.stranger})
    assert licenses.licenseOf(id)["remaining"] == 2


@pytest.fixture
def smart_owner(people, sources):
    return people.deployer.deploy(sources.SmartAccount)


def _digest(domain, values):
    message = encode_typed_data(domain, typed_data.ORDER, library_order(values).values())
    from brownie import web3

    return web3.keccak(b"\x19" + message.version + message.header + message.body)


def test_voucher_of_a_contract_is_redeemed_once(licenses, people, order, domain, smart_owner):
    """ERC-1271: what a contract agrees to counts, and no signature of it can be used again."""
    values = order(owner=smart_owner.address)
    smart_owner.agree(_digest(domain, values), {"from": people.owner})
    licenses.redeem(values, "0x1234", {"from": people.stranger})
    id = license_id(smart_owner)
    assert licenses.licenseOf(id)["remaining"] == 2
    for signature in ("0x1234", "0x5678"):
        with refused("LicenseExists", id):
            licenses.redeem(values, signature, {"from": people.stranger})


def test_contract_did_not_agree(licenses, people, order, domain, smart_owner):
    smart_owner.agree(_digest(domain, order(owner=smart_owner.address, copies=1)), {"from": people.owner})
    with refused("InvalidSignature", license_id(smart_owner)):
        licenses.redeem(order(owner=smart_owner.address), "0x1234", {"from": people.stranger})


def test_number_is_the_owners_in_a_voucher_too(licenses, people, keys, voucher, order):
    """Nobody can take a number from its owner by redeeming first: the id holds the owner."""
    licenses.issue(order(), {"from": people.owner})
    values, signature = voucher(number=NUMBER)
    licenses.redeem(values, signature, {"from": people.stranger})
    assert licenses.licenseOf(license_id(people.owner))["remaining"] == 2
