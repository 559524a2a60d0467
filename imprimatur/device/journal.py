"""The printer's own record of every licensed job, on disk before anything that can't be taken back.

SQLite in WAL mode with synchronous=FULL: what a method has returned from survives a power cut. Each step is
one conditional UPDATE, so that no step can be taken twice or out of order, and what belongs to a step
(signed bytes, a queued report, an outbox's intent) is written in its commit. The file holds keys of prints:
only its owner may read it.
"""

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from imprimatur.chain.outbox import create_tables
from imprimatur.device.job import FINAL, UNSETTLED, Job, State, UseSignature
from imprimatur.device.journal_rows import TABLES, VERSION, job_of, signature_columns, signature_of
from imprimatur.device.reasons import Reason, Refused, why
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import format_id
from imprimatur.manifest.signature import SignedManifest

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another writer."""
Also = Callable[[sqlite3.Connection], None]
"""What else belongs to a step, written through the connection of its transaction."""

_COLUMNS = frozenset({"copy", "paid_at", "transaction", "block", "block_hash"})


class WrongState(ImprimaturError):
    """A step was asked for that the job isn't ready for."""


class JournalUnusable(ImprimaturError):
    """The file isn't a journal that this version can keep."""


class Journal:
    """The jobs in the database at `path`. Safe to use from several threads.

    Args:
        path: of the database, which is made when it is missing, readable by its owner only.
        clock: Unix seconds.

    Raises:
        JournalUnusable: the file is something else, or from a later version.
        OSError: it can't be made.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.RLock()
        # SQLite gives its -wal and -shm the permissions of the database.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        self._database = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT
        )
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise JournalUnusable(f"{path.name} isn't a journal of this version ({error}).") from error
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA secure_delete = ON")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version != VERSION and (version or tables):
            raise JournalUnusable(
                f"{self.path.name} is a journal of another version ({version}). Update this program, or "
                "choose another file."
            )
        for statement in TABLES.split(";"):
            self._database.execute(statement)
        create_tables(self._database)
        self._database.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its beginning: committed at the end of the block, and
        on disk then; rolled back when it raises."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled it back already.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def read(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock, closing(self._database.execute(statement, values)) as cursor:
            return cursor.fetchall()

    # --- steps -----------------------------------------------------------------------------------------

    def pick(
        self,
        license_id: int,
        *,
        chain_id: int,
        contract: str,
        file_hash: str,
        copies: int,
        name: str = "",
        number: str = "",
        owner: str = "",
        user: str | None = None,
        wanted: int | None = None,
        file: str | None = None,
        manifest: SignedManifest | None = None,
    ) -> Job:
        """A new job in state PICKED. With a `file` of the operator's own nothing sealed is delivered.

        Raises:
            Refused: another job of this license isn't over.
        """
        now, id = self._clock(), uuid.uuid4().hex[:12]
        row = {
            "id": id,
            "license_id": format_id(license_id),
            "chain_id": chain_id,
            "contract": contract,
            "file_hash": file_hash,
            "state": State.PICKED,
            "name": name,
            "number": number,
            "owner": owner,
            "user": user,
            "copies": copies,
            "wanted": wanted,
            "file": file,
            "manifest": None if manifest is None else manifest.to_bytes(),
            "is_sealed": file is None and manifest is not None and manifest.manifest.sealing is not None,
            "created": now,
            "updated": now,
        }
        marks = ", ".join("?" * len(row))
        names = ", ".join(f'"{name}"' for name in row)
        with self.transaction() as database:
            if other := self.open_job(license_id, chain_id, contract):
                raise Refused(why("open_job", job=other.id, state=other.state.value, copy=other.copy))
            database.execute(f"INSERT INTO job ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608
        return self.job(id)

    def step(
        self,
        id: str,
        before: State,
        after: State,
        reason: Reason | None = None,
        also: Also | None = None,
        **columns: Any,
    ) -> Job:
        """Take a job from one state to the next, with what is known then; on disk when this returns.

        Raises:
            WrongState: the job isn't in state `before`. Nothing was written.
        """
        if unknown := columns.keys() - _COLUMNS:
            raise ValueError(f"No such columns: {unknown}")
        assignments = "".join(f', "{name}" = ?' for name in columns)
        with self.transaction() as database:
            changed = database.execute(
                f"UPDATE job SET state = ?, reason = ?, updated = ?{assignments}"  # noqa: S608
                " WHERE id = ? AND state = ?",
                (after, _packed(reason), self._clock(), *columns.values(), id, before),
            ).rowcount
            if changed != 1:
                raise WrongState(f"The job {id} isn't {before}, so it can't become {after}.")
            if after in FINAL:
                # Nothing is printed with it any more: who finds the journal can't open past files with it.
                database.execute("UPDATE signature SET wrapped_key = NULL WHERE job = ?", (id,))
            if also is not None:
                also(database)
        return self.job(id)

    def note(self, id: str, reason: Reason, state: State | None = None) -> Job:
        """Tell the operator something about a job without moving it; with a `state`, only while it is in that
        one: what somebody else has moved on has a reason of its own."""
        job = self.job(id)
        state = job.state if state is None else state
        if (job.state, job.reason) != (state, reason):
            with self.transaction() as database:
                database.execute(
                    "UPDATE job SET reason = ?, updated = ? WHERE id = ? AND state = ?",
                    (_packed(reason), self._clock(), id, state),
                )
        return self.job(id)

    def withdraw(self, id: str, reason: Reason) -> Job:
        """Remember that the operator doesn't want a signed job any more.

        Raises:
            WrongState: nothing is signed, or the copy is paid by now.
        """
        with self.transaction() as database:
            changed = database.execute(
                "UPDATE job SET withdrawn = 1, reason = ?, updated = ?"  # noqa: S608
                f" WHERE id = ? AND state IN ({_marks(UNSETTLED)})",
                (_packed(reason), self._clock(), id, *UNSETTLED),
            ).rowcount
            if changed != 1:
                raise WrongState(f"The job {id} is no longer one that is only signed.")
        return self.job(id)

    def dismiss(self, id: str) -> None:
        """The operator has read how a job ended. Jobs that still need her can't be dismissed."""
        with self.transaction() as database:
            database.execute(
                f"UPDATE job SET dismissed = 1 WHERE id = ? AND state IN ({_marks(FINAL)})",  # noqa: S608
                (id, *FINAL),
            )

    # --- signatures ------------------------------------------------------------------------------------

    def signature(self, job_id: str) -> UseSignature:
        """The one that lives.

        Raises:
            KeyError: nothing is signed.
        """
        for row in self.read("SELECT * FROM signature WHERE job = ? AND live = 1", job_id):
            return signature_of(row)
        raise KeyError(job_id)

    def signatures_made(self, job_id: str) -> int:
        """How many uses were signed for a job."""
        ((count,),) = self.read("SELECT count(*) FROM signature WHERE job = ?", job_id)
        return int(count)

    def sign(self, job: Job, signature: UseSignature) -> Job:
        """VERIFIED → SIGNED: keys and signed bytes are on disk before anybody sees them.

        Raises:
            WrongState: the job isn't VERIFIED.
            sqlite3.IntegrityError: a signature of it lives.
        """
        row = signature_columns(job.id, signature)
        marks = ", ".join("?" * len(row))

        def add(database: sqlite3.Connection) -> None:
            names = ", ".join(row)
            database.execute(f"INSERT INTO signature ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608

        return self.step(job.id, State.VERIFIED, State.SIGNED, also=add, copy=signature.use.copy)

    def bury(self, job: Job, signature: UseSignature, reason: Reason, after: State) -> Job:
        """The job's signature can't be executed any more, as a final block shows: another may be made."""

        def end(database: sqlite3.Connection) -> None:
            database.execute(
                "UPDATE signature SET live = 0, ended = ? WHERE digest = ?", (reason.code, signature.digest)
            )

        return self.step(job.id, State.SENT, after, reason, also=end)

    def sent(self, digest: str) -> None:
        """Somebody took the signed bytes just now."""
        with self.transaction() as database:
            mark_sent(database, digest, self._clock())

    def keep_key(self, job: Job, signature: UseSignature, wrapped_key: bytes, reason: Reason) -> Job:
        """CONSUMED → KEYED."""

        def keep(database: sqlite3.Connection) -> None:
            database.execute(
                "UPDATE signature SET wrapped_key = ? WHERE digest = ?", (wrapped_key, signature.digest)
            )

        return self.step(job.id, State.CONSUMED, State.KEYED, reason, also=keep)

    def keep_evidence(self, job_id: str, reason: str, content: bytes) -> None:
        """Keep what a desk signed: the first and the newest answer with each reason."""
        now = self._clock()
        with self.transaction() as database:
            database.execute(
                "INSERT INTO evidence (job, reason, first, first_at, newest, newest_at)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (job, reason)"
                " DO UPDATE SET newest = excluded.newest, newest_at = excluded.newest_at",
                (job_id, reason, content, now, content, now),
            )

    def evidence(self, job_id: str) -> list[bytes]:
        """What desks signed about a job, oldest first."""
        rows = self.read("SELECT * FROM evidence WHERE job = ? ORDER BY first_at, rowid", job_id)
        kept = [answer for row in rows for answer in (bytes(row["first"]), bytes(row["newest"]))]
        return list(dict.fromkeys(kept))

    def statement(self, job_id: str) -> bytes | None:
        """What the operator said about a failed print (`Statement.about`), if anything."""
        rows = self.read("SELECT content FROM statement WHERE job = ?", job_id)
        return bytes(rows[0]["content"]) if rows else None

    # --- reading ---------------------------------------------------------------------------------------

    def job(self, id: str) -> Job:
        """The job `id`.

        Raises:
            KeyError: there is none.
        """
        for row in self.read("SELECT * FROM job WHERE id = ?", id):
            return job_of(row)
        raise KeyError(id)

    def open_job(self, license_id: int, chain_id: int, contract: str) -> Job | None:
        """The job of a license that isn't over, if any."""
        rows = self.read(
            "SELECT * FROM job WHERE license_id = ? AND chain_id = ? AND contract = ?"  # noqa: S608
            f" AND state NOT IN ({_marks(FINAL)})",
            format_id(license_id),
            chain_id,
            contract,
            *FINAL,
        )
        return job_of(rows[0]) if rows else None

    def in_states(self, *states: State) -> list[Job]:
        """Jobs in one of these states, oldest first."""
        statement = f"SELECT * FROM job WHERE state IN ({_marks(states)}) ORDER BY created, rowid"  # noqa: S608
        return [job_of(row) for row in self.read(statement, *states)]

    def recent(self, limit: int = 50) -> list[Job]:
        """Every job that isn't over, and the newest of the others, newest first."""
        rows = self.read(
            f"SELECT * FROM job WHERE state NOT IN ({_marks(FINAL)}) OR id IN"  # noqa: S608
            " (SELECT id FROM job ORDER BY created DESC, rowid DESC LIMIT ?)"
            " ORDER BY created DESC, rowid DESC",
            *FINAL,
            limit,
        )
        return [job_of(row) for row in rows]


def mark_sent(database: sqlite3.Connection, digest: str, now: float) -> None:
    """Write down, within a transaction, that somebody took signed bytes."""
    database.execute("UPDATE signature SET sent_at = ? WHERE digest = ?", (now, digest))


def _marks(values: tuple[State, ...]) -> str:
    return ", ".join("?" * len(values))


def _packed(reason: Reason | None) -> str | None:
    return None if reason is None else reason.to_json()
