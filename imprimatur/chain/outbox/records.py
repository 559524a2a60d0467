"""What an outbox remembers: intents, and the signed transactions by which they are carried out."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imprimatur.errors import ImprimaturError

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_BYTES = re.compile(r"0x([0-9a-fA-F]{2})*")


class CallMalformed(ImprimaturError):
    """No transaction can do this."""


class KeyTaken(ImprimaturError):
    """The key names another wish already."""


class State(StrEnum):
    """Where an intent stands.

    QUEUED → SENT → MINED → DONE, FAILED or CANCELLED. A reorganisation takes MINED back to SENT; a nonce that
    something else used, or a verdict, takes an intent back to QUEUED.
    """

    QUEUED = "queued"
    """Nothing is signed."""
    SENT = "sent"
    """Signed bytes stand in the store; the network may have them."""
    MINED = "mined"
    """In a block that may still be replaced."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


IN_FLIGHT = (State.SENT, State.MINED)
SETTLED = (State.DONE, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose nonces these are: an account (checksum address) on one chain (EIP-155)."""

    chain_id: int
    address: str


@dataclass(frozen=True, slots=True)
class Call:
    """What a transaction does. `data` is 0x-hexadecimal, `value` in wei; `gas` None: the node estimates."""

    to: str
    data: str = "0x"
    value: int = 0
    gas: int | None = None

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.to):
            raise CallMalformed(f"{self.to[:60]!r} isn't an address.")
        if not _BYTES.fullmatch(self.data):
            raise CallMalformed("A call's data is 0x and an even number of hexadecimal digits.")
        if not 0 <= self.value < 1 << 256 or (self.gas is not None and not 0 < self.gas < 1 << 63):
            raise CallMalformed("A call's value or gas is out of range.")

    def does_as(self, other: "Call") -> bool:
        """Whether both do the same; gas aside."""
        here, there = (self.to.lower(), self.data.lower()), (other.to.lower(), other.data.lower())
        return (*here, self.value) == (*there, other.value)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction. It stands in the store before anybody else sees it."""

    hash: str
    raw: bytes
    nonce: int
    max_fee: int
    """Wei per gas (EIP-1559), as is `tip`."""
    tip: int
    cancels: bool
    """It only uses the nonce up, so that the intent's own bytes can't happen any more."""
    signed_at: float
    """Unix seconds."""
    head: int
    """Number of the newest block when it was signed."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One wish, carried out at most once. `key` names it: the same wish twice is one row."""

    id: int
    key: str
    state: State = State.QUEUED
    call: Call | None = None
    """None until signing when the outbox's purpose makes it."""
    nonce: int | None = None
    attempts: tuple[Attempt, ...] = ()
    """Those with the present nonce, oldest first."""
    cancelling: bool = False
    """Somebody asked to cancel it after it had been signed."""
    tries: int = 0
    """How many transactions of it are final and didn't do what was wanted."""
    transaction_hash: str | None = None
    """Of the mined attempt, else of the newest."""
    block_number: int | None = None
    block_hash: str | None = None
    reason: str | None = None
    """Why it waits, failed or was sent again: a code."""
    facts: dict[str, Any] | None = None
    """Values that belong to the reason."""

    @property
    def is_void(self) -> bool:
        """Nobody wants it carried out any more: it was cancelled, or only ever filled a nonce."""
        return self.cancelling or (bool(self.attempts) and all(a.cancels for a in self.attempts))

    @property
    def newest(self) -> Attempt:
        """The attempt with the highest fees."""
        return self.attempts[-1]
