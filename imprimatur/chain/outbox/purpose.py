"""What an outbox's intents are for: how they become calls, and what their outcome means."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from imprimatur.chain.interface import ContractReverted, DecodedEvent
from imprimatur.chain.outbox.records import Call, Intent, State
from imprimatur.chain.outbox.store import Store
from imprimatur.chain.rpc import NodeRefused

REVERTED = 3
"""JSON-RPC code with which nodes say that a call reverts."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an intent: DONE, FAILED, or QUEUED once more; with a reason's code and values."""

    state: State
    reason: str | None = None
    facts: dict[str, Any] | None = None
    event: DecodedEvent | None = None
    """What shows it, when that stands in another transaction than the intent's own."""

    def apply(self, intent: Intent) -> Intent:
        """The intent as it stands after this verdict, unless it is queued once more."""
        judged = replace(intent, state=self.state, reason=self.reason, facts=self.facts)
        if self.event is None:
            return judged
        return replace(
            judged,
            transaction_hash=self.event.transaction_hash,
            block_number=self.event.block_number,
            block_hash=self.event.block_hash,
        )


class Purpose(Protocol):
    """Asked by the worker outside of database transactions, except for `settled`."""

    def call(self, intent: Intent) -> Call:
        """What to send for an intent, each time that it is signed with a new nonce."""

    def judge(self, intent: Intent, receipt: dict[str, Any]) -> Verdict:
        """A transaction of this intent is final, reverted or not. Did it do what was wanted?"""

    def refused(self, intent: Intent, error: ContractReverted | NodeRefused, alone: bool) -> Verdict | None:
        """The transaction would revert now; None leaves it queued. `alone`: nothing of ours is under way."""

    def settled(self, store: Store, intent: Intent) -> None:
        """An intent is DONE, FAILED or CANCELLED; what is written here is committed together with that.

        Told again when a chain lost the transaction after it was final and it was settled once more.
        """


class PlainCalls:
    """Calls that stand in the store; what reverts has failed."""

    def call(self, intent: Intent) -> Call:
        if intent.call is None:
            raise ValueError(f"The intent {intent.key} was queued without a call.")
        return intent.call

    def judge(self, intent: Intent, receipt: dict[str, Any]) -> Verdict:
        del intent
        return Verdict(State.DONE) if int(receipt["status"], 16) else Verdict(State.FAILED, "reverted")

    def refused(self, intent: Intent, error: ContractReverted | NodeRefused, alone: bool) -> Verdict | None:
        del intent
        if not alone:
            return None  # What is under way may change the outcome.
        if isinstance(error, ContractReverted):
            return Verdict(State.FAILED, "refused", {"error": error.name, "message": str(error)[:200]})
        if error.code == REVERTED or "revert" in error.message.lower():
            return Verdict(State.FAILED, "refused", {"error": error.message[:200]})
        return None  # The node has reasons of its own, such as too many questions.

    def settled(self, store: Store, intent: Intent) -> None:
        del store, intent
