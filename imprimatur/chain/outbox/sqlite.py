"""The outbox's tables in SQLite, through the standard library."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from imprimatur.chain.outbox.records import IN_FLIGHT, SETTLED, Attempt, Call, Intent, Sender, State
from imprimatur.chain.outbox.store import Store, Transactions

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another writer."""

_TABLES = """
CREATE TABLE IF NOT EXISTS intent (
    id INTEGER PRIMARY KEY,
    chain_id INTEGER NOT NULL,
    sender TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    "to" TEXT,
    data TEXT,
    value TEXT,
    gas INTEGER,
    nonce INTEGER,
    cancelling INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    transaction_hash TEXT,
    block_number INTEGER,
    block_hash TEXT,
    reason TEXT,
    facts TEXT,
    UNIQUE (chain_id, sender, key),
    UNIQUE (chain_id, sender, nonce)
) STRICT;
CREATE INDEX IF NOT EXISTS intent_state ON intent (chain_id, sender, state);
CREATE TABLE IF NOT EXISTS attempt (
    hash TEXT PRIMARY KEY,
    intent INTEGER NOT NULL REFERENCES intent (id),
    chain_id INTEGER NOT NULL,
    sender TEXT NOT NULL,
    raw BLOB NOT NULL,
    nonce INTEGER NOT NULL,
    max_fee INTEGER NOT NULL,
    tip INTEGER NOT NULL,
    cancels INTEGER NOT NULL,
    signed_at REAL NOT NULL,
    head INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS attempt_intent ON attempt (intent, nonce);
CREATE INDEX IF NOT EXISTS attempt_nonce ON attempt (chain_id, sender, nonce)
"""

_SELECT = (
    'SELECT id, key, state, "to", data, value, gas, nonce, cancelling, tries, transaction_hash, block_number,'
    " block_hash, reason, facts FROM intent WHERE chain_id = ? AND sender = ? AND "
)


def create_tables(database: sqlite3.Connection) -> None:
    """Make the tables where they are missing. Not within an open transaction."""
    for statement in _TABLES.split(";"):
        database.execute(statement)


def sqlite_transactions(path: Path) -> Transactions:
    """Transactions on the database file at `path`, which is made when it is missing.

    WAL and synchronous=FULL: what is committed survives a power cut. A transaction takes the write lock at
    its beginning, so that what it reads stays true.
    """

    def connect() -> sqlite3.Connection:
        database = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT)
        database.execute("PRAGMA synchronous = FULL")
        return database

    with closing(connect()) as database:
        database.execute("PRAGMA journal_mode = WAL")
        create_tables(database)

    @contextmanager
    def transaction() -> Iterator[Store]:
        with closing(connect()) as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteStore(database)
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    return transaction


class SqliteStore:
    """The outbox's rows through a connection whose transaction the caller opened with BEGIN IMMEDIATE.

    `database` is that connection, for what a `Purpose` writes beside a settlement.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def find(self, sender: Sender, key: str) -> Intent | None:
        return next(iter(self._select(sender, "key = ?", key)), None)

    def add(self, sender: Sender, key: str, call: Call | None) -> Intent:
        values = (sender.chain_id, sender.address, key, State.QUEUED, *_call_columns(call))
        self.database.execute(
            'INSERT INTO intent (chain_id, sender, key, state, "to", data, value, gas)'
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (chain_id, sender, key) DO NOTHING",
            values,
        )
        found = self.find(sender, key)
        if found is None:
            raise sqlite3.IntegrityError(f"The intent {key} was neither added nor found.")
        return found

    def queued(self, sender: Sender, most: int) -> list[Intent]:
        return self._select(sender, "state = ? ORDER BY id LIMIT ?", State.QUEUED, most)

    def in_flight(self, sender: Sender) -> list[Intent]:
        return self._select(sender, "state IN (?, ?) ORDER BY nonce", *IN_FLIGHT)

    def settled_from(self, sender: Sender, nonce: int, most: int) -> list[Intent]:
        condition = "state IN (?, ?, ?) AND nonce >= ? ORDER BY nonce LIMIT ?"
        return self._select(sender, condition, *SETTLED, nonce, most)

    def next_nonce(self, sender: Sender, at_least: int) -> int:
        (highest,) = self.database.execute(
            "SELECT max(nonce) FROM attempt WHERE chain_id = ? AND sender = ?",
            (sender.chain_id, sender.address),
        ).fetchone()
        return at_least if highest is None else max(at_least, highest + 1)

    def update(self, sender: Sender, after: Intent, before: Intent) -> bool:
        done = self.database.execute(
            'UPDATE intent SET state = ?, "to" = ?, data = ?, value = ?, gas = ?, nonce = ?, tries = ?,'
            " transaction_hash = ?, block_number = ?, block_hash = ?, reason = ?, facts = ?"
            " WHERE id = ? AND chain_id = ? AND sender = ?"
            " AND state = ? AND nonce IS ? AND transaction_hash IS ?",
            (
                after.state,
                *_call_columns(after.call),
                after.nonce,
                after.tries,
                after.transaction_hash,
                after.block_number,
                after.block_hash,
                after.reason,
                None if after.facts is None else json.dumps(after.facts),
                after.id,
                sender.chain_id,
                sender.address,
                before.state,
                before.nonce,
                before.transaction_hash,
            ),
        )
        return done.rowcount == 1

    def add_attempt(self, sender: Sender, intent: Intent, attempt: Attempt) -> None:
        row = (attempt.hash, intent.id, sender.chain_id, sender.address, attempt.raw, attempt.nonce)
        self.database.execute(
            "INSERT INTO attempt (hash, intent, chain_id, sender, raw, nonce,"
            " max_fee, tip, cancels, signed_at, head) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*row, attempt.max_fee, attempt.tip, attempt.cancels, attempt.signed_at, attempt.head),
        )

    def cancel(self, sender: Sender, key: str) -> tuple[Intent, bool] | None:
        row = (sender.chain_id, sender.address, key)
        ended = self.database.execute(
            "UPDATE intent SET state = ? WHERE chain_id = ? AND sender = ? AND key = ? AND state = ?",
            (State.CANCELLED, *row, State.QUEUED),
        )
        self.database.execute(
            "UPDATE intent SET cancelling = 1"
            " WHERE chain_id = ? AND sender = ? AND key = ? AND state IN (?, ?)",
            (*row, *IN_FLIGHT),
        )
        found = self.find(sender, key)
        return None if found is None else (found, ended.rowcount == 1)

    def count(self, sender: Sender) -> dict[State, int]:
        rows = self.database.execute(
            "SELECT state, count(*) FROM intent WHERE chain_id = ? AND sender = ? GROUP BY state",
            (sender.chain_id, sender.address),
        )
        return {State(state): number for state, number in rows}

    def _select(self, sender: Sender, condition: str, *values: Any) -> list[Intent]:
        rows = self.database.execute(_SELECT + condition, (sender.chain_id, sender.address, *values))
        return [self._intent(row) for row in rows.fetchall()]

    def _intent(self, row: Any) -> Intent:
        id, key, state, to, data, value, gas, nonce, cancelling, tries, *where, reason, facts = row
        transaction_hash, block_number, block_hash = where
        return Intent(
            id=id,
            key=key,
            state=State(state),
            call=None if to is None else Call(to, data, int(value), gas),
            nonce=nonce,
            attempts=() if nonce is None else self._attempts(id, nonce),
            cancelling=bool(cancelling),
            tries=tries,
            transaction_hash=transaction_hash,
            block_number=block_number,
            block_hash=block_hash,
            reason=reason,
            facts=None if facts is None else json.loads(facts),
        )

    def _attempts(self, intent: int, nonce: int) -> tuple[Attempt, ...]:
        rows = self.database.execute(
            "SELECT hash, raw, nonce, max_fee, tip, cancels, signed_at, head FROM attempt"
            " WHERE intent = ? AND nonce = ? ORDER BY rowid",
            (intent, nonce),
        )
        return tuple(
            Attempt(hash, bytes(raw), nonce, max_fee, tip, bool(cancels), signed_at, head)
            for hash, raw, nonce, max_fee, tip, cancels, signed_at, head in rows
        )


def _call_columns(call: Call | None) -> tuple[str | None, str | None, str | None, int | None]:
    return (None, None, None, None) if call is None else (call.to, call.data, str(call.value), call.gas)
