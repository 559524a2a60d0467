"""Logs of a long range of blocks, also from nodes that give only so many blocks or events at once.

Everything is asked for at once. A node that refuses this because of the range or the number of events is
asked again in windows, the newest first, all of them up to one block that is chosen before: so the answer is
what the node had up to that block. A reorganisation in between shows in the block's hash; then all is read
again.
"""

import math
import re
import time
from collections.abc import Callable
from typing import Any

from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, Rpc, quantity

LARGEST = 10_000
"""Blocks of a window: what most nodes that have a limit allow."""
AT_ONCE = 32
"""Windows in one request at most; the first requests have fewer."""
MOST = 4096
"""Windows of one reading at most: 40,960,000 blocks if they are of the largest size."""
AWAITED = 12.0
"""Seconds for a reading while a device waits for what comes of it: it gives up after 20, and asks anew."""
ATTEMPTS = 3
"""Readings that are begun when the chain is reorganised meanwhile."""
LIMIT_EXCEEDED = -32005
"""Code of a request that exceeds a defined limit (EIP-1474). Not all nodes that refuse a range use it."""
_READ = 1000
"""Characters of a refusal that are looked at."""

# No two nodes say it in the same words: a refusal is about the range when it names what there is too much of
# and that this is too much, and isn't about the number of requests.
_WHAT = re.compile(r"\b(?:ranges?|blocks|logs?|events|results|response|query)\b|request timed out")
_TOO_MUCH = re.compile(
    r"limit|max|exceed|larg|\bwide\b|\bbig|\bhigh\b|more than|too many|\bover\b|up to|timed out"
)
_TOO_OFTEN = re.compile(
    r"\brates?\b|throttl|per (?:second|minute|hour|day)|daily|monthly|quota|credit|capacity|compute units|"
    r"too many requests|request count"
)

Log = dict[str, Any]
"""A log as nodes write it."""
Enough = Callable[[list[Log]], bool]
"""Whether nothing that was asked for is older than these logs."""


class LogsOutOfReach(NodeRefused):
    """The node gives so little at once that a reading would take too many questions."""

    def __init__(self, refused: NodeRefused, first: int) -> None:
        super().__init__(
            refused.code,
            f"it gives so few events at once that those since block {first} take more than {MOST} questions; "
            f"use a node with a larger limit. It said: {refused.message}",
            refused.data,
        )


def is_about_the_range(refused: NodeRefused) -> bool:
    """Whether a node refuses `eth_getLogs` because there are too many blocks, events or bytes in it."""
    text = f"{refused.message[:_READ]} {str(refused.data)[:_READ]}".lower()
    if _TOO_OFTEN.search(text):
        return False
    return refused.code == LIMIT_EXCEEDED or bool(_WHAT.search(text) and _TOO_MUCH.search(text))


def read_logs(rpc: Rpc, query: Log) -> list[Log]:
    """The logs that match `query` (of `eth_getLogs`, from a number to "latest"), in chain order.

    Raises:
        NodeUnreachable: no usable answer, or the chain is reorganised again and again meanwhile.
        NodeRefused: the node refuses a single block's logs, or something else than the range.
        LogsOutOfReach: it takes too many questions.
    """
    try:
        found: list[Log] = rpc.call("eth_getLogs", [query])
    except NodeRefused as refused:
        if not is_about_the_range(refused):
            raise
        newest = rpc.call("eth_getBlockByNumber", ["latest", False])
        last = quantity(newest.get("number") if isinstance(newest, dict) else None)
        return read_in_windows(rpc, query, last, refused)
    return found


def read_in_windows(
    rpc: Rpc,
    query: Log,
    last: int,
    refused: NodeRefused,
    enough: Enough | None = None,
    until: float = math.inf,
) -> list[Log]:
    """The logs that match `query` up to block `last`, in chain order, after a node refused all at once.

    Args:
        refused: how it did.
        enough: ends the reading; it isn't asked for what is older then.
        until: moment of `time.monotonic` after which nothing more is asked: somebody waits.

    Raises:
        NodeUnreachable: as `read_logs`, or it takes longer.
        NodeRefused, LogsOutOfReach: as `read_logs`.
    """
    for _ in range(ATTEMPTS):
        hash = _hash(rpc.call(*_header(last)))
        windows = _windows(rpc, query, last, hash, refused, enough, until)
        if windows is not None:
            return [log for window in reversed(windows) for log in window]
    raise NodeUnreachable("The chain was reorganised each time its events were read. Ask again later.")


def _windows(
    rpc: Rpc, query: Log, last: int, hash: str, refused: NodeRefused, enough: Enough | None, until: float
) -> list[list[Log]] | None:
    """The logs of each window, the newest first; None when the block `last` hasn't this hash any more."""
    first = quantity(query["fromBlock"])
    windows: list[list[Log]] = []
    top, asked, count = last, 0, 1
    size = min(LARGEST, (last - first + 1) // 2)
    while top >= first:
        if size == 0:
            raise refused
        if time.monotonic() > until:
            raise NodeUnreachable(
                "The chain node gives so few events at once that reading them takes too long; use a node "
                "with a larger limit."
            )
        missing = -(-(top - first + 1) // size)
        # The limit is known by now if there is a window; how far the reading goes, only without `enough`.
        if asked + (missing if windows and enough is None else 1) > MOST:
            raise LogsOutOfReach(refused, first)
        count = min(count, missing, MOST - asked)
        spans = [(max(first, high - size + 1), high) for high in range(top, top - count * size, -size)]
        *answers, header = rpc.batch([*(_part(query, *span) for span in spans), _header(last)])
        asked, count = asked + count, min(2 * count, AT_ONCE)
        for (low, high), answer in zip(spans, answers, strict=True):
            if isinstance(answer, NodeRefused):
                if not is_about_the_range(answer):
                    raise answer
                refused, size, count = answer, (high - low + 1) // 2, 1
                break
            windows.append(_checked(answer, low, high))
            top = low - 1
        else:
            # After each request: what comes from another branch isn't kept longer than needed.
            if _hash(header) != hash:
                return None
            if enough is not None and enough([log for window in windows for log in window]):
                break
    return windows


def _part(query: Log, low: int, high: int) -> tuple[str, list[Any]]:
    return "eth_getLogs", [query | {"fromBlock": hex(low), "toBlock": hex(high)}]


def _header(number: int) -> tuple[str, list[Any]]:
    return "eth_getBlockByNumber", [hex(number), False]


def _hash(header: Any) -> str:
    if isinstance(header, NodeRefused):
        raise header
    hash = header.get("hash") if isinstance(header, dict) else None
    if not isinstance(hash, str):
        raise NodeUnreachable("The chain node doesn't have the block that it called its newest. Ask again.")
    return hash


def _checked(answer: Any, low: int, high: int) -> list[Log]:
    """The logs of a window. One from outside would come twice."""
    if not isinstance(answer, list):
        raise NodeUnreachable("The chain node's answer isn't a list of events.")
    for log in answer:
        if not low <= quantity(log.get("blockNumber") if isinstance(log, dict) else None) <= high:
            raise NodeUnreachable("The chain node answered with an event that wasn't asked for.")
    return answer
