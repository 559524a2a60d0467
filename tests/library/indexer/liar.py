"""Nodes that lie about one event."""

import copy
from collections.abc import Callable
from typing import Any

from imprimatur.chain import trie
from imprimatur.chain.headers import header_of
from imprimatur.chain.receipts import encode_receipt
from indexer.recorded import RecordedNode, Recording

Log = dict[str, Any]
Lie = Callable[[list[Log], int], None]


def hide(logs: list[Log], index: int) -> None:
    del logs[index]


def double(logs: list[Log], index: int) -> None:
    logs.insert(index, logs[index])


def invent(logs: list[Log], index: int) -> None:
    topics = logs[index]["topics"]
    logs.append(logs[index] | {"topics": [*topics[:1], "0x" + "17" * 32, *topics[2:]]})


def swap(logs: list[Log], index: int) -> None:
    logs[index], logs[index - 1] = logs[index - 1], logs[index]


def forge_data(logs: list[Log], index: int) -> None:
    data = logs[index]["data"]
    last = "1" if data[-1] == "0" else "0"
    logs[index] = logs[index] | ({"data": data[:-1] + last} if len(data) > 2 else {"data": "0x" + "00" * 32})


def forge_topic(logs: list[Log], index: int) -> None:
    topics = logs[index]["topics"]
    logs[index] = logs[index] | {
        "topics": [*topics[:-1], topics[-1][:-1] + ("1" if topics[-1][-1] == "0" else "0")]
    }


def move_to_stranger(logs: list[Log], index: int) -> None:
    logs[index] = logs[index] | {"address": "0x" + "99" * 20}


def space_out(logs: list[Log], index: int) -> None:
    """The same bytes to a lenient reader, another address to a comparison of texts."""
    address = logs[index]["address"]
    logs[index] = logs[index] | {"address": address[:6] + " " + address[6:]}


def glue_topics(logs: list[Log], index: int) -> None:
    """Two topics in one text, with the byte between them that the encoding has there."""
    first, *others = logs[index]["topics"]
    logs[index] = logs[index] | {"topics": [first + "".join("a0" + topic[2:] for topic in others)]}


LIES: tuple[Lie, ...] = (
    hide,
    double,
    invent,
    swap,
    forge_data,
    forge_topic,
    move_to_stranger,
    space_out,
    glue_topics,
)


class LyingNode(RecordedNode):
    """Applies a lie to one log of one block wherever it tells of it."""

    def __init__(self, recording: Recording, tip: str, lie: Lie, block: str, log: int) -> None:
        super().__init__(recording, tip)
        self.lie = lie
        self.block = block
        self.log = log

    def eth_getBlockReceipts(self, hash: str) -> Any:
        return (
            false_receipts(self.recording, hash, self.lie, self.log)
            if hash == self.block
            else (super().eth_getBlockReceipts(hash))
        )


def false_receipts(recording: Recording, block: str, lie: Lie, log: int) -> list[dict[str, Any]]:
    """A block's receipts, with a lie about its n-th log."""
    receipts = copy.deepcopy(recording.receipts[block])
    for receipt in receipts:
        if log < len(receipt["logs"]):
            lie(receipt["logs"], log)
            break
        log -= len(receipt["logs"])
    return receipts


def rewritten(
    recording: Recording, tip: str, block: str, receipts: list[dict[str, Any]]
) -> tuple[Recording, str]:
    """A chain that is consistent in itself, with other receipts in one block; and its last hash."""
    other = Recording(recording.sources, dict(recording.blocks), dict(recording.receipts))
    parent = None
    path = recording.path(tip)
    for hash in path[path.index(block) :]:
        header = dict(recording.blocks[hash])
        if parent is None:
            header["receiptsRoot"] = "0x" + trie.root([encode_receipt(r) for r in receipts]).hex()
        else:
            header["parentHash"] = parent
            receipts = recording.receipts[hash]
        header["hash"] = parent = "0x" + header_of(header).hash.hex()
        other.blocks[parent] = header
        other.receipts[parent] = receipts
    assert parent is not None
    other.leaves = [parent]
    return other, parent
