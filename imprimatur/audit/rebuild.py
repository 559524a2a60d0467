"""Reading all events from a node and replaying them."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from imprimatur.audit.noting import NotingStore
from imprimatur.audit.pinned import PinnedRpc
from imprimatur.audit.replay import Replay
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.events import (
    Block,
    Indexer,
    NodeInconsistent,
    NodeLies,
    Progress,
    Source,
    TrustedBlock,
)
from imprimatur.chain.headers import HeaderInvalid, header_of
from imprimatur.chain.node import chain_id
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeUnreachable, Rpc
from imprimatur.errors import ImprimaturError

PATIENCE = 5
"""Attempts in a row without a new block before a node's error ends the audit."""

Tell = Callable[[int], None]
"""Is told the number of the newest block that was read."""


class BlockUnknown(ImprimaturError):
    """The node doesn't have a block that the audit is about."""


class NothingToAudit(ImprimaturError):
    """The contracts are younger than the block."""


@dataclass(frozen=True, slots=True)
class Head:
    """The block as of which everything is told. `time` is Unix seconds."""

    number: int
    hash: str
    time: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """All that the events up to `head` say."""

    chain_id: int
    head: Head
    verified: bool
    """Events come from receipts that lead to the headers, not from the node's word."""
    anchored: bool
    """`head` is bound to a block that the reader trusts."""
    replay: Replay


def newest_block(rpc: Rpc, name: str) -> int:
    """Number of the block that the node calls `finalized`, `safe` or `latest`.

    Raises:
        BlockUnknown: it has none.
    """
    found = rpc.call("eth_getBlockByNumber", [name, False])
    if found is None:
        raise BlockUnknown(f"The node has no {name} block. Use another node, or audit up to its latest one.")
    return int(found["number"], 16)


def trusted_block(rpc: Rpc, hash: str) -> Block:
    """The block with a hash (0x, lower case) that the reader trusts.

    Raises:
        BlockUnknown: the node doesn't have it.
    """
    found = rpc.call("eth_getBlockByHash", [hash, False])
    if found is None:
        raise BlockUnknown(
            f"The node doesn't have the block {hash} that you trust: it lags, or is on another chain."
        )
    # The number is the node's word until the block with this number turns out to have this hash.
    return Block(int(found["number"], 16), hash)


def block_of_trusted(rpc: Rpc, name: str) -> Block:
    """The block that a second node, which the reader trusts, calls `finalized`, `safe` or `latest`.

    Raises:
        BlockUnknown: it has no such block.
    """
    block = rpc.call("eth_getBlockByNumber", [name, False])
    if block is None:
        raise BlockUnknown(f"The trusted node has no {name} block. Name a block by --trusted-head.")
    return Block(int(block["number"], 16), block["hash"].lower())


def rebuild(
    licenses: PrintLicense,
    devices: DeviceRegistry,
    until: int,
    *,
    verified: bool = True,
    trusted: Block | None = None,
    ahead: bool = False,
    tell: Tell = lambda _number: None,
) -> Rebuilt:
    """Read and replay the events of both contracts up to block `until`.

    Args:
        licenses, devices: the contracts, the node to ask, and since when they exist.
        verified: rebuild header hashes and receipts' roots instead of believing the node.
        trusted: a block at or after `until`; all headers up to it are read and bound to it. Only with
            `verified`.
        ahead: ask for blocks while others are worked on; the contracts' `rpc` must serve two threads at once.

    Raises:
        NodeLies: the answers contradict the headers, or the headers `trusted`. Names the block.
        NodeUnreachable, NodeRefused, NodeInconsistent: no usable answer.
        BlockUnknown: the node doesn't have `until`.
        NothingToAudit: it is before the contracts.
    """
    first = min(licenses.since, devices.since)
    if trusted is not None and trusted.number < until:
        raise ValueError("A trusted block binds only what is below it.")
    if until < first:
        raise NothingToAudit(
            f"The contracts exist since block {first}, and the audit would end at block {until}. Blocks of a "
            "young chain may not be final yet: choose a later end."
        )
    if licenses.rpc.call("eth_getBlockByNumber", [hex(until), False]) is None:
        raise BlockUnknown(f"The node doesn't have the block {until}. Wait for it, or ask another node.")
    last = until if trusted is None else trusted.number
    pinned = PinnedRpc(licenses.rpc, last)
    anchor = None if trusted is None else TrustedBlock(*trusted)
    sources = [Source(c.NAME, c.address, c.since) for c in (licenses, devices)]
    with closing(sqlite3.connect("")) as connection:
        store = NotingStore(connection, until)
        indexer = Indexer(pinned, sources, store, verified=verified, anchor=anchor, ahead=ahead)
        progress = _read_up_to(last, indexer, tell)
        # Nothing is replayed before: until then, the node may have told of blocks that `trusted` doesn't
        # follow, and of others afterwards.
        if trusted is not None and progress.anchored != trusted.number:
            raise NodeLies(trusted.number, f"it has no block {trusted.hash}")
        if store.noted is None:
            raise NodeInconsistent(until, "it has later blocks only")
        top = store.noted
        replay = Replay()
        for row in store.events():
            if row.block_number > until:
                break
            replay.apply(row)
        replay.finish()
    head = Head(top.number, top.hash, _time_of(pinned, top, verified))
    return Rebuilt(chain_id(pinned), head, verified, trusted is not None, replay)


def _read_up_to(number: int, indexer: Indexer, tell: Tell) -> Progress:
    failures = 0
    while True:
        try:
            progress = indexer.step()
        except (NodeUnreachable, NodeInconsistent):
            failures += 1
            if failures == PATIENCE:
                raise
            continue
        top = progress.top
        if top is not None:
            tell(top.number)
            if top.number >= number:
                return progress
        # A node behind a balancer may not have the block that another one told of.
        failures = 0 if progress.rows or progress.more else failures + 1
        if failures == PATIENCE:
            raise BlockUnknown(f"The node doesn't have the block {number} yet. Try again.")


def _time_of(rpc: Rpc, block: Block, verified: bool) -> int:
    found: dict[str, Any] | None = rpc.call("eth_getBlockByHash", [block.hash, False])
    if found is None:
        raise BlockUnknown(f"The chain was reorganised at block {block.number} just now. Try again.")
    if not verified:
        return int(found["timestamp"], 16)
    try:
        header = header_of(found)
    except HeaderInvalid as error:
        raise NodeLies(block.number, str(error)) from error
    if "0x" + header.hash.hex() != block.hash:
        raise NodeLies(block.number, "its header's fields don't have the hash that it names")
    return header.timestamp
