"""Carrying intents to the chain: signed once, committed, then sent until their outcome is final.

Every step is written down before it is taken. Bytes are broadcast only after they were committed, and an
intent has one nonce at a time: so it can happen at most once. It is given another nonce only when a final
block shows another transaction with its nonce, or its own which didn't do what was wanted. Everything else
(a lost answer, "already known", a missing receipt) means: unknown, look again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from imprimatur.chain.outbox import view as chain
from imprimatur.chain.outbox.alarms import Alarm, AlarmKind, Metrics
from imprimatur.chain.outbox.following import Change, Following
from imprimatur.chain.outbox.pricing import replacement
from imprimatur.chain.outbox.purpose import PlainCalls, Purpose
from imprimatur.chain.outbox.records import SETTLED, Attempt, Call, Intent, Sender, State
from imprimatur.chain.outbox.recovery import Recovery
from imprimatur.chain.outbox.rules import Rules
from imprimatur.chain.outbox.sending import Sending
from imprimatur.chain.outbox.signing import Signing
from imprimatur.chain.outbox.store import Store, Transactions
from imprimatur.chain.outbox.view import View
from imprimatur.chain.rpc import Rpc
from imprimatur.chain.signers import Signer
from imprimatur.chain.transactions import Fees

BLOCKS_PASSED_BY = 3
"""Blocks that left out the oldest transaction before it is offered for more."""

Checkpoint = Callable[[str], None]
"""Told at every point where a crash would leave another state behind; tests crash there."""


def no_checkpoint(_name: str) -> None:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A call that is ready to be signed: simulated, priced and affordable."""

    call: Call
    fees: Fees
    count: int
    head: int


class Outbox:
    """The queue of one account on one chain. One worker steps it; any number of callers may add to it.

    Two workers by mistake lose nothing: the store's conditions let only one of them take each step.
    """

    def __init__(
        self,
        rpc: Rpc,
        signer: Signer,
        transactions: Transactions,
        rules: Rules,
        purpose: Purpose | None = None,
        clock: Callable[[], float] = time.time,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        self.sender = Sender(rules.chain_id, signer.address)
        self.metrics = Metrics()
        self._rpc = rpc
        self._transactions = transactions
        self._rules = rules
        self._purpose = purpose or PlainCalls()
        self._clock = clock
        self._checkpoint = checkpoint
        self._signing = Signing(rpc, signer, rules, clock)
        self._following = Following(rpc, self.sender, rules, self._purpose)
        self._sending = Sending(rpc, clock, rules.resend_after, self.metrics)
        self._recovery = Recovery(rpc, rules, clock)
        self._alarms: list[Alarm] = []
        self._next_look = float("-inf")

    # --- for callers, inside their own transaction -----------------------------------------------------

    def enqueue(self, store: Store, key: str, call: Call | None = None) -> Intent:
        """Queue a wish; the one that has this key when there is one. `call` None: the purpose makes it."""
        return store.add(self.sender, key, call)

    def draft(self, call: Call) -> Draft:
        """Simulate and price a call, outside of a transaction; `sign` then needs no network.

        Raises:
            ContractReverted: the contract would refuse; with its error and values.
            NotEnoughFunds, FeesTooHigh, WrongChain, NodeUnreachable, NodeRefused
        """
        view = chain.look(self._rpc, self.sender, self._rules.finality)
        call = self._signing.affordable(self._signing.estimated(call), view, committed=0)
        return Draft(call, self._signing.fees(view), view.count, view.head)

    def sign(self, store: Store, key: str, draft: Draft) -> Intent:
        """Queue and sign in one: the bytes become part of the caller's commit. Nothing is sent before it.

        An intent that has this key already and is past QUEUED stays as it is.
        """
        intent = store.add(self.sender, key, draft.call)
        if intent.state is not State.QUEUED:
            return intent
        nonce = store.next_nonce(self.sender, draft.count)
        attempt = self._signing.attempt(draft.call, nonce, draft.fees, draft.head)
        return self._write(store, replace(intent, call=draft.call), attempt) or intent

    def cancel(self, store: Store, key: str) -> Intent | None:
        """Ask that a wish isn't carried out; the intent as it stands now, or None when there is none.

        A queued one is CANCELLED at once. For a signed one the worker tries to use its nonce up otherwise:
        it ends CANCELLED or, when its own bytes were faster, DONE.
        """
        before = store.find(self.sender, key)
        after = store.cancel(self.sender, key)
        if before and after and before.state is State.QUEUED and after.state is State.CANCELLED:
            self._purpose.settled(store, after)
        return after

    # --- for the operator ------------------------------------------------------------------------------

    def alarms(self) -> list[Alarm]:
        """What the last look at the chain found that somebody should know."""
        return list(self._alarms)

    # --- for the worker --------------------------------------------------------------------------------

    def step(self) -> int:
        """One pass: look after what is under way, then sign what waits; how many intents moved on.

        Never sleeps. Call it again at once when something moved, else after a moment.

        Raises:
            WrongChain, NodeUnreachable, NodeRefused: the rest waits for the next pass.
        """
        flight, queued = self._load()
        if not (flight or queued) and self._clock() < self._next_look:
            return 0
        view = chain.look(self._rpc, self.sender, self._rules.finality)
        self._next_look = self._clock() + self._rules.idle_look
        self._alarms = []
        self.metrics.balance = view.balance
        if view.balance < self._rules.low_balance:
            self._alarms.append(Alarm(AlarmKind.LOW_BALANCE, {"balance": view.balance}))
        changed = self._recover(flight, view)
        changed += self._record(self._following.changes(flight, view, self._alarms))
        flight, queued = self._load()
        self._watch(flight)
        sendable = [i for i in flight if i.state is State.SENT]
        raised = self._raise_fees(sendable, view)
        due = [i for i in sendable if i.id not in {r.id for r in raised} and self._sending.is_due(i)]
        changed += sum(self._sending.is_new(intent) for intent in due)
        self._send(raised + due)
        room = max(0, self._rules.max_in_flight - len(flight))
        started, refused = self._start(queued[:room], flight, view)
        self._send(started)
        with self._transactions() as store:
            self.metrics.states = store.count(self.sender)
        return changed + len(raised) + len(started) + refused

    def _load(self) -> tuple[list[Intent], list[Intent]]:
        """What is in flight, and what waits: as many as may be in flight at most."""
        with self._transactions() as store:
            return store.in_flight(self.sender), store.queued(self.sender, self._rules.max_in_flight)

    def _record(self, changes: Sequence[Change]) -> int:
        """Write changes down, all in one commit; how many intents moved on."""
        if not changes:
            return 0
        self._checkpoint("looked")
        written: list[Change] = []
        with self._transactions() as store:
            for change in changes:
                if store.update(self.sender, change.after, change.before.state):
                    written.append(change)
                    if change.after.state in SETTLED:
                        self._purpose.settled(store, change.after)
        for change in written:
            self._count(change)
        self._checkpoint("recorded")
        return sum(change.before.state is not change.after.state for change in written)

    def _count(self, change: Change) -> None:
        before, after = change.before.state, change.after.state
        self.metrics.reorganised += (before, after) == (State.MINED, State.SENT)
        self.metrics.requeued += after is State.QUEUED and before is not State.QUEUED
        if after in SETTLED:
            self.metrics.settled += 1
            self._sending.forget(change.before)

    def _send(self, intents: Sequence[Intent]) -> None:
        if intents:
            changes = self._sending.send(intents)
            self._checkpoint("sent")
            self._record(changes)

    def _recover(self, flight: list[Intent], view: View) -> int:
        """Bring back what a chain lost after it was final: the same bytes again, in the order of nonces."""
        with self._transactions() as store:
            lost = store.settled_from(self.sender, view.count)
        found = self._recovery.find(lost, flight, view)
        self._alarms += found.alarms
        changed = self._record(found.changes)
        for nonce in found.gaps:
            changed += self._fill(nonce, view)
        return changed

    def _fill(self, nonce: int, view: View) -> int:
        """Use up a nonce whose bytes were given up while the chain still had another transaction with it."""
        call = Call(self.sender.address, gas=Signing.CANCELLING_GAS)
        attempt = self._signing.attempt(call, nonce, self._signing.fees(view), view.head, cancels=True)
        with self._transactions() as store:
            intent = store.add(self.sender, f"fill:{nonce}", call)
            filled = intent.state is State.QUEUED and self._write(store, intent, attempt) is not None
        self._checkpoint("filled")
        return int(filled)

    def _watch(self, flight: list[Intent]) -> None:
        oldest = next((i for i in flight if i.state is State.SENT), None)
        if oldest is not None:
            seconds = self._clock() - oldest.attempts[0].signed_at
            if seconds > self._rules.stuck_after:
                self._alarms.append(Alarm(AlarmKind.STUCK, {"key": oldest.key, "seconds": int(seconds)}))

    def _raise_fees(self, sent: list[Intent], view: View) -> list[Intent]:
        """Replace what nobody mines at its price, and what shall be cancelled; the intents with new bytes."""
        replaced: list[tuple[Intent, Attempt]] = []
        for place, intent in enumerate(sent):
            if (intent.nonce or 0) < view.count or not self._needs_more(intent, view, lowest=place == 0):
                continue
            old = Fees(intent.newest.max_fee, intent.newest.tip)
            fees = replacement(old, view.fees, self._rules.max_fee)
            if fees is None:
                self._alarms.append(
                    Alarm(AlarmKind.FEE_CAP, {"key": intent.key, "wanted": view.fees.max_fee})
                )
                continue
            replaced.append((intent, self._signing.successor(intent, fees, view.head)))
        if not replaced:
            return []
        self._checkpoint("raised")
        with self._transactions() as store:
            written = [self._write(store, intent, attempt) for intent, attempt in replaced]
        self._checkpoint("replaced")
        self.metrics.replaced += len(replaced)
        return [intent for intent in written if intent is not None]

    def _needs_more(self, intent: Intent, view: View, lowest: bool) -> bool:
        newest = intent.newest
        if intent.cancelling and not any(attempt.cancels for attempt in intent.attempts):
            return True
        if self._clock() - newest.signed_at < self._rules.replace_after:
            return False
        passed_by = lowest and view.head - newest.head >= BLOCKS_PASSED_BY
        return newest.max_fee < view.base_fee + newest.tip or passed_by

    def _start(self, queued: list[Intent], flight: list[Intent], view: View) -> tuple[list[Intent], int]:
        """Sign waiting intents, all in one commit: these; and how many turned out as refused."""
        if not queued:
            return [], 0
        ready, changes = self._signing.prepare(queued, flight, view, self._purpose, self._alarms)
        refused = self._record(changes)
        if not ready:
            return [], refused
        with self._transactions() as store:
            first = store.next_nonce(self.sender, view.count)
        # Signed outside of the transaction: a hardware token or a remote signer takes its time.
        fees = self._signing.fees(view)
        signed = [
            (intent, self._signing.attempt(call, first + place, fees, view.head))
            for place, (intent, call) in enumerate(ready)
        ]
        self._checkpoint("signed")
        try:
            with self._transactions() as store:
                if store.next_nonce(self.sender, view.count) != first:
                    raise _Overtaken
                started = [
                    self._write(store, replace(intent, call=call), attempt)
                    for (intent, attempt), (_, call) in zip(signed, ready, strict=True)
                ]
                if None in started:
                    raise _Overtaken  # Cancelled meanwhile: its nonce would be missing.
        except _Overtaken:
            return [], refused
        self._checkpoint("committed")
        self.metrics.signed += len(started)
        return [intent for intent in started if intent is not None], refused

    def _write(self, store: Store, intent: Intent, attempt: Attempt) -> Intent | None:
        """One more attempt of an intent; None, and nothing written, when the intent moved meanwhile."""
        after = replace(
            intent,
            state=State.SENT,
            nonce=attempt.nonce,
            attempts=(*intent.attempts, attempt),
            transaction_hash=attempt.hash,
            reason=None,
            facts=None,
        )
        if not store.update(self.sender, after, intent.state):
            return None
        store.add_attempt(self.sender, after, attempt)
        return after


class _Overtaken(Exception):
    """Somebody else changed the same rows: roll back, look again."""
