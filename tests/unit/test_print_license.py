"""The typed client against the real contract on a real node."""

import secrets
import time

import pytest

from imprimatur.chain import transactions
from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.print_license import Right
from imprimatur.chain.rpc import HttpRpc, NodeUnreachable
from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import license_id, number_from_text
from support.node import free_port

FILE_HASH = "5a" * 32
OTHER_HASH = "c3" * 32


@pytest.fixture(scope="module")
def owner(chain):
    return chain.account()


@pytest.fixture(scope="module")
def printer(chain):
    return chain.account()


def test_license_of_and_check_hash(chain, owner, printer):
    until = int(time.time()) + 10_000
    id = chain.issue(owner, printer.address, FILE_HASH, 3, "read", valid_until=until, failures_allowed=2)
    license = chain.licenses.license_of(id)
    assert license.printer == printer.address
    assert license.file_hash == FILE_HASH
    assert (license.remaining, license.used) == (3, 0)
    assert (license.valid_until, license.failures_allowed, license.failed) == (until, 2, 0)
    assert not license.is_expired(until)
    assert license.is_expired(until + 1)
    assert chain.licenses.check_hash(id, FILE_HASH)
    assert not chain.licenses.check_hash(id, OTHER_HASH)
    assert not chain.licenses.check_hash(id, "0" * 64)


def test_unknown_license_is_none(chain, owner):
    id = license_id(owner.address, number_from_text("never issued"))
    assert chain.licenses.license_of(id) is None
    assert not chain.licenses.check_hash(id, "0" * 64)


def test_use_gives_our_event(chain, owner, printer):
    id = chain.issue(owner, printer.address, FILE_HASH, 2, "use")
    receipt = chain.send(printer, chain.licenses.use_license_call(id, FILE_HASH))
    (event,) = chain.licenses.uses_in(receipt)
    assert event.values["id"] == id
    assert event.values["device"] == printer.address
    assert event.values["copy"] == 1
    assert event.transaction_hash == receipt["transactionHash"]
    assert chain.licenses.license_of(id).remaining == 1


def test_events_are_filtered_and_in_order(chain, owner):
    first, second = chain.account(), chain.account()
    a = chain.issue(owner, first.address, FILE_HASH, 2, "events-a")
    b = chain.issue(owner, second.address, FILE_HASH, 2, "events-b")
    chain.send(second, chain.licenses.use_license_call(b, FILE_HASH))
    issued = list(chain.licenses.events("LicenseIssued", account=first.address))
    assert [event.values["id"] for event in issued] == [a]
    names = [event.name for event in chain.licenses.events(id=b)]
    assert names == ["LicenseIssued", "LicenseUsed"]
    everything = [event for event in chain.licenses.events() if event.values.get("id") in (a, b)]
    assert [event.values["id"] for event in everything] == [a, b, b]
    assert list(chain.licenses.events(since=everything[-1].block_number, id=a)) == []


@pytest.mark.parametrize(
    ("who", "file_hash", "error"),
    [
        ("owner", FILE_HASH, "NotThePrinter"),
        ("printer", OTHER_HASH, "FileHashMismatch"),
        ("printer", "0" * 64, "FileHashIsZero"),
    ],
)
def test_refusals_are_named_before_anything_is_sent(chain, owner, printer, who, file_hash, error, request):
    id = chain.issue(owner, printer.address, FILE_HASH, 1, f"refused-{error}")
    sender = request.getfixturevalue(who)
    nonce = transactions.next_nonce(chain.rpc, sender.address)
    with pytest.raises(ContractReverted) as caught:
        chain.send(sender, chain.licenses.use_license_call(id, file_hash))
    assert caught.value.name == error
    assert caught.value.values["id"] == id
    assert transactions.next_nonce(chain.rpc, sender.address) == nonce


def test_operator(chain, owner):
    operator = chain.account()
    until = int(time.time()) + 1000
    chain.send(owner, chain.licenses.set_operator_call(operator.address, Right.ISSUE, until))
    given = chain.licenses.operator_of(owner.address, operator.address)
    assert given.may(Right.ISSUE, until)
    assert not given.may(Right.ISSUE, until + 1)
    assert not given.may(Right.REVOKE, until)


def test_same_bytes_happen_once(chain, owner, printer):
    id = chain.issue(owner, printer.address, FILE_HASH, 5, "same bytes")
    signed = transactions.sign(
        chain.rpc, printer, chain.licenses.address, chain.licenses.use_license_call(id, FILE_HASH)
    )
    for _ in range(3):
        transactions.broadcast(chain.rpc, signed.raw)
        transactions.wait_for_receipt(chain.rpc, signed.hash)
    assert chain.licenses.license_of(id).used == 1


def test_no_coins(chain, owner):
    poor = KeySigner(secrets.token_bytes(32))
    id = chain.issue(owner, poor.address, FILE_HASH, 1, "poor")
    with pytest.raises(transactions.NotEnoughFunds, match=poor.address):
        chain.send(poor, chain.licenses.use_license_call(id, FILE_HASH))


def test_unmined_transaction_is_pending(chain):
    with pytest.raises(transactions.TransactionPending):
        transactions.wait_for_receipt(chain.rpc, "0x" + "ab" * 32, timeout=0.1, poll=0.02)


def test_no_node():
    rpc = HttpRpc(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(NodeUnreachable):
        rpc.call("eth_chainId", [])
