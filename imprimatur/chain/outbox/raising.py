"""Replacing bytes that nobody mines at their price, and bytes that shall be cancelled."""

from collections.abc import Callable
from dataclasses import dataclass

from imprimatur.chain.outbox.alarms import Alarm, AlarmKind
from imprimatur.chain.outbox.pricing import replacement
from imprimatur.chain.outbox.records import Attempt, Intent
from imprimatur.chain.outbox.rules import Rules
from imprimatur.chain.outbox.signing import Signing, cost_of
from imprimatur.chain.outbox.view import View
from imprimatur.chain.transactions import Fees

BLOCKS_PASSED_BY = 3
"""Blocks that left out the oldest transaction before it is offered for more."""
HIGHEST_TIP = 8
"""Times the suggested tip: beyond it the fee isn't why a transaction is left out."""
NOT_ACCEPTED = ("no_funds", "node_refused")
"""Why a node doesn't take bytes at all: a higher fee wouldn't help."""


@dataclass(frozen=True, slots=True)
class Raising:
    """Decides what is replaced, and signs it."""

    signing: Signing
    rules: Rules
    clock: Callable[[], float]

    def successors(self, sent: list[Intent], view: View, alarms: list[Alarm]) -> list[tuple[Intent, Attempt]]:
        """New bytes for those of the intents (in the order of their nonces) that need them."""
        found: list[tuple[Intent, Attempt]] = []
        free = view.balance - sum(cost_of(intent) for intent in sent)
        for place, intent in enumerate(sent):
            if (intent.nonce or 0) < view.count or not self._needs_more(intent, view, lowest=place == 0):
                continue
            fees = replacement(_fees(intent), view.fees, self.rules.max_fee)
            if fees is None:
                facts = {"key": intent.key, "wanted": view.fees.max_fee}
                alarms.append(Alarm(AlarmKind.FEE_CAP, facts))
                continue
            more = cost_of(intent) * (fees.max_fee - intent.newest.max_fee) // max(1, intent.newest.max_fee)
            if more > free and not intent.cancelling:
                alarms.append(Alarm(AlarmKind.LOW_BALANCE, {"balance": view.balance, "missing": more - free}))
                continue
            free -= more
            found.append((intent, self.signing.successor(intent, fees, view.head)))
        return found

    def _needs_more(self, intent: Intent, view: View, lowest: bool) -> bool:
        newest = intent.newest
        if intent.cancelling and not any(attempt.cancels for attempt in intent.attempts):
            return True
        if self.clock() - newest.signed_at < self.rules.replace_after or intent.reason in NOT_ACCEPTED:
            return False
        if intent.call is None and not newest.cancels:
            return False  # Bytes from before calls were kept.
        passed_by = lowest and view.head - newest.head >= BLOCKS_PASSED_BY
        worth_it = newest.tip < HIGHEST_TIP * view.fees.tip
        return newest.max_fee < view.base_fee + newest.tip or (passed_by and worth_it)


def _fees(intent: Intent) -> Fees:
    return Fees(intent.newest.max_fee, intent.newest.tip)
