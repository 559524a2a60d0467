"""Binding a certificate to the blocks of the reader's node."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imprimatur.certificate import Verified
    from imprimatur.chain.rpc import Rpc


def anchored_by(
    rpc: "Rpc", data: bytes, book: Path, verified: "Verified", finality: str
) -> "Verified | None":
    """The certificate in `data`, anchored; None when the node doesn't call its newest block `finality` yet.

    Args:
        verified: what the certificate says, consistent by itself.

    Raises:
        BlockNotTrusted, OtherChain: the node has another block there, or is on another chain.
        NodeUnreachable, NodeRefused, NodeInconsistent: no usable answer.
    """
    from imprimatur.certificate import BlockNotTrusted, anchor_from, verify

    newest = rpc.call("eth_getBlockByNumber", [finality, False])
    anchor = anchor_from(rpc, verified.blocks, finality)
    try:
        return verify(data, book, anchor)
    except BlockNotTrusted as error:
        if newest is None or error.number <= int(newest["number"], 16):
            raise
        return None
