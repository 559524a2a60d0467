"""What was read of some successive blocks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from imprimatur.chain.events.errors import NodeInconsistent
from imprimatur.chain.events.row import Block, Row
from imprimatur.chain.rpc import NodeRefused

HASH_LENGTH = 66
"""Characters of a hash with its 0x."""
METHOD_NOT_FOUND = -32601
"""JSON-RPC 2.0, section 5.1."""


class RangeRefused(Exception):
    """The node doesn't answer for so many blocks at once; `refused` is what it said. Stays in the package."""

    def __init__(self, refused: NodeRefused) -> None:
        super().__init__(str(refused))
        self.refused = refused


class Head(NamedTuple):
    """What a node says about a block, without its transactions."""

    number: int
    hash: str
    parent: str
    timestamp: int
    bloom: int

    @property
    def block(self) -> Block:
        return Block(self.number, self.hash)


class Page(NamedTuple):
    """Successive blocks, and our events in them."""

    heads: list[Head]
    rows: list[Row]


def header_calls(first: int, last: int) -> list[tuple[str, list[Any]]]:
    """JSON-RPC calls for the blocks from `first` to `last`, without transactions."""
    return [("eth_getBlockByNumber", [hex(number), False]) for number in range(first, last + 1)]


def present(answers: Sequence[Any]) -> list[dict[str, Any]]:
    """The blocks before the first that the node doesn't have: another one behind it may have told the head.

    Raises:
        RangeRefused: the node refuses one of the calls.
    """
    blocks = []
    for answer in answers:
        if isinstance(answer, NodeRefused):
            raise RangeRefused(answer)
        if answer is None:
            break
        blocks.append(answer)
    return blocks


def head_of(number: int, answer: Any) -> Head:
    """A node's answer about block `number`.

    Raises:
        NodeInconsistent: it isn't about this block, or isn't a block.
    """
    try:
        head = Head(
            int(answer["number"], 16),
            answer["hash"].lower(),
            answer["parentHash"].lower(),
            int(answer["timestamp"], 16),
            int(answer["logsBloom"], 16),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NodeInconsistent(number, f"it isn't a block ({type(error).__name__}: {error})") from error
    if head.number != number:
        raise NodeInconsistent(number, f"it is about block {head.number}")
    if len(head.hash) != HASH_LENGTH or len(head.parent) != HASH_LENGTH:
        raise NodeInconsistent(number, "a hash doesn't have 32 bytes")
    return head


def newest_head_of(answer: Any) -> Head:
    """A node's answer about the block with a tag such as `latest`.

    Raises:
        NodeInconsistent: it isn't a block.
    """
    try:
        number = int(answer["number"], 16)
    except (KeyError, TypeError, ValueError) as error:
        raise NodeInconsistent(0, f"the newest block has no number ({error})") from error
    return head_of(number, answer)


def check_chained(parent: Head, head: Head) -> None:
    """Raises NodeInconsistent if `head` doesn't follow `parent`."""
    if head.parent != parent.hash:
        raise NodeInconsistent(head.number, f"its parent isn't block {parent.number} of the same answer")
