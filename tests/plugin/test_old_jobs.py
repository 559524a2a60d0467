"""What a printer has in its journal when files begin to come sealed."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from octoprint_imprimatur.messages import OWN
from octoprint_imprimatur.old_jobs import FILE, OldJobs

TABLE = """
CREATE TABLE job (
    id TEXT PRIMARY KEY, license_id TEXT NOT NULL, name TEXT NOT NULL, number TEXT NOT NULL,
    file_hash TEXT NOT NULL, chain_id INTEGER NOT NULL, contract TEXT NOT NULL, state TEXT NOT NULL,
    copies INTEGER NOT NULL, copy INTEGER, nonce INTEGER, raw BLOB, "transaction" TEXT,
    message TEXT NOT NULL DEFAULT '{}', user TEXT, created REAL NOT NULL, updated REAL NOT NULL,
    dismissed INTEGER NOT NULL DEFAULT 0
) STRICT
"""
"""As version 0.1 wrote it."""


def old_journal(folder: Path, **jobs: str) -> OldJobs:
    """A journal with a job for each id and state."""
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(TABLE)
        for id, state in jobs.items():
            message = {"key": "finished", "text": "Copy %(copy)s was printed.", "values": {"copy": 3}}
            database.execute(
                "INSERT INTO job VALUES (?, ?, 'clip.gcode', 'A-1', ?, 1, '0xc', ?, 4, 3, 0, NULL, NULL, ?,"
                " 'ann', ?, ?, 0)",
                (id, f"{7:064x}", "ab" * 32, state, json.dumps(message), time.time(), time.time()),
            )
    return OldJobs(folder)


def listed(old: OldJobs) -> dict[str, dict[str, Any]]:
    return {job["id"]: job for job in old.listed()}


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("VERIFIED", "ABANDONED", "updated_unpaid"),
        ("SIGNED", "FAILED", "updated_unsettled"),
        ("SENT", "FAILED", "updated_unsettled"),
        ("CONSUMED", "FAILED", "updated_paid"),
        ("ARMED", "FAILED", "updated_paid"),
        ("PRINTING", "FAILED", "updated_printing"),
        ("FINISHED", "FINISHED", "finished"),
    ],
)
def test_every_open_job_ends_with_a_sentence_and_none_is_lost(
    tmp_path: Path, before: str, after: str, key: str
) -> None:
    old = old_journal(tmp_path, job=before)
    assert old.end() == ["job"]
    job = listed(old)["job"]
    assert (job["state"], job["message"]["key"], job["copy"], job["copies"]) == (after, key, 3, 4)
    assert (job["final"], job["ready"], job["name"]) == (True, False, "clip.gcode")
    if key in OWN:
        assert job["message"]["text"] == OWN[key]
    assert OldJobs(tmp_path).end() == ["job"]
    assert listed(old)["job"] == job, "the second time nothing changes"


def test_read_endings_disappear(tmp_path: Path) -> None:
    old = old_journal(tmp_path, one="CONSUMED", other="SENT")
    old.end()
    old.dismiss("one")
    assert list(listed(OldJobs(tmp_path))) == ["other"]


def test_a_damaged_file_hides_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, but as long as the header of one is" * 20)
    old = OldJobs(tmp_path)
    with pytest.raises(sqlite3.DatabaseError):
        old.end()
    for _ in range(3):
        assert old.listed() == []
        old.dismiss("any")
    assert len(caplog.records) == 1, "told once, not each time a page looks"


def test_a_new_printer_has_none_and_gets_no_file(tmp_path: Path) -> None:
    old = OldJobs(tmp_path)
    assert (old.end(), old.listed()) == ([], [])
    old.dismiss("none")
    assert list(tmp_path.iterdir()) == []
