"""What an outbox tells its operator."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from imprimatur.chain.outbox.records import State


class AlarmKind(StrEnum):
    """What somebody has to look at."""

    STUCK = "stuck"
    """The oldest transaction isn't mined for too long."""
    LOW_BALANCE = "low_balance"
    """The sender can soon, or already, not pay the gas."""
    FOREIGN_NONCE = "foreign_nonce"
    """Something else sends with this key."""
    LOST_BY_CHAIN = "lost_by_chain"
    """The chain lost transactions that were final; they are sent again."""
    SIGNER = "signer"
    """The key can't be used now: a token is unplugged, a remote signer doesn't answer."""
    FEE_CAP = "fee_cap"
    """The chain asks for more than the rules allow to pay."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A reason to look, with its values."""

    kind: AlarmKind
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Metrics:
    """Counts since the outbox was opened, and how many intents stand in each state."""

    signed: int = 0
    sent: int = 0
    resent: int = 0
    replaced: int = 0
    reorganised: int = 0
    requeued: int = 0
    settled: int = 0
    balance: int | None = None
    """Of the sender, in wei; None before the first look."""
    states: dict[State, int] = field(default_factory=dict)
