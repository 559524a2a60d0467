"""What became of a batch, entry by entry: neither a receipt's status nor a neighbour decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from app.models import IntentState, RelayEntry, RelayKind, RelayState
from app.models.base import now
from app.services import relay_simulation
from app.services.outbox_store import SqlStore
from app.services.relay import read
from app.services.relay_batches import PREFIXES, queued
from app.services.relay_messages import batch_call
from app.services.relay_simulation import NAMELESS, Place
from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.outbox import Intent, PlainCalls, Purpose, Store, Verdict
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused, quantity


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an entry stands after its batch: done at a place, refused for a reason, or waiting again."""

    state: RelayState
    reason: str | None = None
    place: Place | None = None


AGAIN = Outcome(RelayState.WAITING)
"""Its batch was cancelled, or says nothing about it, or its event came later and isn't final yet. Before the
next batch it is simulated, its own event looked for, its deadline checked."""


class RelayCalls(PlainCalls):
    """Intents are batches of one kind; their calls stand in the store."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        licenses: PrintLicense,
        kind: RelayKind,
    ) -> None:
        self._sessions = sessions
        self._licenses = licenses
        self._kind = kind
        self._outcomes: dict[int, dict[int, Outcome]] = {}
        """By intent and entry: from the judgement, outside of the transaction, to its commit."""

    def judge(self, intent: Intent, receipt: dict[str, Any]) -> Verdict:
        if not int(receipt["status"], 16):
            return Verdict(IntentState.FAILED, "reverted")
        with self._sessions() as session:
            entries = _entries(session, intent)
        self._outcomes[intent.id] = self._judged(entries, receipt)
        return Verdict(IntentState.DONE)

    def refused(self, intent: Intent, error: ContractReverted | NodeRefused, alone: bool) -> Verdict | None:
        """A batch leaves bad entries out by itself: when it reverts as a whole, it is too large."""
        del intent, alone  # Batches don't depend on each other.
        if isinstance(error, NodeRefused) and not relay_simulation.is_about_the_call(error):
            return None
        return Verdict(IntentState.FAILED, "reverted")

    def settled(self, store: Store, intent: Intent) -> None:
        if not isinstance(store, SqlStore):
            raise TypeError("The relay's entries stand in the portal's database.")
        entries = _entries(store.session, intent)
        if intent.state is IntentState.FAILED:
            self._split(store.session, entries)
            return
        outcomes = self._outcomes.pop(intent.id, {})
        for entry in entries:
            _write(entry, outcomes.get(entry.id, AGAIN))

    def _judged(self, entries: Sequence[RelayEntry], receipt: dict[str, Any]) -> dict[int, Outcome]:
        messages = [read(self._licenses, self._kind, entry.message, entry.device) for entry in entries]
        mine = Place(str(receipt["transactionHash"]), quantity(receipt["blockNumber"]))
        address = self._licenses.address.lower()
        logs = [log for log in receipt["logs"] if log["address"].lower() == address]
        there = {(tuple(t.lower() for t in log["topics"]), log["data"].lower()) for log in logs}
        own = [message.own_log for message in messages]
        found = [mine if (log.topics, log.data) in there else None for log in own]
        skipped = {(id, copy): reason for id, copy, reason in self._skipped(receipt)}
        missing = [i for i, place in enumerate(found) if place is None]
        elsewhere = relay_simulation.places(self._licenses, [messages[i] for i in missing])
        for i, place in zip(missing, elsewhere, strict=True):
            found[i] = place
        outcomes: dict[int, Outcome] = {}
        for entry, message, place in zip(entries, messages, found, strict=True):
            reason = skipped.get((message.license, entry.copy))
            if place is not None and place.block <= mine.block:
                outcomes[entry.id] = Outcome(RelayState.DONE, place=place)
            elif place is None and reason is not None:
                outcomes[entry.id] = Outcome(RelayState.REFUSED, reason)
        return outcomes

    def _skipped(self, receipt: dict[str, Any]) -> list[tuple[int, int, str]]:
        topics = {self._licenses.interface.topic(name) for name in ("UseSkipped", "FailureSkipped")}
        logs = [log for log in receipt["logs"] if log["topics"] and log["topics"][0].lower() in topics]
        return self._licenses.skipped_in({"logs": logs})

    def _split(self, session: Session, entries: Sequence[RelayEntry]) -> None:
        """Two transactions with a half each, so that a whole batch never fails for the sake of one."""
        if len(entries) < 2:
            for entry in entries:
                _write(entry, Outcome(RelayState.REFUSED, NAMELESS))
            return
        middle = len(entries) // 2
        for half in (entries[:middle], entries[middle:]):
            messages = [read(self._licenses, self._kind, entry.message, entry.device) for entry in half]
            data = batch_call(self._kind, messages)
            # The node estimates: what was reserved wasn't enough.
            intent = queued(session, self._kind, self._licenses.address, data, gas=None)
            for entry in half:
                entry.intent_id = intent.id


def relay_calls(sessions: sessionmaker[Session], licenses: PrintLicense) -> dict[str, Purpose]:
    """The relay's purposes by the prefix of their intents' keys."""
    return {prefix: RelayCalls(sessions, licenses, kind) for kind, prefix in PREFIXES.items()}


def _entries(session: Session, intent: Intent) -> Sequence[RelayEntry]:
    return session.scalars(
        sa.select(RelayEntry).where(RelayEntry.intent_id == intent.id).order_by(RelayEntry.id)
    ).all()


def _write(entry: RelayEntry, outcome: Outcome) -> None:
    place = outcome.place
    entry.state, entry.reason = outcome.state, outcome.reason
    entry.transaction_hash = None if place is None else place.transaction
    entry.block_number = None if place is None else place.block
    if outcome.state is RelayState.WAITING:
        entry.intent_id = None
    entry.updated_at = now()
