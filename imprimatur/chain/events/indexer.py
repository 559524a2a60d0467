"""The indexer: reads the events of our contracts, block after block, and survives reorganisations.

Each step reads some blocks, checks that they follow the newest block of the store by parent hash, and writes
rows and blocks in one commit. A reorganisation is a *different hash at a known height*: then the blocks above
the newest common one are forgotten, in one commit too. A block that a node merely doesn't have says nothing:
nodes lag, and load balancers jump between them.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from imprimatur.chain import node
from imprimatur.chain.events import standard
from imprimatur.chain.events import verified as verified_mode
from imprimatur.chain.events.ahead import Ahead
from imprimatur.chain.events.anchor import Anchor
from imprimatur.chain.events.errors import NodeInconsistent, NodeLies, ReorgTooDeep
from imprimatur.chain.events.page import Head, Page, RangeRefused, head_of, newest_head_of
from imprimatur.chain.events.row import Block
from imprimatur.chain.events.source import Source, Sources
from imprimatur.chain.events.store import EventStore
from imprimatur.chain.events.window import LARGEST, Window
from imprimatur.chain.rpc import NodeBusy, NodeRefused, NodeUnreachable, Rpc
from imprimatur.errors import ImprimaturError

DEPTH = 1024
"""Remembered blocks: the deepest reorganisation that is survived."""
COMPARED = 32
"""Remembered blocks that are compared with the node's in one batch."""
PATIENCE = 5
"""Attempts in a row with contradictory or no answers before an error leaves `catch_up`."""
LONGEST_PAUSE = 60.0
"""Seconds between attempts of `follow` when a node doesn't answer."""

Fetched = standard.Fetched | verified_mode.Fetched

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a step did, and where the index stands after it."""

    top: Block | None
    """Newest block in the index; None before the first."""
    head: int
    """Number of the node's newest block, as it said."""
    rows: int = 0
    """Events that were written."""
    reorganised: bool = False
    """Whether blocks were forgotten because the chain had replaced them."""
    more: bool = False
    """Whether the next step has something to do at once."""
    behind: bool = False
    """Whether who answered didn't have a block that the node, or another behind a balancer, had told of."""
    anchored: int | None = None
    """All up to this block is bound to a trusted one. None: headers fit each other, no more is known."""


class Indexer:
    """Reads the events of `sources` through `rpc` into `store`.

    Args:
        sources: our contracts; the index starts at the first block of any.
        verified: rebuild header hashes and receipts' roots instead of believing `eth_getLogs`.
        anchor: a trusted block or second node; only with `verified`, since else hashes aren't computed.
        ahead: ask for the next blocks, in a thread, while the last ones are decoded and written; `rpc` must
            be safe to use from two threads, as `HttpRpc` is.
        depth: blocks that the store remembers.
        largest_window: blocks read at once at most.
    """

    def __init__(
        self,
        rpc: Rpc,
        sources: Iterable[Source],
        store: EventStore,
        *,
        verified: bool = False,
        anchor: Anchor | None = None,
        ahead: bool = False,
        depth: int = DEPTH,
        largest_window: int = LARGEST,
    ) -> None:
        if anchor is not None and not verified:
            raise ValueError("Only hashes that were computed can be anchored: use verified=True.")
        self._rpc = rpc
        self._sources = Sources(sources)
        self._store = store
        self._verified = verified
        self._anchor = anchor
        self._anchored: int | None = None
        self._depth = depth
        self._window = Window(largest_window)
        self._head: int | None = None
        self._claimed = False
        self._ahead = Ahead(self._fetch) if ahead else None

    def step(self) -> Progress:
        """Read some blocks, or roll back replaced ones, in one commit; or find that there is nothing to do.

        Raises:
            NodeUnreachable: no usable answer; the next step asks for less.
            NodeRefused: the node can't answer even for one block.
            NodeInconsistent: its answers contradict each other; nothing was written.
            NodeLies: its answers contradict headers or the anchor; nothing was written.
            ReorgTooDeep: the chain changed below the oldest remembered block.
            OtherIndex: the store holds an index of something else.
            CursorMoved: somebody else writes to the store.
        """
        if not self._claimed:
            self._store.claim(self._sources.describe(node.chain_id(self._rpc), self._verified))
            self._claimed = True
        top = self._store.top()
        first = self._sources.first if top is None else top.number + 1
        if self._head is None or self._head < first:
            self._head = None
            head = self._look(top)
            if head is None:
                return self._rolled_back()
            if head < first:
                self._anchored = self._vouched([])
                return Progress(top, head, anchored=self._anchored)
            self._head = head
        head = self._head
        page = self._read(first, head)
        if not page.heads:
            # Whoever answered doesn't have the blocks that somebody told of.
            self._head = None
            return Progress(top, head, behind=True, anchored=self._anchored)
        if top is not None and not follows(top, page.heads[0]):
            self._roll_back(top)
            return self._rolled_back()
        blocks = [head.block for head in page.heads]
        vouched = self._vouched(blocks)
        self._store.apply(page.rows, blocks, top, self._depth)
        self._anchored = vouched
        self._window.fitted(len(blocks), len(page.rows))
        more = blocks[-1].number < head
        return Progress(blocks[-1], head, len(page.rows), more=more, anchored=self._anchored)

    def catch_up(self) -> Progress:
        """Step until the index has all that the node has. `rows` of the result counts all of them.

        Raises:
            As `step`, but lost and contradictory answers only after several in a row.
        """
        rows = failures = 0
        reorganised = False
        while True:
            try:
                progress = self.step()
            except (NodeUnreachable, NodeInconsistent) as trouble:
                failures += 1
                if failures == PATIENCE:
                    raise
                if isinstance(trouble, NodeBusy):
                    time.sleep(min(LONGEST_PAUSE, trouble.retry_after or 1.0))
                continue
            if progress.behind:
                failures += 1
                if failures == PATIENCE:
                    raise NodeInconsistent(
                        progress.head, "it told of this block, but doesn't have all up to it"
                    )
                continue
            failures = 0
            rows += progress.rows
            reorganised |= progress.reorganised
            if not progress.more:
                return replace(progress, rows=rows, reorganised=reorganised)

    def follow(
        self,
        stop: threading.Event,
        poll: float = 1.0,
        tell: Callable[[Progress | ImprimaturError], None] | None = None,
    ) -> None:
        """Keep up with the chain until `stop` is set.

        Args:
            poll: seconds between looks at the head once there is nothing to read.
            tell: is given each step's result, and each trouble that is waited out.

        Raises:
            As `step`, but lost answers never, and contradictory ones only after several in a row.
        """
        pause, failures = 0.0, 0
        while not stop.wait(pause):
            try:
                progress = self.step()
            except (NodeUnreachable, NodeInconsistent) as trouble:
                failures += 1
                if isinstance(trouble, NodeInconsistent) and failures >= PATIENCE:
                    raise
                log.warning("%s", trouble)
                pause = min(LONGEST_PAUSE, poll * 2 ** min(failures, 16))
                if isinstance(trouble, NodeBusy) and trouble.retry_after is not None:
                    pause = max(poll, trouble.retry_after)
                if tell is not None:
                    tell(trouble)
                continue
            failures = 0
            pause = 0.0 if progress.more else poll
            if tell is not None:
                tell(progress)

    # --- reading -----------------------------------------------------------------------------------------

    def _read(self, first: int, head: int) -> Page:
        last, fetched = self._fetched(first, head)
        if self._ahead is not None and last < head:
            self._ahead.start(last + 1, min(head, last + self._window.size))
        if isinstance(fetched, verified_mode.Fetched):
            return verified_mode.digest(self._sources, fetched)
        return standard.digest(self._sources, fetched)

    def _fetch(self, first: int, last: int) -> Fetched:
        fetch = verified_mode.fetch if self._verified else standard.fetch
        return fetch(self._rpc, self._sources, first, last)

    def _fetched(self, first: int, head: int) -> tuple[int, Fetched]:
        """The last block that was asked for, and the answer."""
        while True:
            last = min(head, first + self._window.size - 1)
            try:
                if self._ahead is None or self._ahead.range is None or self._ahead.range[0] != first:
                    return last, self._fetch(first, last)
                last = self._ahead.range[1]
                return last, self._ahead.take()
            except RangeRefused as error:
                if not self._window.halve():
                    raise error.refused from error
            except NodeBusy:
                raise
            except NodeUnreachable:
                # Perhaps the answer was too large or took too long.
                self._window.halve()
                raise

    def _look(self, top: Block | None) -> int | None:
        """Number of the node's head; None if our top turned out to be replaced and was rolled back."""
        calls = [("eth_getBlockByNumber", ["latest", False])]
        if top is not None:
            calls.append(("eth_getBlockByNumber", [hex(top.number), False]))
        answers = self._rpc.batch(calls)
        for answer in answers:
            if isinstance(answer, NodeRefused):
                raise answer
        head = newest_head_of(answers[0])
        if top is None:
            return head.number
        known = [top]
        if head.number < top.number:
            known += [block for block in self._store.blocks() if block.number == head.number]
        seen = {head.number: head.hash}
        if answers[1] is not None:
            seen[top.number] = head_of(top.number, answers[1]).hash
        if any(seen.get(block.number, block.hash) != block.hash for block in known):
            self._roll_back(top)
            return None
        return head.number

    # --- reorganisations ---------------------------------------------------------------------------------

    def _roll_back(self, top: Block) -> None:
        """Forget the blocks above the newest one that the node has too."""
        self._head = None
        if self._ahead is not None:
            self._ahead.drop()
        remembered = self._store.blocks()
        replaced: Block | None = None
        for start in range(0, len(remembered), COMPARED):
            some = remembered[start : start + COMPARED]
            answers = self._rpc.batch([("eth_getBlockByNumber", [hex(b.number), False]) for b in some])
            for block, answer in zip(some, answers, strict=True):
                if isinstance(answer, NodeRefused):
                    raise answer
                if answer is None:
                    continue
                if head_of(block.number, answer).hash != block.hash:
                    replaced = block
                elif replaced is not None:
                    self._forget(block, top)
                    return
                else:
                    # The newest block that it has is ours: it changed its mind, or another node answers.
                    raise NodeInconsistent(block.number + 1, "it names different blocks one after the other")
        oldest = remembered[-1]
        if replaced != oldest:
            raise NodeInconsistent(oldest.number, "it doesn't have the block though it has later ones")
        if oldest.number > self._sources.first:
            raise ReorgTooDeep(oldest.number)
        self._forget(None, top)

    def _forget(self, to: Block | None, top: Block) -> None:
        if self._anchored is not None and (to is None or to.number < self._anchored):
            raise NodeLies(self._anchored, "it replaces a block that the anchor vouched for")
        log.info(
            "The chain was reorganised: blocks above %s are read again.", to.number if to else "the start"
        )
        self._store.rollback(to, top)

    def _rolled_back(self) -> Progress:
        top = self._store.top()
        head = 0 if top is None else top.number
        return Progress(top, head, reorganised=True, more=True, anchored=self._anchored)

    # --- anchoring ---------------------------------------------------------------------------------------

    def _vouched(self, blocks: list[Block]) -> int | None:
        """Up to where the anchor vouches: its block is compared with these new or the remembered ones."""
        trusted = None if self._anchor is None else self._anchor.block()
        if trusted is None or (self._anchored is not None and trusted.number <= self._anchored):
            return self._anchored
        among = blocks if blocks and blocks[0].number <= trusted.number else self._store.blocks()
        ours = next((block for block in among if block.number == trusted.number), None)
        if ours is None:
            return self._anchored
        if ours.hash != trusted.hash:
            raise NodeLies(trusted.number, f"it has the hash {ours.hash}, the anchor says {trusted.hash}")
        return trusted.number


def follows(top: Block, head: Head) -> bool:
    """Whether a block is the next after our newest."""
    return head.parent == top.hash
