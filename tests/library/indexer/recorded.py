"""A tree of real blocks with all branches, and a node that tells it."""

from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from imprimatur.chain.events import Source
from imprimatur.chain.rpc import NodeRefused, Rpc
from indexer.activity import Activity
from support.node import running_chain


@dataclass
class Recording:
    """Everything that a node says about some blocks, by their hash."""

    sources: list[Source] = field(default_factory=list)
    blocks: dict[str, dict[str, Any]] = field(default_factory=dict)
    receipts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    leaves: list[str] = field(default_factory=list)

    def path(self, tip: str) -> list[str]:
        """Hashes from block 0 to `tip`."""
        hashes = [tip]
        while int(self.blocks[hashes[-1]]["number"], 16):
            hashes.append(self.blocks[hashes[-1]]["parentHash"])
        return hashes[::-1]

    def logs(self, hash: str) -> list[dict[str, Any]]:
        return [log for receipt in self.receipts[hash] for log in receipt["logs"]]


@cache
def recording() -> Recording:
    """Five branches of 9 to 26 blocks with one root, from a real node."""
    recording = Recording()
    with running_chain() as chain:
        activity = Activity(chain, Random(4))
        recording.sources = activity.sources
        rpc = chain.rpc

        def grow(blocks: int) -> None:
            for _ in range(blocks):
                activity.block(activity.random.choice((0, 1, 1, 2, 5)))

        def branch(*lengths: Any) -> None:
            """Each length grows a branch from here; a tuple has branches of its own at its end."""
            for length in lengths:
                snapshot = rpc.call("evm_snapshot", [])
                first, *others = length if isinstance(length, tuple) else (length,)
                grow(first)
                if others:
                    branch(*others)
                else:
                    _record(recording, rpc)
                assert rpc.call("evm_revert", [snapshot])

        grow(5)
        branch((6, 12, 3), (2, 8, (4, 7)), 1)
    return recording


def _record(recording: Recording, rpc: Rpc) -> None:
    for number in range(int(rpc.call("eth_blockNumber", []), 16) + 1):
        block = rpc.call("eth_getBlockByNumber", [hex(number), False])
        recording.blocks[block["hash"]] = block
        recording.receipts[block["hash"]] = rpc.call("eth_getBlockReceipts", [block["hash"]])
    recording.leaves.append(block["hash"])


class RecordedNode(Rpc):
    """Tells the branch that ends at `tip`."""

    def __init__(self, recording: Recording, tip: str) -> None:
        self.recording = recording
        self.tip = tip

    def call(self, method: str, params: list[Any]) -> Any:
        return getattr(self, method)(*params)

    def eth_chainId(self) -> str:
        return "0x7a69"

    def chain(self) -> list[str]:
        return self.recording.path(self.tip)

    def eth_getBlockByNumber(self, number: str, full: bool) -> dict[str, Any] | None:
        chain = self.chain()
        place = len(chain) - 1 if number in ("latest", "finalized") else int(number, 16)
        return self.recording.blocks[chain[place]] if place < len(chain) else None

    def eth_getLogs(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        chain = self.chain()
        if hash := query.get("blockHash"):
            if hash not in self.recording.blocks:
                raise NodeRefused(-32000, "unknown block")
            hashes = [hash]
        else:
            hashes = chain[int(query["fromBlock"], 16) : int(query["toBlock"], 16) + 1]
        return [
            log
            for hash in hashes
            for log in self.recording.logs(hash)
            if log["address"] in query["address"] and log["topics"][0] in query["topics"][0]
        ]

    def eth_getBlockReceipts(self, hash: str) -> list[dict[str, Any]] | None:
        return self.recording.receipts.get(hash)

    def eth_getTransactionReceipt(self, hash: str) -> dict[str, Any] | None:
        found = (r for block in self.chain() for r in self.recording.receipts[block])
        return next((receipt for receipt in found if receipt["transactionHash"] == hash), None)
