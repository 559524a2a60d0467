"""Who remembers an outbox's intents: any transactional database."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from imprimatur.chain.outbox.records import Attempt, Call, Intent, Sender, State


class Store(Protocol):
    """The tables `intent` and `attempt` inside one open database transaction of the caller.

    Nothing here commits. Intents come with the attempts of their present nonce.
    """

    def find(self, sender: Sender, key: str) -> Intent | None:
        """The intent with this key."""

    def add(self, sender: Sender, key: str, call: Call | None) -> Intent:
        """A new queued intent, or the one that has this key."""

    def queued(self, sender: Sender, most: int) -> list[Intent]:
        """Queued intents, oldest first."""

    def in_flight(self, sender: Sender) -> list[Intent]:
        """Sent and mined intents in the order of their nonces."""

    def settled_from(self, sender: Sender, nonce: int, most: int) -> list[Intent]:
        """Settled intents with this nonce or a higher one, the lowest first."""

    def next_nonce(self, sender: Sender, at_least: int) -> int:
        """The lowest nonce that is above all signed ones and not below `at_least`.

        Whoever asks may use it until the transaction ends: two transactions can't commit the same one.
        """

    def update(self, sender: Sender, after: Intent, before: Intent) -> bool:
        """Write all but key, attempts and `cancelling`.

        False, and nothing is written, when the row's state, nonce or transaction aren't those of `before`.
        """

    def add_attempt(self, sender: Sender, intent: Intent, attempt: Attempt) -> None:
        """One more signed transaction of an intent."""

    def cancel(self, sender: Sender, key: str) -> tuple[Intent, bool] | None:
        """A queued intent becomes cancelled, a sent or mined one is marked.

        The intent as it is then, and whether this call ended it; None when there is none.
        """

    def count(self, sender: Sender) -> dict[State, int]:
        """How many intents stand in each state; states without any may be missing."""


Transactions = Callable[[], AbstractContextManager[Store]]
"""Opens a transaction: committed when the block ends, rolled back when it raises."""
