"""A chain that lost blocks which were final: a node restored from a backup, or a broken promise."""

from collections.abc import Callable
from dataclasses import dataclass, field

from imprimatur.chain.outbox.alarms import Alarm, AlarmKind
from imprimatur.chain.outbox.following import Change, reopened
from imprimatur.chain.outbox.records import Intent
from imprimatur.chain.outbox.rules import Rules
from imprimatur.chain.outbox.view import View, is_replaced
from imprimatur.chain.rpc import Rpc


@dataclass(frozen=True, slots=True)
class Found:
    """What to do about a loss."""

    changes: list[Change] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    """Nonces below ours that the chain waits for and that belong to no intent any more."""
    alarms: list[Alarm] = field(default_factory=list)


class Recovery:
    """Decides when a missing transaction is lost, and not just unknown to a node that lags behind."""

    def __init__(self, rpc: Rpc, rules: Rules, clock: Callable[[], float]) -> None:
        self._rpc = rpc
        self._rules = rules
        self._clock = clock
        self._missing_since: float | None = None

    def find(self, lost: list[Intent], flight: list[Intent], view: View) -> Found:
        """What is lost.

        Args:
            lost: settled intents whose nonces the chain asks for.
            flight: what is in flight.
        """
        gaps = _gaps(lost, flight, view)
        if not lost and not gaps:
            self._missing_since = None
            return Found()
        if not (lost and self._replaced(lost[0], view)) and not self._waited_enough(view):
            return Found()
        facts = {"transactions": len(lost), "gaps": len(gaps), "head": view.head}
        return Found(
            [Change(intent, reopened(intent, "lost_by_chain")) for intent in lost],
            gaps,
            [Alarm(AlarmKind.LOST_BY_CHAIN, facts)],
        )

    def _waited_enough(self, view: View) -> bool:
        """Whether a chain that goes on has lacked something for long; a node that stands still just lags."""
        now, patience = self._clock(), self._rules.lost_after
        if patience and now - view.timestamp > patience:
            self._missing_since = None
            return False
        if self._missing_since is None:
            self._missing_since = now
        return now - self._missing_since >= patience

    def _replaced(self, intent: Intent, view: View) -> bool:
        """Whether another block is final where this intent was mined."""
        if intent.block_number is None or intent.block_hash is None:
            return False
        block = intent.block_number, intent.block_hash
        return is_replaced(self._rpc, self._rules.finality, view, block)


def _gaps(lost: list[Intent], flight: list[Intent], view: View) -> list[int]:
    nonces = {intent.nonce for intent in (*lost, *flight) if intent.nonce is not None}
    return [n for n in range(view.count, max(nonces, default=view.count)) if n not in nonces]
