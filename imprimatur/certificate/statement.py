"""What a certificate says once it is verified."""

from dataclasses import dataclass

from imprimatur.certificate.license_state import LicenseState, Outcome
from imprimatur.certificate.print_events import Print
from imprimatur.serials.tag import Tag


@dataclass(frozen=True, slots=True)
class Block:
    """A block that a certificate relies on. `time` is Unix seconds."""

    number: int
    hash: bytes
    time: int


@dataclass(frozen=True, slots=True)
class ProvenState:
    """The license as of a block, and what that says about the certificate's copy."""

    block: Block
    license: LicenseState
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Verified:
    """What a certificate proves: all of it when `anchored`, else only if its blocks belong to the chain.

    `contract` has 20 bytes; `tag` is the part's, without its key, when the certificate opens the commitment.
    """

    chain_id: int
    contract: bytes
    print: Print
    block: Block
    state: ProvenState | None
    tag: Tag | None
    anchored: bool

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks whose hashes have to be trusted."""
        if self.state is None or self.state.block == self.block:
            return (self.block,)
        return (self.block, self.state.block)
