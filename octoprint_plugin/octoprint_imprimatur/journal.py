"""The printer's own record of every licensed job, on disk before anything that can't be taken back.

SQLite in WAL mode with synchronous=FULL: what a method has returned from survives a power cut. Each step is
one conditional UPDATE, so that no step can be taken twice or out of order.
"""

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from imprimatur.errors import ImprimaturError
from octoprint_imprimatur.messages import Message, parse


class State(StrEnum):
    """Where a job stands."""

    PICKED = "PICKED"
    DOWNLOADED = "DOWNLOADED"
    VERIFIED = "VERIFIED"
    SIGNED = "SIGNED"
    SENT = "SENT"
    CONSUMED = "CONSUMED"
    ARMED = "ARMED"
    PRINTING = "PRINTING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    ABANDONED = "ABANDONED"


UNPAID = (State.PICKED, State.DOWNLOADED, State.VERIFIED)
"""Nothing has been signed: nothing can have been consumed."""
UNSETTLED = (State.SIGNED, State.SENT)
"""Signed bytes exist: only the chain knows whether a copy was consumed."""
FINAL = (State.FINISHED, State.FAILED, State.ABANDONED)


class WrongState(ImprimaturError):
    """A step was asked for that the job isn't ready for."""


@dataclass(frozen=True, slots=True)
class Job:
    """One row. `copy` is known from CONSUMED on; `raw` are the signed bytes, from SIGNED on."""

    id: str
    license_id: int
    name: str
    number: str
    file_hash: str
    chain_id: int
    contract: str
    state: State
    copies: int
    copy: int | None
    nonce: int | None
    raw: bytes | None
    transaction: str | None
    message: Message | None
    user: str | None
    created: float
    updated: float
    dismissed: bool

    @property
    def stub(self) -> str:
        """Name of the placeholder among OctoPrint's files."""
        return f"licensed-{self.id}.gcode"


_TABLE = """
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY,
    license_id TEXT NOT NULL,
    name TEXT NOT NULL,
    number TEXT NOT NULL,
    file_hash TEXT NOT NULL,
    chain_id INTEGER NOT NULL,
    contract TEXT NOT NULL,
    state TEXT NOT NULL,
    copies INTEGER NOT NULL,
    copy INTEGER,
    nonce INTEGER,
    raw BLOB,
    "transaction" TEXT,
    message TEXT NOT NULL DEFAULT '{}',
    user TEXT,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    dismissed INTEGER NOT NULL DEFAULT 0
) STRICT
"""
_COLUMNS = frozenset({"copy", "nonce", "raw", "transaction"})


class Journal:
    """The jobs in the database at `path`. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute(_TABLE)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _write(self, statement: str, values: Iterable[Any]) -> int:
        """Rows changed, when they are on disk (autocommit: one statement, one commit)."""
        with self._lock, closing(self._database.execute(statement, tuple(values))) as cursor:
            return cursor.rowcount

    def _read(self, condition: str, *values: Any) -> list[Job]:
        statement = f"SELECT * FROM job WHERE {condition}"  # noqa: S608 - conditions are constants below
        with self._lock, closing(self._database.execute(statement, values)) as cursor:
            return [_job(row) for row in cursor]

    def pick(
        self,
        license_id: int,
        *,
        name: str,
        number: str,
        file_hash: str,
        chain_id: int,
        contract: str,
        copies: int,
        user: str | None,
    ) -> Job:
        """A new job in state PICKED."""
        now = time.time()
        id = uuid.uuid4().hex[:12]
        self._write(
            "INSERT INTO job (id, license_id, name, number, file_hash, chain_id, contract, state, copies,"
            " user, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                id,
                f"{license_id:064x}",
                name,
                number,
                file_hash,
                chain_id,
                contract,
                State.PICKED,
                copies,
                user,
                now,
                now,
            ),
        )
        return self.job(id)

    def step(
        self, id: str, before: State, after: State, message: Message | None = None, **columns: Any
    ) -> Job:
        """Take a job from one state to the next, with what is known then; on disk when this returns.

        Raises:
            WrongState: the job isn't in state `before`.
        """
        if unknown := columns.keys() - _COLUMNS:
            raise ValueError(f"No such columns: {unknown}")
        assignments = "".join(f', "{name}" = ?' for name in columns)
        changed = self._write(
            f"UPDATE job SET state = ?, message = ?, updated = ?{assignments}"  # noqa: S608
            " WHERE id = ? AND state = ?",
            (after, _packed(message), time.time(), *columns.values(), id, before),
        )
        if changed != 1:
            raise WrongState(f"Job {id} isn't {before}, so it can't become {after}.")
        return self.job(id)

    def note(self, id: str, message: Message) -> Job:
        """Tell the operator something about a job without moving it."""
        self._write(
            "UPDATE job SET message = ?, updated = ? WHERE id = ?", (_packed(message), time.time(), id)
        )
        return self.job(id)

    def dismiss(self, id: str) -> None:
        """The operator has read how a job ended. Jobs that still need her can't be dismissed."""
        marks = ", ".join("?" * len(FINAL))
        self._write(f"UPDATE job SET dismissed = 1 WHERE id = ? AND state IN ({marks})", (id, *FINAL))  # noqa: S608

    def job(self, id: str) -> Job:
        """The job `id`.

        Raises:
            KeyError: there is none.
        """
        found = self._read("id = ?", id)
        if not found:
            raise KeyError(id)
        return found[0]

    def in_states(self, *states: State) -> list[Job]:
        """Jobs in one of these states, oldest first."""
        marks = ", ".join("?" * len(states))
        return self._read(f"state IN ({marks}) ORDER BY created", *states)

    def recent(self, limit: int = 50) -> list[Job]:
        """Every job that isn't over, and the newest of the others, newest first."""
        marks = ", ".join("?" * len(FINAL))
        return self._read(
            f"state NOT IN ({marks}) OR id IN"  # noqa: S608
            " (SELECT id FROM job ORDER BY created DESC LIMIT ?) ORDER BY created DESC",
            *FINAL,
            limit,
        )


def _packed(message: Message | None) -> str:
    return json.dumps(message.as_json() if message else {})


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        license_id=int(row["license_id"], 16),
        name=row["name"],
        number=row["number"],
        file_hash=row["file_hash"],
        chain_id=row["chain_id"],
        contract=row["contract"],
        state=State(row["state"]),
        copies=row["copies"],
        copy=row["copy"],
        nonce=row["nonce"],
        raw=row["raw"],
        transaction=row["transaction"],
        message=parse(json.loads(row["message"])),
        user=row["user"],
        created=row["created"],
        updated=row["updated"],
        dismissed=bool(row["dismissed"]),
    )
