"""What a certificate consists of: the parts that can't be calculated from the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from imprimatur.certificate.print_events import Print
from imprimatur.chain.headers import Header
from imprimatur.serials.tag import Tag


@dataclass(frozen=True, slots=True)
class ReceiptProof:
    """The way from a header's receiptsRoot to a receipt, and the place of `LicenseUsed` among its logs."""

    transaction: int
    log: int
    nodes: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class StateProof:
    """The way from a header's stateRoot to a license's word.

    `account` leads from the stateRoot to the contract's account, `storage` from there to the word.
    """

    header: Header
    account: Sequence[bytes]
    storage: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Opening:
    """What the file has of a part's tag: with license and copy, which are proven, it opens the commitment."""

    serial: str
    address: str

    def tag_of(self, print: Print) -> Tag:
        """The tag of this print. Raises TagInvalid."""
        return Tag(print.id, print.copy, self.serial, self.address)


@dataclass(frozen=True, slots=True)
class Parts:
    """A certificate before anything is checked. `contract` is an account of 20 bytes."""

    chain_id: int
    contract: bytes
    header: Header
    proof: ReceiptProof
    state: StateProof | None
    opening: Opening | None
