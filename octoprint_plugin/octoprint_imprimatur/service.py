"""Puts the parts together: settings and key → connection; journal, flow, catalog and machine around it."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imprimatur.chain.signers import KeySigner
from imprimatur.device.job import Job
from imprimatur.device.journal import Journal
from octoprint_imprimatur import keys
from octoprint_imprimatur.api import job_json
from octoprint_imprimatur.catalog import Catalog
from octoprint_imprimatur.connection import Address, Connection, connect
from octoprint_imprimatur.flow import Flow, is_reportable
from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.machine import OctoPrintMachine
from octoprint_imprimatur.messages import Refused
from octoprint_imprimatur.old_jobs import OldJobs
from octoprint_imprimatur.runner import Runner

JOURNAL = "jobs.db"
"""Beside that of the version before sealed files (`old_jobs`)."""
SEALED = "sealed"
"""Folder of the sealed files."""
BACKUP_EXCLUDES = [JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm", SEALED]
"""The journal holds the keys of prints, which with a sealed file open it."""
LOOK_EVERY = 5.0
"""Seconds between two looks at jobs and reports that wait for somebody."""
OPEN_WITHIN = 10.0
"""Seconds that a request waits for the key at start-up."""
_log = logging.getLogger("octoprint.plugins.imprimatur.service")


class Keys:
    """The printer's key, opened once in the background because that takes a second."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signer: KeySigner | None = None
        self._trouble: str | None = None
        self._opened = threading.Event()

    def open(self) -> None:
        try:
            self._signer = keys.open_or_create(self._folder)
        except Exception as error:
            _log.exception("The printer's key can't be opened.")
            self._trouble = str(error)
        finally:
            self._opened.set()

    @property
    def address(self) -> str | None:
        """Checksum address, None while or when there is no key."""
        return self._signer.address if self._signer else None

    def signer(self) -> KeySigner:
        """The signer; waits a while for the key to be opened.

        Raises:
            Refused: key_not_ready, key_unusable.
        """
        self._opened.wait(OPEN_WITHIN)
        if self._signer is not None:
            return self._signer
        if self._trouble is not None:
            raise Refused("key_unusable", reason=self._trouble)
        raise Refused("key_not_ready")


class Service:
    """Everything that lives from OctoPrint's start-up to its end.

    Args:
        settings: the plugin's settings as they are now.
        push: sends a message to the browsers.
    """

    def __init__(
        self,
        folder: Path,
        printer: Any,
        files: Any,
        gate: Gate,
        settings: Callable[[], Mapping[str, Any]],
        push: Callable[[dict[str, Any]], None],
    ) -> None:
        self.settings = settings
        self._push = push
        self._stopping = threading.Event()
        self.keys = Keys(folder)
        self.journal = Journal(folder / JOURNAL)
        self.old_jobs = OldJobs(folder)
        self.machine = OctoPrintMachine(printer, files, gate)
        self.runner = Runner(self.journal, self.machine, self._job_changed)
        self.flow = Flow(self.journal, self.connect, self.runner, folder / SEALED, self._job_changed)
        self.catalog = Catalog(self.connect, lambda: self._push({"type": "licenses"}))
        self._progress: dict[str, float | None] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self.machine.report_to(self.runner)
        gate.watch_with(self.runner)

    def start(self) -> None:
        """End what an older version left; then open the key, go on with open jobs and read the list in the
        background."""
        self.machine.remove_stubs(job.id for job in self.journal.recent())
        try:
            self.machine.remove_stubs(self.old_jobs.end())
        except Exception:
            _log.exception("The jobs of the version before sealed files can't be read.")
        threading.Thread(target=self._work, name="imprimatur-service", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self.runner.stop()

    def _work(self) -> None:
        self.keys.open()
        self.catalog.refresh_soon()
        while not self._stopping.is_set():
            try:
                self.flow.continue_open()
            except Refused as error:
                _log.info("Open jobs can't be continued yet: %s", error)
            except Exception:
                _log.exception("Open jobs couldn't be continued.")
            self._stopping.wait(LOOK_EVERY)

    def connect(self) -> Connection:
        """Chain, portal and desk by the settings of now; nobody is asked anything.

        Raises:
            Refused: with the reason.
        """
        return connect(Address.parse(self.settings()), self.keys.signer())

    def print_license(self, id: int, copy: int | None, user: str | None) -> Job:
        """Begin a print.

        Raises:
            Refused: with the reason.
        """
        card = self.catalog.snapshot.card(id)
        return self.flow.begin(id, offer=card.offer if card else None, copy=copy, user=user)

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that isn't over, and the latest of the others; newest first."""
        jobs = [self.job_json(job) for job in self.journal.recent()] + self.old_jobs.listed()
        return sorted(jobs, key=lambda job: job["created"], reverse=True)

    def job_json(self, job: Job) -> dict[str, Any]:
        """A job as browsers see it."""
        return job_json(
            job,
            self._progress.get(job.id),
            active=job.id == self.runner.active,
            reportable=is_reportable(job),
        )

    def dismiss(self, job_id: str) -> None:
        """The operator has read how a job ended."""
        self.journal.dismiss(job_id)
        self.old_jobs.dismiss(job_id)

    def identity(self) -> dict[str, Any]:
        """Who this printer is, for browsers."""
        settings = self.settings()
        return {"address": self.keys.address, "portal_name": settings["portal_name"] or ""}

    def _job_changed(self, job: Job, progress: float | None) -> None:
        self._progress[job.id] = progress
        told, told_before = self.job_json(job), self._told.get(job.id)
        if told == told_before:
            return
        self._told[job.id] = told
        self._push({"type": "job", "job": told})
        known = told_before or {"state": None, "message": None}
        if job.copy is not None and (told["state"], told["message"]) != (known["state"], known["message"]):
            # The license may have a copy less, or more.
            self.catalog.refresh_soon()
