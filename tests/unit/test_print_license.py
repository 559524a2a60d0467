"""The typed client against the real contract on a real node."""

import json
import secrets
import time
from dataclasses import replace

import pytest
from eth_utils import to_checksum_address

from imprimatur.chain import transactions, typed_data
from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.orders import Right, Terms
from imprimatur.chain.rpc import HttpRpc, NodeUnreachable
from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import license_id, number_from_text
from tools.launcher.processes import free_port

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
    both = chain.licenses.events("LicenseIssued", "LicenseUsed")
    everything = [event for event in both if event.values["id"] in (a, b)]
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
    chain.send(owner, chain.licenses.set_operator_call(owner.address, operator.address, Right.ISSUE, until))
    given = chain.licenses.operator_of(owner.address, operator.address)
    assert given.may(Right.ISSUE, until)
    assert not given.may(Right.ISSUE, until + 1)
    assert not given.may(Right.REVOKE, until)


def test_operator_issues_a_batch(chain, owner, printer):
    operator = chain.account()
    until = int(time.time()) + 1000
    chain.send(owner, chain.licenses.set_operator_call(owner.address, operator.address, Right.ISSUE, until))
    orders = [chain.order(owner.address, printer.address, FILE_HASH, n, f"batch-{n}") for n in (1, 2, 3)]
    chain.send(operator, chain.licenses.issue_batch_call(orders))
    assert [chain.licenses.license_of(order.id).remaining for order in orders] == [1, 2, 3]


def test_voucher_is_redeemed_once_by_anybody(chain, owner, printer):
    anybody = chain.account()
    order = chain.order(owner.address, printer.address, FILE_HASH, 4, "voucher")
    voucher = typed_data.sign_order(owner, chain.license_domain, order)
    chain.send(anybody, chain.licenses.redeem_call(order, voucher))
    assert chain.licenses.license_of(order.id).remaining == 4
    with pytest.raises(ContractReverted, match="LicenseExists"):
        chain.send(anybody, chain.licenses.redeem_call(order, voucher))
    with pytest.raises(ContractReverted, match="InvalidSignature"):
        chain.send(anybody, chain.licenses.redeem_call(replace(order, copies=5), voucher))


def test_use_with_log(chain, owner, printer):
    id = chain.issue(owner, printer.address, FILE_HASH, 2, "logged")
    values = [bytes([n]) * 32 for n in (1, 2, 3)]
    receipt = chain.send(printer, chain.licenses.use_license_and_log_call(id, FILE_HASH, 1, *values))
    used, burned, logged, registered = chain.licenses.events_in(receipt)
    assert [e.name for e in (used, burned)] == ["LicenseUsed", "TransferSingle"]
    assert used.values["keyRecipient"] == values[0]
    assert logged.name == "PrintLogged"
    assert (logged.values["copy"], logged.values["encryptedSerial"]) == (1, values[1])
    assert registered.name == "SerialRegistered"
    assert (registered.values["commitment"], registered.values["device"]) == (values[2], printer.address)


def test_can_use_says_why_not(chain, owner, printer):
    id = chain.issue(owner, printer.address, FILE_HASH, 1, "can use")
    can_use = chain.licenses.can_use
    assert can_use(id, FILE_HASH, printer.address)
    assert can_use(id, FILE_HASH, printer.address).reason is None
    assert can_use(id, FILE_HASH, owner.address).reason == "NotThePrinter"
    assert can_use(id, OTHER_HASH, printer.address).reason == "FileHashMismatch"
    assert can_use(id + 1, OTHER_HASH, printer.address).reason == "LicenseNotFound"
    chain.send(printer, chain.licenses.use_license_call(id, FILE_HASH))
    exhausted = can_use(id, FILE_HASH, printer.address)
    assert not exhausted
    assert exhausted.reason == "LicenseExhausted"


def _use(id, copy, deadline):
    return typed_data.Use(id, FILE_HASH, copy, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, deadline)


def test_signed_batch_skips_bad_entries_only(chain, owner, printer):
    """Replayed, out of order, of another chain, of a stranger: each is named, none harms the good ones."""
    stranger, relay = KeySigner(secrets.token_bytes(32)), chain.account()
    device = KeySigner(secrets.token_bytes(32))
    chain.bind(printer, device)
    id = chain.issue(owner, printer.address, FILE_HASH, 5, "signed", failures_allowed=1)
    later = int(time.time()) + 3600
    here = chain.license_domain
    elsewhere = here | {"chainId": chain.chain_id + 1}
    first = typed_data.sign_use(device, here, _use(id, 1, later))
    uses = [
        first,
        first,
        typed_data.sign_use(device, here, _use(id, 3, later)),
        typed_data.sign_use(device, elsewhere, _use(id, 2, later)),
        typed_data.sign_use(stranger, here, _use(id, 2, later)),
        typed_data.sign_use(device, here, _use(id, 2, 1)),
        typed_data.sign_use(printer, here, _use(id, 2, later)),
    ]
    receipt = chain.send(relay, chain.licenses.use_licenses_signed_call(uses))
    assert [(e.values["copy"], e.values["device"]) for e in chain.licenses.uses_in(receipt)] == [
        (1, device.address),
        (2, printer.address),
    ]
    assert chain.licenses.skipped_in(receipt) == [
        (id, 1, "CopyOutOfOrder"),
        (id, 3, "CopyOutOfOrder"),
        (id, 2, "NotThePrinter"),
        (id, 2, "NotThePrinter"),
        (id, 2, "SignatureExpired"),
    ]

    failure = typed_data.sign_failure(device, here, typed_data.Failure(id, 1, b"\x04" * 32, later))
    again = typed_data.sign_failure(device, here, typed_data.Failure(id, 2, b"\x04" * 32, later))
    receipt = chain.send(relay, chain.licenses.report_failures_signed_call([failure, failure, again]))
    (failed,) = chain.licenses.events_in(receipt, "PrintFailed")
    assert (failed.values["copy"], failed.values["evidence"]) == (1, b"\x04" * 32)
    assert chain.licenses.skipped_in(receipt) == [(id, 1, "CopyNotRefundable"), (id, 2, "NoFreeFailureLeft")]


def test_failures_and_grants(chain, owner, printer):
    id = chain.issue(owner, printer.address, FILE_HASH, 3, "failures", failures_allowed=1)
    for _ in range(2):
        chain.send(printer, chain.licenses.use_license_call(id, FILE_HASH))
    chain.send(printer, chain.licenses.report_failure_call(id, 2, bytes(32)))
    chain.send(owner, chain.licenses.grant_copies_call(id, 2, for_copy=1))
    license = chain.licenses.license_of(id)
    assert (license.remaining, license.used, license.failed) == (4, 2, 1)
    assert license.failed_window == 0b11
    with pytest.raises(ContractReverted, match="CopyNotRefundable"):
        chain.send(printer, chain.licenses.report_failure_call(id, 1, bytes(32)))


def test_another_file_is_approved(chain, owner, printer):
    id = chain.issue(owner, printer.address, FILE_HASH, 3, "re-slice")
    chain.send(owner, chain.licenses.approve_file_call(id, OTHER_HASH, b"\x05" * 32))
    assert chain.licenses.check_hash(id, OTHER_HASH)
    chain.send(owner, chain.licenses.approve_file_call(id, OTHER_HASH, b"\x05" * 32, approved=False))
    assert not chain.licenses.check_hash(id, OTHER_HASH)


def test_revocation(chain, owner, printer):
    id = chain.issue(owner, printer.address, FILE_HASH, 3, "revoked", flags=Terms.REVOCABLE)
    assert chain.licenses.license_of(id).has(Terms.REVOCABLE)
    chain.send(owner, chain.licenses.revoke_call(id))
    license = chain.licenses.license_of(id)
    assert license.has(Terms.REVOKED | Terms.REVOCABLE)
    assert license.remaining == 0
    assert chain.licenses.can_use(id, FILE_HASH, printer.address).reason == "LicenseIsRevoked"


def test_transfers(chain, owner, printer):
    buyer, agent = chain.account(), chain.account()
    licenses = chain.licenses
    ids = [
        chain.issue(owner, printer.address, FILE_HASH, 3, f"moves-{n}", flags=Terms.TRANSFERABLE)
        for n in (1, 2)
    ]
    chain.send(printer, licenses.transfer_license_call(ids[0], buyer.address))
    assert [licenses.balance_of(a.address, ids[0]) for a in (printer, buyer)] == [0, 3]
    chain.send(printer, licenses.safe_transfer_from_call(printer.address, buyer.address, ids[1], 3))
    chain.send(buyer, licenses.set_approval_for_all_call(agent.address, True))
    assert licenses.is_approved_for_all(buyer.address, agent.address)
    batch = licenses.safe_batch_transfer_from_call(buyer.address, printer.address, ids, [3, 3])
    receipt = chain.send(agent, batch)
    (moved,) = licenses.events_in(receipt, "TransferBatch")
    assert list(moved.values["ids"]) == ids
    assert [licenses.license_of(id).printer for id in ids] == [printer.address] * 2


def test_control_is_handed_over(chain, printer):
    old, new = chain.account(), chain.account()
    assert chain.licenses.controller_of(old.address) == old.address
    chain.send(old, chain.licenses.offer_control_call(old.address, new.address))
    chain.send(new, chain.licenses.accept_control_call(old.address))
    assert chain.licenses.controller_of(old.address) == new.address
    order = chain.order(old.address, printer.address, FILE_HASH, 1, "after the handover")
    with pytest.raises(ContractReverted, match="NotAllowed"):
        chain.send(old, chain.licenses.issue_call(order))
    chain.send(new, chain.licenses.issue_call(order))


def test_contract_says_what_it_is(chain, owner, printer):
    id = chain.issue(owner, printer.address, FILE_HASH, 3, "uri")
    assert chain.licenses.devices() == to_checksum_address(chain.devices.address)
    assert chain.licenses.version() == "1.0.0"
    metadata = json.loads(chain.licenses.uri(id).removeprefix("data:application/json;utf8,"))
    assert metadata["properties"] == {"owner": owner.address.lower(), "fileHash": f"0x{FILE_HASH}"}
    with pytest.raises(ContractReverted, match="LicenseNotFound"):
        chain.licenses.uri(id + 1)


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
