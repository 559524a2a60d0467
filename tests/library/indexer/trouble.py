"""What goes wrong: processes that die anywhere, nodes that lag, jump, refuse and lose answers."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from imprimatur.chain.events import (
    EventStore,
    Indexer,
    NodeInconsistent,
    Row,
    Source,
    SqliteEventStore,
)
from imprimatur.chain.rpc import NodeBusy, NodeRefused, NodeUnreachable, Rpc
from indexer.recorded import RecordedNode, Recording

StoreClass = Callable[[sqlite3.Connection], SqliteEventStore]


class Killed(BaseException):
    """The process ended here. Nobody catches it but the world."""


class Fate:
    """Kills at the n-th boundary, and lets nothing happen afterwards."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.kill_at = kill_at
        self.passed = 0

    def boundary(self) -> None:
        self.passed += 1
        if self.kill_at is not None and self.passed >= self.kill_at:
            raise Killed


class MortalConnection(sqlite3.Connection):
    """Can die before and after each statement, BEGIN and COMMIT among them."""

    fate = Fate()

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self.fate.boundary()
        result = super().execute(*arguments)
        self.fate.boundary()
        return result

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self.fate.boundary()
        result = super().executemany(*arguments)
        self.fate.boundary()
        return result


class MortalRpc(Rpc):
    """Can die before a question and after its answer."""

    def __init__(self, rpc: Rpc, fate: Fate) -> None:
        self._rpc = rpc
        self._fate = fate

    def call(self, method: str, params: list[Any]) -> Any:
        self._fate.boundary()
        result = self._rpc.call(method, params)
        self._fate.boundary()
        return result

    def batch(self, calls: Any) -> list[Any]:
        self._fate.boundary()
        result = self._rpc.batch(calls)
        self._fate.boundary()
        return result


class MovingNode(RecordedNode):
    """The chain of an honest node that reorganises between any two answers, seen through a bad connection.

    Some answers come from a view that lags behind, some not at all; ranges are limited. Some seeds have a
    load balancer between two nodes on different branches.
    """

    def __init__(self, recording: Recording, random: Random) -> None:
        super().__init__(recording, random.choice(recording.leaves))
        self.random = random
        self.calm = False
        self.largest_range = random.choice((1, 2, 5, 1000))
        self.most_logs = random.choice((12, 1000))
        self.has_block_receipts = random.random() < 0.7
        self.trouble = random.choice((0.02, 0.1, 0.25))
        self.torn = random.sample(recording.leaves, 2) if random.random() < 0.3 else None
        self._lag = 0

    def chain(self) -> list[str]:
        chain = super().chain()
        return chain[: max(1, len(chain) - self._lag)]

    def call(self, method: str, params: list[Any]) -> Any:
        if method == "eth_getBlockReceipts" and not self.has_block_receipts:
            raise NodeRefused(-32601, "the method does not exist")
        if self.calm:
            return super().call(method, params)
        self._move()
        if self.random.random() < self.trouble / 10:
            raise NodeRefused(-32000, "header not found")
        result = super().call(method, params)
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            blocks = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
            if blocks > self.largest_range or (blocks > 1 and len(result) > self.most_logs):
                raise NodeRefused(-32005, "query returned more than allowed")
        return result

    def batch(self, calls: Any) -> list[Any]:
        self._lose()
        result = super().batch(calls)
        self._lose()
        return result

    def _move(self) -> None:
        chance = self.random.random()
        if chance < self.trouble / 2:
            # Over to another branch's end, or to any block of any branch: forward or back.
            leaf = self.random.choice(self.recording.leaves)
            self.tip = self.random.choice((leaf, self.random.choice(self.recording.path(leaf))))
        elif self.torn is not None and chance < 0.5:
            self.tip = self.random.choice(self.torn)
        self._lag = self.random.randrange(1, 6) if self.random.random() < self.trouble else 0

    def _lose(self) -> None:
        if not self.calm and self.random.random() < self.trouble:
            raise self.random.choice((NodeUnreachable("lost"), NodeBusy(429, 0.0)))

    def settle(self) -> None:
        """From now on the node tells one branch, and all of it: mostly one that goes on where it is."""
        leaves = [leaf for leaf in self.recording.leaves if self.tip in self.recording.path(leaf)]
        if self.random.random() < 0.3:
            leaves = self.recording.leaves
        self.tip, self._lag, self.calm = self.random.choice(leaves), 0, True


class Desk:
    """A database file and the indexer's processes that die over it."""

    def __init__(self, path: Path, sources: list[Source], store: StoreClass = SqliteEventStore) -> None:
        self.path = path
        self.sources = sources
        self.store = store

    def run(
        self, rpc: Rpc, work: Callable[[Indexer], Any], kill_at: int | None = None, **options: Any
    ) -> Fate:
        """One process: it works, and perhaps dies."""
        fate = Fate()
        connection = sqlite3.connect(self.path, factory=MortalConnection)
        try:
            connection.execute("PRAGMA synchronous=OFF")
            connection.fate = fate
            fate.kill_at = kill_at
            store: EventStore = self.store(connection)
            work(Indexer(MortalRpc(rpc, fate), self.sources, store, **options))
        except Killed:
            pass
        finally:
            connection.close()
        return fate

    def rows(self) -> list[Row]:
        connection = sqlite3.connect(self.path)
        try:
            return list(SqliteEventStore(connection).events())
        finally:
            connection.close()


def persist(indexer: Indexer, steps: int) -> None:
    """So many steps, whatever an honest node's troubles are."""
    for _ in range(steps):
        try:
            indexer.step()
        except (NodeUnreachable, NodeInconsistent, NodeRefused):
            continue


def fresh(path: Path, rpc: Rpc, sources: list[Source]) -> list[Row]:
    """What an index that never saw trouble holds."""
    desk = Desk(path, sources)
    desk.run(rpc, Indexer.catch_up)
    return desk.rows()
