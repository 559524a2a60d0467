"""Writing down what changes, each time in one commit that holds only as long as the rows are as they were."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from imprimatur.chain.outbox.alarms import Metrics
from imprimatur.chain.outbox.following import Change
from imprimatur.chain.outbox.purpose import Purpose
from imprimatur.chain.outbox.records import SETTLED, Attempt, Call, Intent, Sender, State
from imprimatur.chain.outbox.sending import Sending
from imprimatur.chain.outbox.store import Store, Transactions

Checkpoint = Callable[[str], None]
"""Told at every point where a crash would leave another state behind; tests crash there."""


def no_checkpoint(_name: str) -> None:
    """Go on."""


class Ledger:
    """The rows of one sender."""

    def __init__(
        self,
        sender: Sender,
        transactions: Transactions,
        purpose: Purpose,
        sending: Sending,
        metrics: Metrics,
        checkpoint: Checkpoint,
    ) -> None:
        self.transactions = transactions
        self.checkpoint = checkpoint
        self._sender = sender
        self._purpose = purpose
        self._sending = sending
        self._metrics = metrics

    def load(self, most: int) -> tuple[list[Intent], list[Intent]]:
        """What is in flight; and what waits, at most so many."""
        with self.transactions() as store:
            return store.in_flight(self._sender), store.queued(self._sender, most)

    def record(self, changes: Sequence[Change]) -> int:
        """Write changes down, all in one commit; how many intents moved on."""
        if not changes:
            return 0
        self.checkpoint("looked")
        written: list[Change] = []
        with self.transactions() as store:
            for change in changes:
                if store.update(self._sender, change.after, change.before):
                    written.append(change)
                    if change.after.state in SETTLED:
                        self._purpose.settled(store, change.after)
        for change in written:
            self._count(change)
        self.checkpoint("recorded")
        return sum(change.before.state is not change.after.state for change in written)

    def _count(self, change: Change) -> None:
        before, after = change.before.state, change.after.state
        self._metrics.reorganised += (before, after) == (State.MINED, State.SENT)
        self._metrics.requeued += after is State.QUEUED and before is not State.QUEUED
        self._metrics.settled += after in SETTLED
        if after in (State.QUEUED, *SETTLED):
            self._sending.forget(change.before)

    def write(self, store: Store, before: Intent, call: Call | None, attempt: Attempt) -> Intent | None:
        """One more attempt of an intent; None, and nothing written, when the intent moved meanwhile."""
        after = replace(
            before,
            state=State.SENT,
            call=call,
            nonce=attempt.nonce,
            attempts=(*before.attempts, attempt),
            transaction_hash=attempt.hash,
            reason=None,
            facts=None,
        )
        if not store.update(self._sender, after, before):
            return None
        store.add_attempt(self._sender, after, attempt)
        return after
