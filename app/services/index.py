"""Keeping the portal's picture at the chain's head, step by step, in the worker."""

import json
import time
from collections.abc import Callable

import structlog
from sqlalchemy.orm import Session, sessionmaker

from app.models.base import now
from app.services.contracts import Contracts
from app.services.event_store import SqlEventStore
from imprimatur.address_book import NotDeployed
from imprimatur.chain import node
from imprimatur.chain.events import (
    CursorMoved,
    Indexer,
    NodeInconsistent,
    OtherIndex,
    Progress,
    Source,
)
from imprimatur.chain.events.page import head_of
from imprimatur.chain.events.source import Sources
from imprimatur.chain.rpc import NodeBusy, NodeRefused, NodeUnreachable, Rpc
from imprimatur.errors import ImprimaturError

PASSING = (NodeUnreachable, NodeRefused, NodeInconsistent, NotDeployed, CursorMoved)
"""Troubles that end by themselves, or by what somebody does elsewhere. All others need somebody here."""
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
"""Seconds to the next attempt; doubled each time."""
PATIENCE = 5
"""Attempts in a row before an error ends a rebuilding."""
NOTED = 2.0
"""Seconds between two notes that nothing has changed."""
ADVICE = (
    "Look at the chain node and at the settings. When they are right, `flask rebuild-index` reads the chain "
    "anew; until then pages show what was read before, and say so."
)

Tell = Callable[[Progress], None]

log = structlog.get_logger()


class Index:
    """Reads the contracts' events into the portal's database. One process should; two do no harm.

    Args:
        pause: seconds between two looks at a chain that had nothing new.
        verified: believe headers instead of the node's word; changing it reads everything anew.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        contracts: Contracts,
        *,
        pause: float = 0.0,
        verified: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = SqlEventStore(sessions)
        self._contracts = contracts
        self._pause = pause
        self._verified = verified
        self._clock = clock
        self._indexer: Indexer | None = None
        self._next = float("-inf")
        self._noted = float("-inf")
        self._head: int | None = None
        self._failures = 0
        self._trouble: type[ImprimaturError] | None = None

    def step(self) -> bool:
        """Read some blocks, or find that there is nothing to read. Whether there is more to read at once.

        A node's trouble is logged, once, and waited out. What only a person can put right is an alarm in the
        log, once; the picture stays as it is, and pages say that it is old.
        """
        if self._clock() < self._next:
            return False
        try:
            progress = self._advance()
        except ImprimaturError as trouble:
            self._tell(trouble)
            return False
        if self._trouble is not None:
            log.info("index_goes_on", block=progress.top and progress.top.number)
        self._trouble, self._failures = None, 0
        self._next = self._clock() + (0.0 if progress.more else self._pause)
        return progress.more

    def rebuild(self, tell: Tell = lambda _progress: None) -> Progress:
        """Delete what was read and read it again, up to the chain's head.

        Raises:
            ImprimaturError: the chain can't be read. What was read so far is kept; the worker goes on.
        """
        self._store.wipe()
        self._indexer = None
        failures = 0
        while True:
            try:
                progress = self._advance()
            except PASSING:
                failures += 1
                if failures == PATIENCE:
                    raise
                time.sleep(FIRST_WAIT)
                continue
            failures = 0
            tell(progress)
            if not progress.more:
                return progress

    def _advance(self) -> Progress:
        """One step. After trouble, all that was believed of the chain is asked again."""
        indexer, self._indexer = self._indexer, None
        if indexer is None:
            indexer = self._opened()
        progress = indexer.step()
        top = progress.top
        if not progress.reorganised and (top is None or progress.head >= top.number):
            # Else the node lags, changes its mind, or has begun another chain: the next step finds out which.
            self._indexer = indexer
        self._note(progress)
        return progress

    def _note(self, progress: Progress) -> None:
        """Tell pages how far it is: when that changed, and now and then."""
        arrived = not progress.more and (progress.rows > 0 or progress.head != self._head)
        if arrived or self._clock() - self._noted > NOTED:
            self._store.note(head=progress.head, looked_at=now())
            self._noted, self._head = self._clock(), progress.head

    def _opened(self) -> Indexer:
        """An indexer of the contracts; what was read of others is deleted where that is safe.

        The index holds nothing that the chain doesn't: to delete it costs time only. It is deleted when the
        address book names other contracts on the same chain, and when the chain has another first block:
        a development chain was started anew. Another chain id is more likely a wrong setting: an alarm.

        Raises:
            OtherIndex: it is of a chain with another id.
        """
        licenses, devices = self._contracts.licenses(), self._contracts.devices()
        rpc = licenses.rpc
        sources = [Source(c.NAME, c.address, c.since) for c in (licenses, devices)]
        chain, genesis = node.chain_id(rpc), _genesis(rpc)
        wanted = Sources(sources).describe(chain, self._verified)
        claimed = self._store.claimed()
        if claimed is not None:
            what, of = claimed
            if json.loads(what)["chainId"] != chain:
                raise OtherIndex(what, wanted)
            restarted = of is not None and of != genesis
            if restarted or what != wanted:
                because = "chain_restarted" if restarted else "contracts_changed"
                log.warning("index_reads_anew", because=because, before=what, now=wanted)
                self._store.wipe()
        self._store.claim(wanted)
        self._store.note(genesis=genesis)
        return Indexer(rpc, sources, self._store, verified=self._verified)

    def _tell(self, trouble: ImprimaturError) -> None:
        """Log it when it is another than before, and wait longer each time."""
        passing = isinstance(trouble, PASSING)
        if type(trouble) is not self._trouble:
            facts = {"kind": type(trouble).__name__, "error": str(trouble)}
            if passing:
                log.warning("index_waits", **facts)
            else:
                log.error("index_alarm", advice=ADVICE, **facts)
        self._trouble = type(trouble)
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures, 16)) if passing else LONGEST_WAIT
        if isinstance(trouble, NodeBusy) and trouble.retry_after is not None:
            wait = max(wait, min(LONGEST_WAIT, trouble.retry_after))
        self._failures += 1
        self._next = self._clock() + wait


def _genesis(rpc: Rpc) -> str:
    """Hash of the chain's first block."""
    return head_of(0, rpc.call("eth_getBlockByNumber", ["0x0", False])).hash
