"""What became of signed transactions, as far as the chain shows it."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from imprimatur.chain.outbox import view as chain
from imprimatur.chain.outbox.alarms import Alarm, AlarmKind
from imprimatur.chain.outbox.purpose import Purpose
from imprimatur.chain.outbox.records import Attempt, Intent, Sender, State
from imprimatur.chain.outbox.rules import Rules
from imprimatur.chain.outbox.view import Block, View
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, Rpc

log = logging.getLogger(__name__)

SEARCH_MARGIN = 64
"""Blocks before the signing of a transaction at which the search for another with its nonce begins."""


@dataclass(frozen=True, slots=True)
class Change:
    """An intent as it stood, and as it shall stand."""

    before: Intent
    after: Intent


@dataclass(frozen=True, slots=True)
class Following:
    """Looks after the intents in flight of one sender."""

    rpc: Rpc
    sender: Sender
    rules: Rules
    purpose: Purpose
    clock: Callable[[], float]
    _asked: dict[int, tuple[str, float]] = field(default_factory=dict)
    """By intent: the newest block, and the time, when its receipts were asked for last."""

    def changes(self, flight: Iterable[Intent], view: View, alarms: list[Alarm]) -> list[Change]:
        """What the chain says about intents in flight, where it is news."""
        asked = [i for i in flight if self._is_worth_asking(i, view)]
        receipts = chain.receipts(self.rpc, [a.hash for intent in asked for a in intent.attempts])
        blocks = {chain.block_of(receipt) for receipt in receipts.values()}
        final = chain.final_blocks(self.rpc, self.rules.finality, view, blocks)
        news: list[Change] = []
        missing: list[Intent] = []
        for intent in asked:
            mined = next((a for a in intent.attempts if a.hash in receipts), None)
            if mined is not None:
                after = self._mined(intent, mined, receipts[mined.hash], final)
            elif intent.state is State.MINED:
                after = reopened(intent, "reorganised")
            else:
                missing.append(intent)
                continue
            if after != intent:
                news.append(Change(intent, after))
        # One search a look: it costs a dozen questions, and only a stranger with our key makes it necessary.
        if missing and (change := self._nonce_taken(missing[0], view, alarms)):
            news.append(change)
        return news

    def _is_worth_asking(self, intent: Intent, view: View) -> bool:
        """A mined one is news only when the chain moved; but answers may have been lost, so now and then."""
        if intent.state is State.SENT:
            return (intent.nonce or 0) < view.count
        seen, at = self._asked.get(intent.id, ("", 0.0))
        worth = seen != view.head_hash or self.clock() - at >= self.rules.resend_after
        if worth:
            self._asked[intent.id] = view.head_hash, self.clock()
        return worth

    def _mined(self, intent: Intent, attempt: Attempt, receipt: dict[str, Any], final: set[Block]) -> Intent:
        """An intent whose purpose fails stays mined, and keeps nobody else waiting."""
        block = chain.block_of(receipt)
        located = replace(
            intent,
            state=State.MINED,
            transaction_hash=attempt.hash,
            block_number=block[0],
            block_hash=block[1],
            reason=None,
            facts=None,
        )
        if block not in final:
            return located
        if attempt.cancels:
            return replace(located, state=State.CANCELLED)
        try:
            verdict = self.purpose.judge(located, receipt)
        except NodeUnreachable:
            raise
        except Exception as error:
            log.exception("The outcome of %s can't be judged.", intent.key)
            reason, facts = trouble_of(error)
            return replace(located, reason=reason, facts=facts)
        if verdict.state is State.QUEUED:
            return requeued(replace(located, tries=intent.tries + 1), verdict.reason, verdict.facts)
        return verdict.apply(located)

    def _nonce_taken(self, intent: Intent, view: View, alarms: list[Alarm]) -> Change | None:
        """The nonce was used, and not by what we signed: as soon as that is final, sign with another one."""
        nonce, oldest = intent.nonce or 0, intent.attempts[0]
        since = max(0, oldest.head - SEARCH_MARGIN)
        try:
            found = chain.spender_of(self.rpc, self.sender, nonce, view, since)
        except NodeRefused as refusal:
            # Such as a node that keeps no old states: a human, or another node, has to look.
            alarms.append(Alarm(AlarmKind.FOREIGN_NONCE, {"nonce": nonce, "message": refusal.message[:200]}))
            return None
        if found is None or any(found[0] == attempt.hash for attempt in intent.attempts):
            return None
        alarms.append(Alarm(AlarmKind.FOREIGN_NONCE, {"nonce": nonce, "transaction": found[0]}))
        if not chain.final_blocks(self.rpc, self.rules.finality, view, {found[1]}):
            return None
        return Change(intent, requeued(intent, "nonce_taken", {"nonce": nonce}))


def reopened(intent: Intent, reason: str) -> Intent:
    """An intent whose bytes are in no block any more: they are sent again."""
    return replace(intent, state=State.SENT, block_number=None, block_hash=None, reason=reason, facts=None)


def requeued(intent: Intent, reason: str | None, facts: dict[str, Any] | None) -> Intent:
    """An intent whose present bytes can never do what was wanted any more.

    It is ready to be simulated and signed anew; one that nobody wants any more ends CANCELLED.
    """
    return replace(
        intent,
        state=State.CANCELLED if intent.is_void else State.QUEUED,
        call=None if intent.call is None else replace(intent.call, gas=None),
        nonce=None,
        attempts=(),
        transaction_hash=None,
        block_number=None,
        block_hash=None,
        reason=reason,
        facts=facts,
    )


def trouble_of(error: Exception) -> tuple[str, dict[str, Any]]:
    """The reason's code and values for an intent that waits because of an error."""
    if isinstance(error, NodeRefused):
        return "node_refused", {"message": error.message[:200]}
    return "unexpected", {"error": type(error).__name__}
