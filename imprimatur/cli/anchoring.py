"""Binding what was proven to the blocks of the reader's node."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imprimatur.certificate import Block
    from imprimatur.chain.rpc import Rpc


def vouches(rpc: "Rpc", chain_id: int, blocks: "Sequence[Block]", finality: str) -> bool:
    """Whether the node has these blocks of this chain; False when it doesn't call one `finality` yet.

    Raises:
        BlockNotTrusted, OtherChain: the node has another block there, or is on another chain.
        NodeUnreachable, NodeRefused, NodeInconsistent: no usable answer.
    """
    from imprimatur.certificate import BlockNotTrusted, anchor_from

    newest = rpc.call("eth_getBlockByNumber", [finality, False])
    anchor = anchor_from(rpc, blocks, finality)
    try:
        anchor.require(chain_id, blocks)
    except BlockNotTrusted as error:
        if newest is None or error.number <= int(newest["number"], 16):
            raise
        return False
    return True
