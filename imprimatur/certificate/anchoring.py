"""Where trusted block hashes come from: a node that the reader believes."""

from collections.abc import Iterable

from imprimatur.certificate.errors import NodeInconsistent, understanding
from imprimatur.certificate.statement import Block
from imprimatur.certificate.verifying import Anchor
from imprimatur.chain.node import chain_id
from imprimatur.chain.rpc import Rpc

FINALIZED = "finalized"


def anchor_from(rpc: Rpc, blocks: Iterable[Block], newest: str = FINALIZED) -> Anchor:
    """The hashes that the reader's own node has at the heights of these blocks.

    Args:
        blocks: those of a certificate that is consistent (`Verified.blocks`).
        newest: name of the newest block that counts: `finalized`, or `latest` on chains whose blocks are
            final at once. Heights above it get no hash.

    Raises:
        NodeInconsistent: the node doesn't know its newest block by that name, or answers with no block.
    """
    top = rpc.call("eth_getBlockByNumber", [newest, False])
    if top is None:
        raise NodeInconsistent(f"The node has no {newest} block. Ask another node, or accept `latest`.")
    hashes = set()
    with understanding("its blocks"):
        for block in blocks:
            if block.number <= int(top["number"], 16):
                found = rpc.call("eth_getBlockByNumber", [hex(block.number), False])
                if found is not None:
                    hashes.add(bytes.fromhex(found["hash"].removeprefix("0x")))
    return Anchor(chain_id(rpc), frozenset(hashes))
