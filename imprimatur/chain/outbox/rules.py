"""When a block counts as settled, and what an outbox may spend and wait for."""

from dataclasses import dataclass, field
from typing import Protocol

from imprimatur.errors import ImprimaturError

GWEI = 10**9
LONGEST_PROOF = 256
"""Headers that are asked for at most to show that a block is below a finalized one."""


class UnknownFinality(ImprimaturError):
    """A setting that names no rule."""


class Finality(Protocol):
    """When a block can't be replaced any more."""

    @property
    def tag(self) -> str | None:
        """Name of the block that the node must be asked for beside the newest one, if any."""

    def witness(self, number: int, head: int, tagged: int | None) -> int | None:
        """The block that shows that block `number` is final, if its parents lead there; None: not final yet.

        Args:
            head: number of the newest block.
            tagged: number of the block with this rule's tag.
        """


@dataclass(frozen=True, slots=True)
class Confirmations:
    """Final when `depth` blocks stand on top of it; 0 where blocks are never replaced (instant finality)."""

    depth: int
    tag: str | None = field(default=None, init=False)

    def witness(self, number: int, head: int, tagged: int | None) -> int | None:
        del tagged
        return number + self.depth if number + self.depth <= head else None


@dataclass(frozen=True, slots=True)
class Finalized:
    """Final when the node says so (`finalized`, proof of stake)."""

    tag: str | None = field(default="finalized", init=False)

    def witness(self, number: int, head: int, tagged: int | None) -> int | None:
        del head
        if tagged is None or tagged < number:
            return None
        # So long a branch below the finalized height is evidence enough, and bounded to fetch.
        return min(tagged, number + LONGEST_PROOF)


def parse_finality(text: str) -> Finality:
    """The rule behind a setting: `finalized`, or a number of confirmations.

    Raises:
        UnknownFinality: neither.
    """
    if text == "finalized":
        return Finalized()
    if text.isascii() and text.isdigit() and len(text) <= 4:
        return Confirmations(int(text))
    raise UnknownFinality(f"{text!r} is no rule: write finalized, or a number of confirmations such as 12.")


DEVELOPMENT_CHAINS = (1337, 31337, 131277322940537)
"""Chain ids of Ganache, of Hardhat and anvil, of eth-tester."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How an outbox behaves on one chain. Times are seconds, fees wei per gas."""

    chain_id: int
    finality: Finality
    max_in_flight: int = 64
    """Signed transactions under way. Nodes keep only so many of one account."""
    resend_after: float = 5.0
    """Until the same bytes are sent once more."""
    replace_after: float = 30.0
    """Until bytes whose fee is too low are replaced by bytes with a higher one."""
    stuck_after: float = 300.0
    """Until a transaction that nobody mines raises an alarm."""
    refused_after: float = 15.0
    """For how long the contract must refuse a call before that counts: a node may lag behind."""
    lost_after: float = 600.0
    """For how long a chain that goes on may lack what was final before that counts as lost. A chain that
    has another final block at the same height is believed at once; 0: every chain is."""
    max_fee: int = 500 * GWEI
    """Highest fee to sign."""
    low_balance: int = 0
    """Wei below which an alarm is raised."""
    idle_look: float = 10.0
    """Seconds between two looks at the chain when there is nothing to do."""

    @classmethod
    def for_chain(cls, chain_id: int, finality: Finality | None = None) -> "Rules":
        """Rules as a chain is usually run. By default a development chain is final at once, others as their
        node says (`finalized`).
        """
        if chain_id in DEVELOPMENT_CHAINS:
            # Its node may be restarted without its last blocks; nobody else has them.
            return cls(
                chain_id, finality or Confirmations(0), refused_after=0.0, lost_after=0.0, idle_look=1.0
            )
        return cls(chain_id, finality or Finalized())
