"""Carrying intents to the chain: signed once, committed, then sent until their outcome is final.

Every step is written down before it is taken. Bytes are broadcast only after they were committed, and an
intent has one nonce at a time: so it can happen at most once. It is given another nonce only when a final
block shows another transaction with its nonce, or its own which didn't do what was wanted. Everything else
(a lost answer, "already known", a missing receipt) means: unknown, look again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imprimatur.chain.outbox import view as chain
from imprimatur.chain.outbox.alarms import Alarm, AlarmKind, Metrics
from imprimatur.chain.outbox.following import Following
from imprimatur.chain.outbox.ledger import Checkpoint, Ledger, no_checkpoint
from imprimatur.chain.outbox.purpose import PlainCalls, Purpose
from imprimatur.chain.outbox.raising import Raising
from imprimatur.chain.outbox.records import Attempt, Call, Intent, KeyTaken, Sender, State
from imprimatur.chain.outbox.recovery import Recovery
from imprimatur.chain.outbox.rules import Rules
from imprimatur.chain.outbox.sending import Sending
from imprimatur.chain.outbox.signing import Signing
from imprimatur.chain.outbox.store import Store, Transactions
from imprimatur.chain.outbox.view import View
from imprimatur.chain.rpc import Rpc
from imprimatur.chain.signers import Signer, SignerUnusable
from imprimatur.errors import ImprimaturError


class Overtaken(ImprimaturError):
    """Somebody else signed or cancelled meanwhile: nothing was written. Draft again."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A call that was simulated, priced and signed, and that nobody has seen."""

    call: Call
    attempt: Attempt
    count: int


class Outbox:
    """The queue of one account on one chain. One worker steps it; any number of callers may add to it.

    Two workers by mistake double nothing: each step holds only as long as the row is as it was seen.
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
        self._rules = rules
        self._purpose = purpose or PlainCalls()
        self._clock = clock
        self._signing = Signing(rpc, signer, rules, clock)
        self._raising = Raising(self._signing, rules, clock)
        self._following = Following(rpc, self.sender, rules, self._purpose, clock)
        self._sending = Sending(rpc, clock, rules.resend_after, self.metrics)
        self._recovery = Recovery(rpc, rules, clock)
        self._ledger = Ledger(
            self.sender, transactions, self._purpose, self._sending, self.metrics, checkpoint
        )
        self._alarms: list[Alarm] = []
        self._next_look = float("-inf")

    # --- for callers, inside their own transaction -----------------------------------------------------

    def enqueue(self, store: Store, key: str, call: Call | None = None) -> Intent:
        """Queue a wish; the one that has this key when there is one. `call` None: the purpose makes it.

        Raises:
            KeyTaken: the key names a wish with another call.
        """
        return _same(store.add(self.sender, key, call), call)

    def draft(self, call: Call) -> Draft:
        """Simulate, price and sign a call, outside of a transaction; `sign` then needs neither node nor key.

        Raises:
            ContractReverted: the contract would refuse; with its error and values.
            NotEnoughFunds, FeesTooHigh, WrongChain, SignerUnusable, NodeUnreachable, NodeRefused
        """
        view = chain.look(self._rpc, self.sender, self._rules.finality)
        call = self._signing.affordable(self._signing.estimated(call), view, committed=0)
        nonce = self._next_nonce(view)
        return Draft(
            call, self._signing.attempt(call, nonce, self._signing.fees(view), view.head), view.count
        )

    def sign(self, store: Store, key: str, draft: Draft) -> Intent:
        """Queue and sign in one: the bytes become part of the caller's commit. Nothing is sent before it.

        An intent that has this key already and is past QUEUED stays as it is.

        Raises:
            Overtaken: the draft's nonce was given to something else; make another draft.
            KeyTaken: the key names a wish with another call.
        """
        intent = _same(store.add(self.sender, key, draft.call), draft.call)
        if intent.state is not State.QUEUED:
            return intent
        written = None
        if store.next_nonce(self.sender, draft.count) == draft.attempt.nonce:
            written = self._ledger.write(store, intent, draft.call, draft.attempt)
        if written is None:
            raise Overtaken("Something else was signed with this account meanwhile. Try again.")
        return written

    def cancel(self, store: Store, key: str) -> Intent | None:
        """Ask that a wish isn't carried out; the intent as it stands now, or None when there is none.

        A queued one is CANCELLED at once. For a signed one the worker tries to use its nonce up otherwise:
        it ends CANCELLED or, when its own bytes were faster, DONE. It is never signed with another nonce.
        """
        found = store.cancel(self.sender, key)
        if found is None:
            return None
        intent, ended = found
        if ended:
            self._purpose.settled(store, intent)
        return intent

    # --- for the operator ------------------------------------------------------------------------------

    def alarms(self) -> list[Alarm]:
        """What the last look at the chain found that somebody should know."""
        return list(self._alarms)

    # --- for the worker --------------------------------------------------------------------------------

    def step(self) -> int:
        """One pass: look after what is under way, then sign what waits; how many intents moved on.

        Never sleeps. Call it again at once when something moved, else after a moment.

        Raises:
            WrongChain, NoBaseFee, NodeUnreachable, NodeRefused: the rest waits for the next pass.
        """
        flight, queued = self._ledger.load(self._rules.max_in_flight)
        if not (flight or queued) and self._clock() < self._next_look:
            return 0
        view = chain.look(self._rpc, self.sender, self._rules.finality)
        self._next_look = self._clock() + self._rules.idle_look
        self._alarms = []
        self._watch_account(view)
        changed, gaps = self._recover(flight, view)
        changed += self._ledger.record(self._following.changes(flight, view, self._alarms))
        flight, queued = self._ledger.load(self._rules.max_in_flight)
        self._watch(flight)
        sent = [intent for intent in flight if intent.state is State.SENT]
        due = [intent for intent in sent if self._sending.is_due(intent)]
        changed += sum(self._sending.is_new(intent) for intent in due)
        self._send(due)
        try:
            changed += self._fill(gaps, view) + self._raise_fees(view) + self._start(queued, view)
        except SignerUnusable as error:
            # What is signed already goes on without the key.
            self._alarms.append(Alarm(AlarmKind.SIGNER, {"message": str(error)[:200]}))
        with self._ledger.transactions() as store:
            self.metrics.states = store.count(self.sender)
        return changed

    def _send(self, intents: Sequence[Intent]) -> None:
        if intents:
            changes = self._sending.send(intents)
            self._ledger.checkpoint("sent")
            self._ledger.record(changes)

    def _next_nonce(self, view: View) -> int:
        with self._ledger.transactions() as store:
            return store.next_nonce(self.sender, view.count)

    def _watch_account(self, view: View) -> None:
        self.metrics.balance = view.balance
        if view.balance < self._rules.low_balance:
            self._alarms.append(Alarm(AlarmKind.LOW_BALANCE, {"balance": view.balance}))
        with self._ledger.transactions() as store:
            ours = store.next_nonce(self.sender, 0)
        if 0 < ours < view.count:
            self._alarms.append(Alarm(AlarmKind.FOREIGN_NONCE, {"nonce": view.count - 1}))

    def _watch(self, flight: list[Intent]) -> None:
        oldest = next((i for i in flight if i.state is State.SENT), None)
        if oldest is not None:
            seconds = self._clock() - oldest.attempts[0].signed_at
            if seconds > self._rules.stuck_after:
                self._alarms.append(Alarm(AlarmKind.STUCK, {"key": oldest.key, "seconds": int(seconds)}))

    def _recover(self, flight: list[Intent], view: View) -> tuple[int, list[int]]:
        """Bring back what a chain lost after it was final: the same bytes again, in the order of nonces.

        How many intents are sent again, and which nonces are missing between them.
        """
        with self._ledger.transactions() as store:
            lost = store.settled_from(self.sender, view.count, self._rules.max_in_flight)
        found = self._recovery.find(lost, flight, view)
        self._alarms += found.alarms
        return self._ledger.record(found.changes), found.gaps

    def _fill(self, gaps: list[int], view: View) -> int:
        """Use up nonces whose bytes were given up while the chain still had other transactions with them."""
        filled: list[Intent] = []
        for nonce in gaps:
            # One of its own each time: a chain may lose the same nonce twice.
            key = f"fill:{self.sender.chain_id}:{self.sender.address[2:10]}:{nonce}:{view.head}"
            call, attempt = self._signing.nothing(nonce, self._signing.fees(view), view.head)
            with self._ledger.transactions() as store:
                intent = store.add(self.sender, key, call)
                if intent.state is State.QUEUED and (
                    written := self._ledger.write(store, intent, call, attempt)
                ):
                    filled.append(written)
            self._ledger.checkpoint("filled")
        self._send(filled)
        return len(filled)

    def _raise_fees(self, view: View) -> int:
        """Replace what nobody mines at its price, and what shall be cancelled."""
        flight, _ = self._ledger.load(0)
        sent = [intent for intent in flight if intent.state is State.SENT]
        replaced = self._raising.successors(sent, view, self._alarms)
        if not replaced:
            return 0
        self._ledger.checkpoint("raised")
        with self._ledger.transactions() as store:
            written = [self._ledger.write(store, i, i.call, attempt) for i, attempt in replaced]
        self._ledger.checkpoint("replaced")
        raised = [intent for intent in written if intent is not None]
        self.metrics.replaced += len(raised)
        self._send(raised)
        return len(raised)

    def _start(self, queued: list[Intent], view: View) -> int:
        """Sign waiting intents, all in one commit, and send them; how many moved."""
        flight, _ = self._ledger.load(0)
        room = max(0, self._rules.max_in_flight - len(flight))
        ready, changes = self._signing.prepare(queued[:room], flight, view, self._purpose, self._alarms)
        moved = self._ledger.record(changes)
        if not ready:
            return moved
        first = self._next_nonce(view)
        # Signed outside of the transaction: a hardware token or a remote signer takes its time.
        fees = self._signing.fees(view)
        signed = [
            (intent, call, self._signing.attempt(call, first + place, fees, view.head))
            for place, (intent, call) in enumerate(ready)
        ]
        self._ledger.checkpoint("signed")
        try:
            with self._ledger.transactions() as store:
                if store.next_nonce(self.sender, view.count) != first:
                    raise Overtaken("Somebody else signed.")
                started = [self._ledger.write(store, *one) for one in signed]
                if None in started:
                    raise Overtaken("One was cancelled; its nonce would be missing.")
        except Overtaken:
            return moved
        self._ledger.checkpoint("committed")
        self.metrics.signed += len(started)
        self._send([intent for intent in started if intent is not None])
        return moved + len(started)


def _same(intent: Intent, call: Call | None) -> Intent:
    """The intent, when its call is this one."""
    if call is not None and intent.call is not None and not call.does_as(intent.call):
        raise KeyTaken(f"The key {intent.key!r} names another wish already. Choose another key.")
    return intent
