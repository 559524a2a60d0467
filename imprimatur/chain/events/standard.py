"""Reading by `eth_getLogs`: believes the node's logs, but notices when parts of its answer don't fit.

A node that lags behind the one that told the head (load balancers do this) gives no logs for blocks that it
doesn't have yet, and no error. Each header's bloom filter says which blocks can hold events of ours: those
without a log are asked for again by their hash, which a node without the block can't answer.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from imprimatur.chain.events.errors import NodeInconsistent
from imprimatur.chain.events.layout import Layout, LogMalformed
from imprimatur.chain.events.page import (
    METHOD_NOT_FOUND,
    Head,
    Page,
    RangeRefused,
    check_chained,
    head_of,
    header_calls,
    present,
)
from imprimatur.chain.events.row import Row
from imprimatur.chain.events.source import Sources
from imprimatur.chain.rpc import NodeRefused, Rpc

Log = dict[str, Any]


class Fetched(NamedTuple):
    """Successive blocks, and the logs that a node told for their range."""

    heads: list[Head]
    last: int
    logs: list[Log]


def fetch(rpc: Rpc, sources: Sources, first: int, last: int) -> Fetched:
    """Ask for the blocks `first` to `last`, or the part of them that the node has.

    Raises:
        RangeRefused: the range is too large for the node.
        NodeUnreachable: no usable answer.
        NodeRefused: the node can't tell logs at all.
        NodeInconsistent: parts of the answer contradict each other.
    """
    asked = {"address": sources.addresses, "topics": [list(sources.topics)]}
    range_of_logs = asked | {"fromBlock": hex(first), "toBlock": hex(last)}
    logs, *answers = rpc.batch([("eth_getLogs", [range_of_logs]), *header_calls(first, last)])
    if isinstance(logs, NodeRefused):
        if logs.code == METHOD_NOT_FOUND:
            raise logs
        raise RangeRefused(logs)
    heads = [head_of(first + i, block) for i, block in enumerate(present(answers))]
    for parent, head in pairwise(heads):
        check_chained(parent, head)
    logs = _list_of_logs(first, logs)
    logged = {log.get("blockHash") for log in logs}
    if missing := [h for h in heads if h.hash not in logged and sources.may_be_in(h.bloom)]:
        found = _logs_by_hash(rpc, asked, missing)
        if found:
            # By place, so that they stand where a complete answer would have had them.
            logs = sorted(logs + found, key=_place)
    return Fetched(heads, last, logs)


def digest(sources: Sources, fetched: Fetched) -> Page:
    """The rows in what was fetched; raises NodeInconsistent as `fetch`."""
    return Page(fetched.heads, _rows(sources, *fetched))


def _list_of_logs(block: int, answer: Any) -> list[Log]:
    if not isinstance(answer, list) or not all(isinstance(log, dict) for log in answer):
        raise NodeInconsistent(block, "it isn't a list of logs")
    return answer


def _place(log: Log) -> tuple[int, int]:
    try:
        return int(log["blockNumber"], 16), int(log["logIndex"], 16)
    except (KeyError, TypeError, ValueError) as error:
        raise NodeInconsistent(0, f"a log says no place ({type(error).__name__}: {error})") from error


def _logs_by_hash(rpc: Rpc, asked: dict[str, Any], heads: Sequence[Head]) -> list[Log]:
    answers = rpc.batch([("eth_getLogs", [asked | {"blockHash": head.hash}]) for head in heads])
    found: list[Log] = []
    for head, answer in zip(heads, answers, strict=True):
        if isinstance(answer, NodeRefused):
            raise NodeInconsistent(head.number, f"it can't tell this block's logs: {answer.message}")
        found += _list_of_logs(head.number, answer)
    return found


def _rows(sources: Sources, heads: Sequence[Head], last: int, logs: Sequence[Log]) -> list[Row]:
    rows: list[Row] = []
    if not heads:
        return rows
    start, previous = heads[0].number, (-1, -1)
    kinds: dict[tuple[str, str], tuple[str, int, Layout | None]] = {}
    for log in logs:
        place = number, index = _place(log)
        if not start <= number <= last:
            raise NodeInconsistent(number, f"a log lies outside of the blocks {start} to {last}")
        if place <= previous:
            raise NodeInconsistent(number, f"log {index} comes twice or out of order")
        previous = place
        if number - start >= len(heads):
            # The node told logs of blocks whose headers it doesn't have; both are read again later.
            break
        head = heads[number - start]
        if not belongs(head, log):
            raise NodeInconsistent(number, f"log {index} is of another block with this number")
        try:
            topics = log["topics"]
            kind = log["address"], topics[0]
            if kind not in kinds:
                kinds[kind] = _kind(sources, *kind)
            contract, first, layout = kinds[kind]
            # The filter crosses all contracts with all events.
            if layout is None or number < first:
                continue
            text, license = layout.read(topics, log["data"])
            transaction = log["transactionHash"]
        except (KeyError, IndexError, TypeError, AttributeError, LogMalformed) as error:
            raise NodeInconsistent(number, f"log {index}: {error}") from error
        _, hash, _, timestamp, _ = head
        rows.append(Row(contract, layout.name, text, license, number, hash, timestamp, transaction, index))
    return rows


def belongs(head: Head, log: Log) -> bool:
    """Whether a log is of this block, and hasn't been taken back."""
    return log.get("blockHash") == head.hash and not log.get("removed")


def _kind(sources: Sources, address: str, topic: str) -> tuple[str, int, Layout | None]:
    """Contract, its first block and the event's layout, if this contract has such an event."""
    source = sources.by_digits.get(address[2:].lower())
    if source is None or topic.lower() not in sources.topics:
        raise LogMalformed("its contract or event wasn't asked for")
    contract, first, layouts = source
    return contract, first, layouts.get(topic[2:].lower())
