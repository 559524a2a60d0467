"""Handing signed bytes to the node, again and again."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from imprimatur.chain.outbox.alarms import Metrics
from imprimatur.chain.outbox.following import Change
from imprimatur.chain.outbox.records import Intent
from imprimatur.chain.rpc import NodeRefused, Rpc
from imprimatur.chain.transactions import is_known_already

Reason = tuple[str | None, dict[str, Any] | None]


class Sending:
    """Remembers what was sent when, in this process only: after a restart everything is sent once more."""

    def __init__(self, rpc: Rpc, clock: Callable[[], float], resend_after: float, metrics: Metrics) -> None:
        self._rpc = rpc
        self._clock = clock
        self._resend_after = resend_after
        self._metrics = metrics
        self._sent: dict[str, float] = {}

    def is_due(self, intent: Intent) -> bool:
        """Whether its newest bytes weren't sent for a while."""
        last = self._sent.get(intent.newest.hash)
        return last is None or self._clock() - last >= self._resend_after

    def is_new(self, intent: Intent) -> bool:
        """Whether this process never sent its newest bytes."""
        return intent.newest.hash not in self._sent

    def send(self, intents: Sequence[Intent]) -> list[Change]:
        """Send each intent's newest bytes; intents whose reason to wait is another one now.

        Raises:
            NodeUnreachable: unknown what arrived. Send again.
        """
        if not intents:
            return []
        calls = [("eth_sendRawTransaction", ["0x" + intent.newest.raw.hex()]) for intent in intents]
        changes: list[Change] = []
        for intent, answer in zip(intents, self._rpc.batch(calls), strict=True):
            hash = intent.newest.hash
            self._metrics.resent += hash in self._sent
            self._metrics.sent += hash not in self._sent
            self._sent[hash] = self._clock()
            reason, facts = _reason(answer)
            if (intent.reason, intent.facts) != (reason, facts):
                changes.append(Change(intent, replace(intent, reason=reason, facts=facts)))
        return changes

    def forget(self, intent: Intent) -> None:
        """It is settled."""
        for attempt in intent.attempts:
            self._sent.pop(attempt.hash, None)


def _reason(answer: str | NodeRefused) -> Reason:
    if not isinstance(answer, NodeRefused):
        return None, None
    text = answer.message.lower()
    if is_known_already(text):
        return None, None
    if "insufficient funds" in text:
        return "no_funds", None
    if any(word in text for word in ("underpriced", "base fee", "fee too low")):
        return "underpriced", None
    return "node_refused", {"message": answer.message[:200]}
