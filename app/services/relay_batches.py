"""From waiting messages to transactions: simulated once more, many in one, each an intent of the outbox."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from app.models import Intent, IntentState, RelayEntry, RelayKind, RelayState
from app.models.base import now
from app.services import relay_simulation
from app.services.relay import read
from app.services.relay_limits import DEFAULTS, RelayLimits
from app.services.relay_messages import Message, batch_call
from app.services.relay_simulation import Forecast, Head
from imprimatur.chain import node
from imprimatur.chain.outbox import Finality, Rules
from imprimatur.chain.print_license import PrintLicense
from imprimatur.errors import ImprimaturError

PREFIXES = {RelayKind.USE: "uses", RelayKind.FAILURE: "failures"}
"""What the keys of intents begin with."""
BATCH_GAS = 50_000
"""Of a transaction without entries, with room to spare."""
TRANSACTION_GAS = 1 << 24
"""What a transaction may use at most (EIP-7825)."""
LOOK_AGAIN = 1.0
"""Seconds until a message is looked at again that the chain may yet accept, or whose event isn't final."""
UNMINED = (IntentState.QUEUED, IntentState.SENT)


class EntryMoved(ImprimaturError):
    """Another worker was faster: nothing was written."""


@dataclass(slots=True)
class _Held:
    """A message that is left out for a while."""

    since: float
    until: float


class RelayBatches:
    """Steps beside the outbox, in the one worker.

    A license has one entry in a batch, and none while one is on its way that isn't mined: so that what was
    simulated is what will be met.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        licenses: PrintLicense,
        limits: RelayLimits = DEFAULTS,
        finality: Finality | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions = sessions
        self._licenses = licenses
        self._limits = limits
        self._finality = finality
        self._clock = clock
        self._rules: Rules | None = None
        self._held: dict[int, _Held] = {}
        self._sent_at: dict[RelayKind, float] = {}

    def step(self) -> int:
        """Look at what waits; how many messages moved. Asks the node nothing when nothing waits.

        Raises:
            NodeUnreachable, NodeRefused, MalformedData: everything waits for the next pass.
        """
        return sum(self._step(kind) for kind in RelayKind)

    def _step(self, kind: RelayKind) -> int:
        entries = self._due(kind)
        if not entries:
            return 0
        rules = self._chain_rules()
        head = relay_simulation.head(self._licenses, rules.finality)
        moment = max(head.timestamp, self._clock())
        waiting = [(entry, read(self._licenses, kind, entry.message, entry.device)) for entry in entries]
        in_time = [message for entry, message in waiting if entry.deadline > moment]
        answers = iter(relay_simulation.forecasts(self._licenses, in_time))
        good: list[tuple[RelayEntry, Message, int]] = []
        bad: list[tuple[RelayEntry, Message, str]] = []
        for entry, message in waiting:
            forecast = next(answers) if entry.deadline > moment else Forecast("SignatureExpired")
            if forecast.reason is None:
                good.append((entry, message, forecast.gas))
            else:
                bad.append((entry, message, forecast.reason))
        # First those that go: to look the others up is what a node may refuse.
        return self._send(kind, good, head) + self._leave_out(bad, head, rules)

    def _due(self, kind: RelayKind) -> Sequence[RelayEntry]:
        """What a batch would hold now, oldest first; nothing while it is worth waiting for more."""
        moment = self._clock()
        self._held = {id: held for id, held in self._held.items() if moment - held.until < 60 * LOOK_AGAIN}
        left_out = [id for id, held in self._held.items() if held.until > moment]
        waiting = sa.and_(RelayEntry.state == RelayState.WAITING, RelayEntry.kind == kind)
        on_the_way = (
            sa.select(RelayEntry.license_id)
            .join(Intent, RelayEntry.intent_id == Intent.id)
            .where(RelayEntry.state == RelayState.SENT, RelayEntry.kind == kind, Intent.state.in_(UNMINED))
        )
        oldest = (
            sa.select(sa.func.min(RelayEntry.id))
            .where(waiting, RelayEntry.id.not_in(left_out), RelayEntry.license_id.not_in(on_the_way))
            .group_by(RelayEntry.license_id)
        )
        with self._sessions() as session:
            entries = session.scalars(
                sa.select(RelayEntry)
                .where(RelayEntry.id.in_(oldest))
                .order_by(RelayEntry.id)
                .limit(self._limits.batch)
            ).all()
        # A lone message goes at once; those that come soon after it share the next transaction.
        soon = moment - self._sent_at.get(kind, float("-inf")) < self._limits.gather
        return [] if soon and len(entries) < self._limits.batch else entries

    def _chain_rules(self) -> Rules:
        if self._rules is None:
            self._rules = Rules.for_chain(node.chain_id(self._licenses.rpc), self._finality)
        return self._rules

    def _leave_out(self, bad: list[tuple[RelayEntry, Message, str]], head: Head, rules: Rules) -> int:
        """Messages that the contract wouldn't take now: done by somebody, refused, or to be seen again."""
        for entry, _, _ in bad:
            self._hold(entry)
        found = relay_simulation.places(self._licenses, [message for _, message, _ in bad])
        moved = 0
        for (entry, _, reason), place in zip(bad, found, strict=True):
            if place is None:
                if self._is_settled(entry, rules):
                    moved += self._settle(entry, state=RelayState.REFUSED, reason=reason)
            elif head.is_final(place.block, rules.finality):
                facts = {"transaction_hash": place.transaction, "block_number": place.block}
                moved += self._settle(entry, state=RelayState.DONE, reason=None, **facts)
        return moved

    def _is_settled(self, entry: RelayEntry, rules: Rules) -> bool:
        """Whether a refusal has lasted so long that it can't be the view of a node that lags behind."""
        return self._clock() - self._held[entry.id].since >= rules.refused_after

    def _hold(self, entry: RelayEntry) -> None:
        self._held.setdefault(entry.id, _Held(self._clock(), 0)).until = self._clock() + LOOK_AGAIN

    def _settle(self, entry: RelayEntry, **values: object) -> int:
        self._held.pop(entry.id, None)
        with self._sessions.begin() as session:
            return _update(session, [entry.id], values)

    def _send(self, kind: RelayKind, good: list[tuple[RelayEntry, Message, int]], head: Head) -> int:
        """Queue one transaction with as many as fit; what doesn't fit waits for the next."""
        most = min(TRANSACTION_GAS, head.gas_limit // 2)
        gas = BATCH_GAS
        chosen: list[tuple[RelayEntry, Message]] = []
        for entry, message, needed in good:
            if chosen and gas + needed > most:
                break
            gas += needed
            chosen.append((entry, message))
            self._held.pop(entry.id, None)
        if not chosen:
            return 0
        data = batch_call(kind, [message for _, message in chosen])
        ids = [entry.id for entry, _ in chosen]
        try:
            with self._sessions.begin() as session:
                intent = queued(session, kind, self._licenses.address, data, gas)
                values = {"state": RelayState.SENT, "intent_id": intent.id, "reason": None}
                if _update(session, ids, values) != len(ids):
                    raise EntryMoved("Another worker was faster.")
        except EntryMoved:
            return 0
        self._sent_at[kind] = self._clock()
        return len(ids)


def queued(session: Session, kind: RelayKind, to: str, data: str, gas: int | None) -> Intent:
    """A new intent for a batch, in the open transaction; `gas` None: the node estimates."""
    key = f"{PREFIXES[kind]}:{secrets.token_hex(16)}"
    intent = Intent(key=key, state=IntentState.QUEUED, to=to, data=data, value="0", gas=gas)
    session.add(intent)
    session.flush()
    return intent


def _update(session: Session, ids: list[int], values: dict[str, object]) -> int:
    """Write to those of the entries that still wait; how many."""
    waiting = sa.and_(RelayEntry.id.in_(ids), RelayEntry.state == RelayState.WAITING)
    done = session.execute(
        sa.update(RelayEntry)
        .where(waiting)
        .values(updated_at=now(), **values)
        .execution_options(synchronize_session=False)
    )
    return int(getattr(done, "rowcount", 0))
