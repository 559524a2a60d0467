"""Jobs of the plugin before files came sealed: read once more, brought to their end, never continued.

That version consumed copies without a job key, so the desk has no key for them, whatever was paid. Their
journal stays where it was; the one of today has another name.
"""

import json
import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from octoprint_imprimatur.cards import OWN_FILE
from octoprint_imprimatur.messages import Message
from octoprint_imprimatur.shown_job import STEPS

FILE = "journal.db"
_ENDS = {
    "PICKED": ("ABANDONED", "updated_unpaid"),
    "DOWNLOADED": ("ABANDONED", "updated_unpaid"),
    "VERIFIED": ("ABANDONED", "updated_unpaid"),
    "SIGNED": ("FAILED", "updated_unsettled"),
    "SENT": ("FAILED", "updated_unsettled"),
    "CONSUMED": ("FAILED", "updated_paid"),
    "ARMED": ("FAILED", "updated_paid"),
    "PRINTING": ("FAILED", "updated_printing"),
}
"""By the state that a job was left in: how it ends, and the sentence about it."""
_LISTED = 20
_log = logging.getLogger("octoprint.plugins.imprimatur.old_jobs")


class OldJobs:
    """The journal of the earlier version in `folder`, if there is one. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._is_damaged = False

    def end(self) -> list[str]:
        """End what isn't over; the ids of all jobs, whose placeholders may still lie among OctoPrint's files.

        Raises:
            sqlite3.Error: the file is damaged.
        """
        rows = self._do("SELECT id, state, copy FROM job")
        for row in rows:
            if row["state"] in _ENDS:
                state, key = _ENDS[row["state"]]
                message = json.dumps(Message(key, {"copy": row["copy"]}).as_json())
                self._do("UPDATE job SET state = ?, message = ? WHERE id = ?", state, message, row["id"])
        return [row["id"] for row in rows]

    def listed(self) -> list[dict[str, Any]]:
        """The newest that ended and weren't dismissed, as browsers see jobs."""
        rows = self._try("SELECT * FROM job WHERE dismissed = 0 ORDER BY created DESC LIMIT ?", _LISTED)
        return [_json(row) for row in rows]

    def dismiss(self, id: str) -> None:
        """The operator has read how the job `id` ended."""
        self._try("UPDATE job SET dismissed = 1 WHERE id = ?", id)

    def _try(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """As `_do`; a damaged file is told once, and must not hide the jobs of today."""
        if self._is_damaged:
            return []
        try:
            return self._do(statement, *values)
        except sqlite3.DatabaseError:
            self._is_damaged = True
            _log.exception("The jobs of the version before sealed files can't be read.")
            return []

    def _do(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        if not self._path.exists():
            return []
        with self._lock, closing(sqlite3.connect(self._path, isolation_level=None)) as database:
            database.row_factory = sqlite3.Row
            database.execute("PRAGMA synchronous=FULL")
            return database.execute(statement, values).fetchall()


def _json(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "license_id": "0x" + row["license_id"],
        "kind": OWN_FILE,
        "steps": STEPS[OWN_FILE],
        "name": row["name"],
        "number": row["number"],
        "owner_name": "",
        "file_hash": row["file_hash"],
        "state": row["state"],
        "copy": row["copy"],
        "copies": row["copies"],
        "transaction": row["transaction"],
        "message": json.loads(row["message"]) or None,
        "progress": None,
        "active": False,
        "ready": False,
        "underway": False,
        "withdrawable": False,
        "reportable": False,
        "failure": None,
        "final": True,
        "dismissed": False,
        "created": row["created"],
        "updated": row["updated"],
    }
