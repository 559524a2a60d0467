"""What ties the headers that one node tells to something that it can't invent.

Headers that follow each other prove nothing about the chain that the world uses: a node can make up all of
them. One block that is known to be right vouches for all before it.
"""

from dataclasses import dataclass
from typing import Protocol

from imprimatur.chain.events.page import newest_head_of
from imprimatur.chain.events.row import Block
from imprimatur.chain.rpc import Rpc


class Anchor(Protocol):
    """Knows a block that is right."""

    def block(self) -> Block | None:
        """The newest such block; None when there is none yet."""


@dataclass(frozen=True, slots=True)
class TrustedBlock:
    """A block whose hash somebody trustworthy told: a court, a validator, one's own full node."""

    number: int
    hash: str

    def block(self) -> Block:
        return Block(self.number, self.hash.lower())


@dataclass(frozen=True, slots=True)
class TrustedNode:
    """A second node, asked for its newest block with this tag (Ethereum JSON-RPC's `finalized` or `safe`)."""

    rpc: Rpc
    tag: str = "finalized"

    def block(self) -> Block | None:
        answer = self.rpc.call("eth_getBlockByNumber", [self.tag, False])
        return None if answer is None else newest_head_of(answer).block
