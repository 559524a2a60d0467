"""An index in SQLite."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from imprimatur.chain.events.errors import CursorMoved, OtherIndex
from imprimatur.chain.events.row import Block, Row
from imprimatur.license_id import format_id

SCHEMA = """
CREATE TABLE IF NOT EXISTS @event (
    contract TEXT NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    license TEXT,
    block_number INTEGER NOT NULL,
    block_hash TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    transaction_hash TEXT NOT NULL,
    log_index INTEGER NOT NULL,
    PRIMARY KEY (block_number, log_index)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS @event_license ON @event (license) WHERE license IS NOT NULL;
CREATE TABLE IF NOT EXISTS @block (number INTEGER PRIMARY KEY, hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS @claim (what TEXT NOT NULL);
"""
"""`@` stands for the tables' prefix."""
COLUMNS = ", ".join(f'"{name}"' for name in Row._fields)
INSERT = f"INSERT INTO @event ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
SELECT = f"SELECT {COLUMNS} FROM @event WHERE TRUE ORDER BY block_number, log_index"  # noqa: S608


class SqliteEventStore:
    """Tables of their own, named with `prefix`, in the caller's database.

    The connection must have no transaction open and Python's default or no isolation level. Readers beside
    the indexer want `PRAGMA journal_mode=WAL`, which is the caller's to set.
    """

    def __init__(self, connection: sqlite3.Connection, prefix: str = "chain_") -> None:
        if not prefix.isidentifier():
            raise ValueError(f"{prefix!r} can't begin the name of a table.")
        self._connection = connection
        self._prefix = prefix
        for statement in SCHEMA.split(";"):
            self._run(statement)

    def _sql(self, statement: str) -> str:
        return statement.replace("@", self._prefix)

    def _run(self, statement: str, arguments: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._connection.execute(self._sql(statement), arguments)

    @contextmanager
    def _commit(self) -> Iterator[None]:
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            # A COMMIT that fails leaves the transaction open or not, depending on the cause.
            if self._connection.in_transaction:
                self._run("ROLLBACK")
            raise

    def claim(self, what: str) -> None:
        with self._commit():
            found = self._run("SELECT what FROM @claim").fetchone()
            if found is None:
                self._run("INSERT INTO @claim VALUES (?)", (what,))
        if found is not None and found[0] != what:
            raise OtherIndex(found[0], what)

    def top(self) -> Block | None:
        found = self._run("SELECT number, hash FROM @block ORDER BY number DESC LIMIT 1").fetchone()
        return None if found is None else Block(*found)

    def blocks(self) -> list[Block]:
        return [Block(*found) for found in self._run("SELECT number, hash FROM @block ORDER BY number DESC")]

    def apply(self, rows: Sequence[Row], blocks: Sequence[Block], after: Block | None, keep: int) -> None:
        with self._commit():
            self._expect(after)
            self._write_rows(rows)
            self._write_blocks(blocks, keep)

    def _write_rows(self, rows: Sequence[Row]) -> None:
        self._connection.executemany(self._sql(INSERT), rows)

    def _write_blocks(self, blocks: Sequence[Block], keep: int) -> None:
        self._connection.executemany(self._sql("INSERT INTO @block VALUES (?, ?)"), blocks[-keep:])
        self._run("DELETE FROM @block WHERE number <= ?", (blocks[-1].number - keep,))

    def rollback(self, to: Block | None, top: Block) -> None:
        newest = -1 if to is None else to.number
        with self._commit():
            self._expect(top)
            self._run("DELETE FROM @event WHERE block_number > ?", (newest,))
            self._run("DELETE FROM @block WHERE number > ?", (newest,))

    def _expect(self, top: Block | None) -> None:
        found = self.top()
        if found != top:
            raise CursorMoved(top, found)

    def events(
        self, *names: str, id: int | None = None, contract: str | None = None, since: int | None = None
    ) -> Iterator[Row]:
        """Rows in chain order.

        Args:
            names: of the events; all when empty.
            id: only those with this license as `id` (`TransferBatch` lists several and is not among them).
            contract: only those of this address.
            since: first block.
        """
        conditions: list[str] = ["TRUE"]
        arguments: list[str | int] = []
        if names:
            conditions.append(f"name IN ({', '.join('?' * len(names))})")
            arguments += names
        if id is not None:
            conditions.append("license = ?")
            arguments.append(format_id(id))
        if contract is not None:
            conditions.append("lower(contract) = ?")
            arguments.append(contract.lower())
        if since is not None:
            conditions.append("block_number >= ?")
            arguments.append(since)
        query = SELECT.replace("TRUE", " AND ".join(conditions))
        for found in self._run(query, arguments):
            yield Row._make(found)
