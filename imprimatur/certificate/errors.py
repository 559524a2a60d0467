"""Why a certificate is refused, or can't be made."""

from collections.abc import Iterator
from contextlib import contextmanager

from imprimatur.chain.headers import HeaderInvalid
from imprimatur.chain.interface import MalformedData
from imprimatur.chain.receipts import ReceiptInvalid
from imprimatur.errors import ImprimaturError

_OF_ANOTHER_SHAPE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class CertificateInvalid(ImprimaturError):
    """The file isn't a certificate, contradicts itself, or was changed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This certificate isn't valid: {reason}")
        self.reason = reason


class ForeignContract(CertificateInvalid):
    """The certificate is about a contract that the address book doesn't name."""

    def __init__(self, chain_id: int, contract: str) -> None:
        super().__init__(
            f"the address book doesn't name the contract {contract} on chain {chain_id}. A copy of our "
            "contract can log whatever its maker likes."
        )
        self.chain_id = chain_id
        self.contract = contract


class BlockNotTrusted(CertificateInvalid):
    """A block of the certificate isn't one of those that the reader trusts."""

    def __init__(self, number: int, hash: bytes) -> None:
        super().__init__(
            f"its block {number} has the hash 0x{hash.hex()}, which isn't among those that you trust. "
            "Either the certificate is forged, or the block was replaced, or you trust another block's hash."
        )
        self.number = number
        self.hash = hash


class OtherChain(CertificateInvalid):
    """The trusted hashes are those of another chain."""

    def __init__(self, claimed: int, trusted: int) -> None:
        super().__init__(f"it is about chain {claimed}, and the trusted hashes are of chain {trusted}.")
        self.claimed = claimed
        self.trusted = trusted


class PrintNotFound(ImprimaturError):
    """The contract has no such copy."""


class NodeInconsistent(ImprimaturError):
    """What the node answered doesn't fit together, or isn't an answer to the question."""


@contextmanager
def understanding(question: str) -> Iterator[None]:
    """While a node's answer to `question` is taken apart: whatever is missing or of another kind in it is the
    node's mistake.

    Raises:
        NodeInconsistent: instead of what Python or a parser says.
    """
    try:
        yield
    except (*_OF_ANOTHER_SHAPE, HeaderInvalid, MalformedData, ReceiptInvalid) as error:
        raise NodeInconsistent(
            f"The node's answer about {question} can't be understood ({type(error).__name__}: {error}). Ask "
            "again, or another node."
        ) from error
