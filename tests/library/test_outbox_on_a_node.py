"""The outbox on a real node: what callers, operators and owners of its queue can rely on."""

import itertools
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from imprimatur.chain import transactions
from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.outbox import (
    AlarmKind,
    Call,
    CallMalformed,
    Confirmations,
    Finalized,
    Intent,
    KeyTaken,
    Outbox,
    Overtaken,
    PlainCalls,
    Rules,
    SqliteStore,
    State,
    Store,
    UnknownFinality,
    Verdict,
    parse_finality,
    sqlite_transactions,
)
from imprimatur.chain.outbox.signing import FeesTooHigh
from imprimatur.chain.outbox.view import WrongChain
from imprimatur.chain.rpc import NodeRefused, Rpc
from imprimatur.chain.signers import KeySigner, SignerUnusable
from imprimatur.chain.transactions import Fees, NotEnoughFunds
from support.node import ETHER, Chain
from support.settle import settle

CHAIN_ID = 31337


class Stop(Exception):
    """A crash."""


@dataclass
class Desk:
    """An outbox with a clock of its own, and what it was meant to do."""

    chain: Chain
    path: Path
    rules: Rules
    signer: KeySigner
    now: float = 1_000.0
    fatal: str | None = None
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.transactions = sqlite_transactions(self.path)
        self.reopen()

    def reopen(self, **rules: Any) -> None:
        """As after a restart."""
        self.rules = replace(self.rules, **rules)
        self.outbox = Outbox(
            self.chain.rpc,
            self.signer,
            self.transactions,
            self.rules,
            clock=lambda: self.now,
            checkpoint=self._checkpoint,
        )

    def _checkpoint(self, name: str) -> None:
        if name == self.fatal:
            raise Stop(name)

    def pay(self, key: str, wei: int = 1, to: str | None = None) -> str:
        """Queue a transfer to a new account; its address."""
        to = to or "0x" + secrets.token_hex(20)
        with self.transactions() as store:
            self.outbox.enqueue(store, key, Call(to, value=wei))
        return to

    def settle(self) -> None:
        settle(self.outbox)

    def intent(self, key: str) -> Intent:
        with self.transactions() as store:
            found = store.find(self.outbox.sender, key)
        assert found is not None
        return found

    def received(self, address: str) -> int:
        return int(self.chain.rpc.call("eth_getBalance", [address, "latest"]), 16)

    def alarms(self) -> set[AlarmKind]:
        return {alarm.kind for alarm in self.outbox.alarms()}


@pytest.fixture
def desk(chain: Chain, tmp_path: Path) -> Iterator[Desk]:
    before = chain.rpc.call("evm_snapshot", [])
    yield Desk(chain, tmp_path / "outbox.db", Rules.for_chain(CHAIN_ID), chain.account())
    chain.rpc.call("evm_revert", [before])


@contextmanager
def mining_by_hand(rpc: Rpc) -> Iterator[None]:
    rpc.call("evm_setAutomine", [False])
    try:
        yield
    finally:
        rpc.call("evm_setAutomine", [True])
        rpc.call("evm_mine", [])


def mine(desk: Desk, blocks: int = 1) -> None:
    desk.chain.rpc.call("anvil_mine", [hex(blocks)])


# --- queueing --------------------------------------------------------------------------------------------


def test_the_same_wish_twice_happens_once(desk: Desk) -> None:
    to = desk.pay("a")
    desk.pay("a", to=to)
    desk.settle()
    desk.pay("a", to=to)
    desk.settle()
    assert desk.received(to) == 1
    assert desk.intent("a").state is State.DONE
    receipt = transactions.receipt(desk.chain.rpc, desk.intent("a").transaction_hash or "")
    assert receipt is not None
    assert desk.intent("a").block_hash == receipt["blockHash"]


def test_a_wish_of_a_transaction_that_rolls_back_never_was(desk: Desk) -> None:
    def give_up() -> None:
        with desk.transactions() as store:
            desk.outbox.enqueue(store, "a", Call("0x" + "1" * 40, value=1))
            raise Stop

    with pytest.raises(Stop):
        give_up()
    assert desk.outbox.step() == 0
    with desk.transactions() as store:
        assert store.find(desk.outbox.sender, "a") is None


def test_signed_within_the_callers_own_transaction(desk: Desk) -> None:
    """A step of the caller's journal and the signed bytes are one commit; only then something is sent."""
    to = "0x" + secrets.token_hex(20)
    draft = desk.outbox.draft(Call(to, value=1))
    count = transactions.next_nonce(desk.chain.rpc, desk.signer.address)

    def sign(store: Store) -> Intent:
        return desk.outbox.sign(store, "a", draft)

    def roll_back() -> None:
        with desk.transactions() as store:
            sign(store)
            raise Stop

    with pytest.raises(Stop):
        roll_back()
    desk.settle()
    assert desk.received(to) == 0
    with desk.transactions() as store:
        signed = sign(store)
        assert sign(store) == signed, "twice is once"
    assert (signed.state, signed.nonce) == (State.SENT, count)
    assert desk.received(to) == 0
    desk.settle()
    assert (desk.intent("a").state, desk.received(to)) == (State.DONE, 1)


def test_a_draft_tells_the_contracts_refusal(desk: Desk) -> None:
    call = Call(desk.chain.licenses.address, desk.chain.licenses.use_license_call(1, "ab" * 32))
    with pytest.raises(ContractReverted, match="LicenseNotFound"):
        desk.outbox.draft(call)


def test_a_draft_that_nobody_can_pay(desk: Desk) -> None:
    with pytest.raises(NotEnoughFunds, match="Send it some ether"):
        desk.outbox.draft(Call("0x" + "1" * 40, value=10**30, gas=21_000))


def test_a_draft_above_the_fee_cap(desk: Desk) -> None:
    desk.reopen(max_fee=1)
    with pytest.raises(FeesTooHigh, match="at most 1 may be paid"):
        desk.outbox.draft(Call("0x" + "1" * 40, gas=21_000))


def test_what_the_contract_refuses_fails_with_its_reason(desk: Desk) -> None:
    licenses = desk.chain.licenses
    with desk.transactions() as store:
        desk.outbox.enqueue(store, "a", Call(licenses.address, licenses.use_license_call(1, "ab" * 32)))
    desk.settle()
    failed = desk.intent("a")
    assert (failed.state, failed.reason) == (State.FAILED, "refused")
    assert failed.facts == {
        "error": "LicenseNotFound",
        "message": "The contract refused: LicenseNotFound(id=1).",
    }
    assert failed.nonce is None, "nothing was signed, no nonce is missing"


def test_a_node_of_another_chain_gets_nothing(desk: Desk) -> None:
    to = desk.pay("a")
    desk.outbox = Outbox(desk.chain.rpc, desk.signer, desk.transactions, Rules(1, Confirmations(0)))
    with desk.transactions() as store:
        desk.outbox.enqueue(store, "b", Call(to, value=1))
    with pytest.raises(WrongChain, match="belongs to chain 31337"):
        desk.outbox.step()
    assert desk.received(to) == 0


# --- fees ------------------------------------------------------------------------------------------------


def test_a_fee_spike_is_followed(desk: Desk) -> None:
    rpc = desk.chain.rpc
    with mining_by_hand(rpc):
        to = desk.pay("a")
        desk.outbox.step()
        first = desk.intent("a").newest
        rpc.call("anvil_setNextBlockBaseFeePerGas", [hex(first.max_fee * 3)])
        mine(desk)
        assert desk.received(to) == 0
        desk.now += desk.rules.replace_after - 1
        desk.outbox.step()
        assert len(desk.intent("a").attempts) == 1, "not yet"
        desk.now += 2
        desk.outbox.step()
        raised = desk.intent("a").newest
        assert raised.max_fee >= first.max_fee * 1.125
        assert raised.tip >= first.tip * 1.125
        mine(desk)
    desk.settle()
    assert (desk.intent("a").state, desk.received(to)) == (State.DONE, 1)
    assert desk.intent("a").transaction_hash == raised.hash


def test_the_fee_cap_is_kept_and_told(desk: Desk) -> None:
    rpc = desk.chain.rpc
    with mining_by_hand(rpc):
        to = desk.pay("a")
        desk.outbox.step()
        first = desk.intent("a").newest
        desk.reopen(max_fee=first.max_fee)
        rpc.call("anvil_setNextBlockBaseFeePerGas", [hex(first.max_fee * 3)])
        mine(desk)
        desk.now += desk.rules.replace_after + 1
        desk.pay("b")
        desk.outbox.step()
        assert AlarmKind.FEE_CAP in desk.alarms()
        assert len(desk.intent("a").attempts) == 1
        assert (desk.intent("b").state, desk.intent("b").reason) == (State.QUEUED, "fees_too_high")
        desk.now += desk.rules.stuck_after
        desk.outbox.step()
        assert AlarmKind.STUCK in desk.alarms()
        rpc.call("anvil_setNextBlockBaseFeePerGas", [hex(first.max_fee // 2)])
        mine(desk)
    desk.now += desk.rules.resend_after
    desk.settle()
    assert (desk.intent("a").state, desk.received(to)) == (State.DONE, 1)
    assert desk.intent("b").state is State.DONE


def test_who_cannot_pay_waits_until_he_can(desk: Desk) -> None:
    desk.chain.fund(desk.signer.address, 0)
    to = desk.pay("a")
    desk.outbox.step()
    assert (desk.intent("a").state, desk.intent("a").reason) == (State.QUEUED, "no_funds")
    assert AlarmKind.LOW_BALANCE in desk.alarms()
    desk.chain.fund(desk.signer.address, 1)
    desk.settle()
    assert (desk.intent("a").state, desk.received(to)) == (State.DONE, 1)


def test_what_is_under_way_is_not_spent_twice(desk: Desk) -> None:
    """The second transfer could be paid alone, but not beside the first."""
    desk.chain.fund(desk.signer.address, 1)
    with mining_by_hand(desk.chain.rpc):
        desk.pay("a", wei=6 * ETHER // 10)
        desk.outbox.step()
        desk.pay("b", wei=6 * ETHER // 10)
        desk.outbox.step()
        assert desk.intent("a").state is State.SENT
        assert (desk.intent("b").state, desk.intent("b").reason) == (State.QUEUED, "no_funds")


def test_a_low_balance_is_told_before_it_hurts(desk: Desk) -> None:
    desk.reopen(low_balance=100 * ETHER)
    desk.outbox.step()
    assert desk.alarms() == {AlarmKind.LOW_BALANCE}
    assert desk.outbox.metrics.balance == 10 * ETHER


def test_replacements_rise_by_an_eighth_and_stay_below_the_cap() -> None:
    from imprimatur.chain.outbox.pricing import replacement

    for old_fee, old_tip, cap in itertools.product(
        (1, 7, 100, 10**9), (0, 1, 3, 10**8), (1, 50, 10**9, 10**12)
    ):
        fees = replacement(Fees(old_fee, min(old_tip, old_fee)), Fees(20, 2), cap)
        if fees is None:
            assert cap < old_fee * 1.125
            continue
        assert cap >= fees.max_fee >= max(old_fee * 1.125, min(cap, 20))
        assert fees.max_fee >= fees.tip >= min(old_tip, old_fee) * 1.125


# --- cancelling ------------------------------------------------------------------------------------------


def test_a_queued_wish_is_cancelled_at_once(desk: Desk) -> None:
    to = desk.pay("a")
    with desk.transactions() as store:
        cancelled = desk.outbox.cancel(store, "a")
    assert cancelled is not None
    assert cancelled.state is State.CANCELLED
    desk.settle()
    assert desk.received(to) == 0


def test_a_sent_wish_is_cancelled_by_using_its_nonce_up(desk: Desk) -> None:
    with mining_by_hand(desk.chain.rpc):
        to = desk.pay("a")
        desk.outbox.step()
        with desk.transactions() as store:
            desk.outbox.cancel(store, "a")
        after = desk.pay("b")
        desk.outbox.step()
        assert [attempt.cancels for attempt in desk.intent("a").attempts] == [False, True]
        mine(desk)
    desk.settle()
    assert (desk.intent("a").state, desk.received(to)) == (State.CANCELLED, 0)
    assert (desk.intent("b").state, desk.received(after)) == (State.DONE, 1)


def test_cancelling_too_late_changes_nothing(desk: Desk) -> None:
    to = desk.pay("a")
    desk.settle()
    with desk.transactions() as store:
        late = desk.outbox.cancel(store, "a")
        assert desk.outbox.cancel(store, "unknown") is None
    assert late is not None
    assert (late.state, desk.received(to)) == (State.DONE, 1)


# --- what the chain does ---------------------------------------------------------------------------------


def test_mined_is_not_done_before_it_is_final(desk: Desk) -> None:
    desk.reopen(finality=Confirmations(3))
    desk.pay("a")
    desk.settle()
    assert desk.intent("a").state is State.MINED
    mine(desk, 2)
    desk.settle()
    assert desk.intent("a").state is State.MINED
    mine(desk)
    desk.settle()
    assert desk.intent("a").state is State.DONE


def test_the_nodes_own_finality(desk: Desk) -> None:
    desk.reopen(finality=Finalized())
    desk.pay("a")
    desk.settle()
    assert desk.intent("a").state is State.MINED
    mine(desk, 100)
    desk.settle()
    assert desk.intent("a").state is State.DONE


def test_a_reorganisation_brings_the_same_bytes_again(desk: Desk) -> None:
    desk.reopen(finality=Confirmations(5))
    rpc = desk.chain.rpc
    mine(desk, 2)
    before = rpc.call("evm_snapshot", [])
    to = desk.pay("a")
    desk.settle()
    first = desk.intent("a")
    assert first.state is State.MINED
    assert rpc.call("evm_revert", [before])
    rpc.call("evm_setAutomine", [False])
    desk.settle()
    assert (desk.intent("a").state, desk.received(to)) == (State.SENT, 0)
    assert desk.outbox.metrics.reorganised == 1
    rpc.call("evm_setAutomine", [True])
    mine(desk, 8)
    desk.now += desk.rules.resend_after
    desk.outbox.step()
    mine(desk, 8)
    desk.settle()
    last = desk.intent("a")
    assert (last.state, desk.received(to)) == (State.DONE, 1)
    assert last.attempts == first.attempts, "no second signature"


def test_a_nonce_that_a_stranger_used_is_signed_anew_when_that_is_final(desk: Desk) -> None:
    desk.reopen(finality=Confirmations(2))
    to, elsewhere = desk.pay("a"), "0x" + secrets.token_hex(20)
    desk.fatal = "committed"
    with pytest.raises(Stop):
        desk.outbox.step()
    desk.fatal = None
    nonce = desk.intent("a").nonce
    fees = transactions.suggest_fees(desk.chain.rpc)
    fields = transactions.build(CHAIN_ID, nonce or 0, elsewhere, "0x", 21_000, fees, 5)
    transactions.broadcast(desk.chain.rpc, desk.signer.sign_transaction(fields)[0])
    desk.reopen()
    desk.settle()
    assert desk.alarms() == {AlarmKind.FOREIGN_NONCE}
    assert desk.intent("a").state is State.SENT, "not final yet: it might still be ours"
    mine(desk, 2)
    desk.settle()
    mine(desk, 2)
    desk.settle()
    done = desk.intent("a")
    assert (done.state, done.nonce, desk.received(to)) == (State.DONE, (nonce or 0) + 1, 1)
    assert desk.received(elsewhere) == 5


def test_a_chain_that_forgot_final_blocks_gets_them_again(desk: Desk) -> None:
    rpc = desk.chain.rpc
    before = rpc.call("evm_snapshot", [])
    to = [desk.pay("a"), desk.pay("b")]
    desk.settle()
    assert rpc.call("evm_revert", [before])
    desk.now += desk.rules.idle_look
    desk.settle()
    assert [desk.received(address) for address in to] == [1, 1]
    assert desk.intent("a").state is State.DONE
    assert desk.outbox.metrics.signed == 2


def test_a_lost_nonce_that_nobody_wants_any_more_is_filled(desk: Desk) -> None:
    """A stranger took the nonce, the intent went on with the next one; then the chain forgot both."""
    rpc = desk.chain.rpc
    before = rpc.call("evm_snapshot", [])
    to = desk.pay("a")
    desk.fatal = "committed"
    with pytest.raises(Stop):
        desk.outbox.step()
    desk.fatal = None
    nonce = desk.intent("a").nonce or 0
    fields = transactions.build(
        CHAIN_ID, nonce, "0x" + secrets.token_hex(20), "0x", 21_000, transactions.suggest_fees(rpc), 5
    )
    transactions.broadcast(rpc, desk.signer.sign_transaction(fields)[0])
    desk.reopen()
    desk.settle()
    assert (desk.intent("a").state, desk.intent("a").nonce) == (State.DONE, nonce + 1)
    assert rpc.call("evm_revert", [before])
    desk.now += desk.rules.idle_look
    desk.settle()
    assert (desk.intent("a").state, desk.received(to)) == (State.DONE, 1)
    with desk.transactions() as store:
        filled = store.settled_from(desk.outbox.sender, nonce, 1)
    assert [(i.state, i.nonce) for i in filled] == [(State.CANCELLED, nonce)]


# --- what others do wrong ---------------------------------------------------------------------------------


def take_nonce(desk: Desk, key: str) -> int:
    """The intent is signed but not sent, and a stranger uses its nonce up; the nonce."""
    desk.fatal = "committed"
    with pytest.raises(Stop):
        desk.outbox.step()
    desk.fatal = None
    nonce = desk.intent(key).nonce or 0
    fees = transactions.suggest_fees(desk.chain.rpc)
    fields = transactions.build(CHAIN_ID, nonce, "0x" + secrets.token_hex(20), "0x", 21_000, fees, 5)
    transactions.broadcast(desk.chain.rpc, desk.signer.sign_transaction(fields)[0])
    return nonce


def test_a_cancelled_wish_gets_no_other_nonce(desk: Desk) -> None:
    to = desk.pay("a")
    take_nonce(desk, "a")
    with desk.transactions() as store:
        desk.outbox.cancel(store, "a")
    desk.reopen()
    desk.settle()
    assert (desk.intent("a").state, desk.received(to)) == (State.CANCELLED, 0)


def test_a_slow_second_worker_doubles_nothing(desk: Desk) -> None:
    """It still holds what it read before a stranger took the nonce and the first worker signed anew."""
    to = desk.pay("a")
    take_nonce(desk, "a")
    desk.reopen()
    stale = desk.intent("a")
    desk.settle()
    assert (desk.intent("a").state, desk.received(to)) == (State.DONE, 1)
    with desk.transactions() as store:
        refused = replace(stale, reason="node_refused")
        assert not store.update(desk.outbox.sender, refused, stale)
    desk.settle()
    assert desk.received(to) == 1


class Broken(PlainCalls):
    """A purpose that fails for one intent."""

    def __init__(self, where: str) -> None:
        self.where = where

    def call(self, intent: Intent) -> Call:
        if (self.where, intent.key) == ("call", "bad"):
            raise KeyError("no row")
        return super().call(intent)

    def judge(self, intent: Intent, receipt: dict[str, Any]) -> Verdict:
        if (self.where, intent.key) == ("judge", "bad"):
            raise NodeRefused(-32005, "query returned more than 10000 results")
        return super().judge(intent, receipt)


@pytest.mark.parametrize(
    ("where", "state", "reason"),
    [("call", State.QUEUED, "unexpected"), ("judge", State.MINED, "node_refused")],
)
def test_one_bad_intent_keeps_nobody_waiting(desk: Desk, where: str, state: State, reason: str) -> None:
    desk.outbox = Outbox(desk.chain.rpc, desk.signer, desk.transactions, desk.rules, Broken(where))
    desk.pay("bad")
    good = desk.pay("good")
    desk.settle()
    assert (desk.intent("bad").state, desk.intent("bad").reason) == (state, reason)
    assert (desk.intent("good").state, desk.received(good)) == (State.DONE, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"to": "0x1234"},
        {"to": "0x" + "1" * 40 + "\n"},
        {"data": "0xzz"},
        {"data": "0xabc"},
        {"value": -1},
        {"value": 2**256},
        {"gas": 0},
    ],
)
def test_a_call_that_no_transaction_can_do(fields: dict[str, Any]) -> None:
    with pytest.raises(CallMalformed):
        Call(**{"to": "0x" + "1" * 40} | fields)


def test_a_key_names_one_wish(desk: Desk) -> None:
    to = desk.pay("a")
    with desk.transactions() as store:
        assert desk.outbox.enqueue(store, "a", Call(to.upper().replace("0X", "0x"), value=1)).key == "a"
        with pytest.raises(KeyTaken, match="another wish"):
            desk.outbox.enqueue(store, "a", Call(to, value=2))


def test_a_draft_is_overtaken(desk: Desk) -> None:
    draft = desk.outbox.draft(Call("0x" + secrets.token_hex(20), value=1))
    desk.pay("b")
    desk.settle()
    with desk.transactions() as store:
        before = store.find(desk.outbox.sender, "a")
    assert before is None

    def sign() -> None:
        with desk.transactions() as store:
            desk.outbox.sign(store, "a", draft)

    with pytest.raises(Overtaken):
        sign()
    with desk.transactions() as store:
        assert store.find(desk.outbox.sender, "a") is None


def test_bytes_that_nobody_accepts_are_not_offered_for_more(desk: Desk) -> None:
    """Without money no fee is high enough; raising it would only cost more afterwards."""
    with mining_by_hand(desk.chain.rpc):
        to = desk.pay("a")
        desk.fatal = "committed"
        with pytest.raises(Stop):
            desk.outbox.step()
        desk.fatal = None
        desk.reopen()
        desk.chain.fund(desk.signer.address, 0)
        for _ in range(5):
            desk.outbox.step()
            mine(desk, 4)
            desk.now += desk.rules.replace_after + 1
        assert desk.intent("a").reason == "no_funds"
        assert len(desk.intent("a").attempts) == 1
        desk.chain.fund(desk.signer.address, 10)
        desk.outbox.step()
        desk.now += desk.rules.replace_after + 1
        desk.outbox.step()
        mine(desk)
    desk.settle()
    assert (desk.intent("a").state, desk.received(to)) == (State.DONE, 1)


class Unplugged(KeySigner):
    """A token that somebody pulled out."""

    away = False

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        if self.away:
            raise SignerUnusable("The token isn't there. Plug it in.")
        return super().sign_transaction(transaction)


def test_what_is_signed_goes_on_without_the_key(desk: Desk) -> None:
    desk.signer = Unplugged(secrets.token_bytes(32))
    desk.chain.fund(desk.signer.address)
    desk.reopen()
    first = desk.pay("a")
    desk.fatal = "committed"
    with pytest.raises(Stop):
        desk.outbox.step()
    desk.fatal = None
    desk.reopen()
    desk.signer.away = True
    second = desk.pay("b")
    desk.settle()
    assert (desk.intent("a").state, desk.received(first)) == (State.DONE, 1)
    assert AlarmKind.SIGNER in desk.alarms()
    desk.signer.away = False
    desk.settle()
    assert (desk.intent("b").state, desk.received(second)) == (State.DONE, 1)


def test_a_stranger_with_our_key_is_told_even_without_a_collision(desk: Desk) -> None:
    desk.pay("a")
    desk.settle()
    fees = transactions.suggest_fees(desk.chain.rpc)
    nonce = transactions.next_nonce(desk.chain.rpc, desk.signer.address)
    fields = transactions.build(CHAIN_ID, nonce, "0x" + secrets.token_hex(20), "0x", 21_000, fees, 5)
    transactions.broadcast(desk.chain.rpc, desk.signer.sign_transaction(fields)[0])
    desk.now += desk.rules.idle_look
    desk.settle()
    assert desk.alarms() == {AlarmKind.FOREIGN_NONCE}


def test_a_node_that_stands_still_loses_nothing(desk: Desk) -> None:
    """It knows less than it did: it lags behind. Only a chain that goes on without them has lost blocks."""
    desk.reopen(lost_after=600.0, finality=Confirmations(1))
    before = desk.chain.rpc.call("evm_snapshot", [])
    desk.pay("a")
    desk.settle()
    mine(desk)
    desk.now += desk.rules.resend_after
    desk.settle()
    assert desk.intent("a").state is State.DONE
    desk.chain.rpc.call("evm_revert", [before])
    header = desk.chain.rpc.call("eth_getBlockByNumber", ["latest", False])
    desk.now = int(header["timestamp"], 16) + 10_000.0
    for _ in range(5):
        desk.outbox.step()
        desk.now += 300
    assert desk.intent("a").state is State.DONE
    assert desk.alarms() == set()


def test_the_contract_must_refuse_for_a_while(desk: Desk) -> None:
    desk.reopen(refused_after=15.0)
    licenses = desk.chain.licenses
    with desk.transactions() as store:
        desk.outbox.enqueue(store, "a", Call(licenses.address, licenses.use_license_call(1, "ab" * 32)))
    desk.settle()
    assert (desk.intent("a").state, desk.intent("a").reason) == (State.QUEUED, "refused_now")
    desk.now += 16
    desk.settle()
    assert desk.intent("a").state is State.FAILED


class Journaling(PlainCalls):
    """A purpose with a table of its own in the same database."""

    def settled(self, store: Store, intent: Intent) -> None:
        assert isinstance(store, SqliteStore)
        store.database.execute("INSERT INTO journal VALUES (?, ?)", (intent.key, intent.state))


def test_what_a_settlement_writes_is_one_commit_with_it(desk: Desk) -> None:
    with sqlite3.connect(desk.path) as database:
        database.execute("CREATE TABLE journal (key TEXT PRIMARY KEY, state TEXT)")
    database.close()

    def journal() -> list[tuple[str, str]]:
        with desk.transactions() as store:
            assert isinstance(store, SqliteStore)
            return store.database.execute("SELECT key, state FROM journal ORDER BY key").fetchall()

    desk.outbox = Outbox(desk.chain.rpc, desk.signer, desk.transactions, desk.rules, Journaling())
    desk.pay("a")
    desk.pay("b")
    with desk.transactions() as store:
        desk.outbox.cancel(store, "b")
        desk.outbox.cancel(store, "b")
    assert journal() == [("b", "cancelled")]
    desk.settle()
    assert journal() == [("a", "done"), ("b", "cancelled")]


# --- settings --------------------------------------------------------------------------------------------


def test_finality_by_name() -> None:
    assert parse_finality("finalized") == Finalized()
    assert parse_finality("12") == Confirmations(12)
    for wrong in ("", "latest", "-1", "1.5", "99999", "١"):
        with pytest.raises(UnknownFinality, match="finalized, or a number"):
            parse_finality(wrong)


def test_rules_of_a_chain() -> None:
    assert Rules.for_chain(31337).finality == Confirmations(0)
    assert Rules.for_chain(1).finality == Finalized()
    assert Rules.for_chain(31337, Finalized()).finality == Finalized()
