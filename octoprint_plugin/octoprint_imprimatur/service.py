"""Puts the parts together: settings and key → connection; journal, flow, catalog and machine around it."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imprimatur.device.job import Job, State
from imprimatur.device.journal import Journal
from imprimatur.device.statement import Statement, read_statement
from octoprint_imprimatur import events, leaks, telemetry
from octoprint_imprimatur.catalog import Catalog
from octoprint_imprimatur.compat import connectors, terminal
from octoprint_imprimatur.connection import Address, Connection, connect
from octoprint_imprimatur.device_key import Keys
from octoprint_imprimatur.flow import Flow, is_reportable
from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.local_files import LocalFiles
from octoprint_imprimatur.machine import OctoPrintMachine
from octoprint_imprimatur.messages import Message, Refused
from octoprint_imprimatur.old_jobs import OldJobs
from octoprint_imprimatur.runner import Runner
from octoprint_imprimatur.setting_up import Setup
from octoprint_imprimatur.shown_job import job_json
from octoprint_imprimatur.turn import Turn

JOURNAL = "jobs.db"
"""Beside that of the version before sealed files (`old_jobs`)."""
SEALED = "sealed"
"""Folder of the sealed files."""
BACKUP_EXCLUDES = [JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm", SEALED]
"""The journal holds the keys of prints, which with a sealed file open it."""
START_AFTER = 1.5
"""Seconds after start-up in which OctoPrint connects its printer: opening a key keeps a computer busy."""
LOOK_EVERY = 5.0
"""Seconds between two looks at jobs and reports that wait for somebody."""
FILES_CHANGED = ("FileAdded", "FileRemoved", "FileMoved", "FolderRemoved", "FolderMoved")
_log = logging.getLogger("octoprint.plugins.imprimatur.service")


class Service:
    """Everything that lives from OctoPrint's start-up to its end.

    Args:
        folder: the plugin's data.
        base, uploads: OctoPrint's base folder, and that of its files.
        settings: the plugin's settings as they are now.
        store: writes some of them.
        push: sends a message to the browsers.
        plugins: OctoPrint's plugin manager.
        fire: puts an event on OctoPrint's bus.
    """

    def __init__(
        self,
        folder: Path,
        base: Path,
        uploads: Path,
        printer: Any,
        files: Any,
        gate: Gate,
        settings: Callable[[], Mapping[str, Any]],
        store: Callable[[Mapping[str, Any]], None],
        push: Callable[[dict[str, Any]], None],
        plugins: leaks.PluginManager,
        fire: events.Fire,
    ) -> None:
        self.settings = settings
        self.plugins = plugins
        self._push = push
        self._stopping = threading.Event()
        self.keys = Keys(folder, settings)
        self._gate = gate
        self._printer = printer
        self._turn = Turn()
        self.journal = Journal(folder / JOURNAL)
        self.old_jobs = OldJobs(folder)
        self.machine = OctoPrintMachine(
            printer,
            files,
            gate,
            folder / telemetry.FOLDER,
            self.leak,
            lambda: settings().get("timelapse") is True,
        )
        self._announcer = events.Announcer(fire, self.journal.recent(1000))
        self.runner = Runner(self.journal, self.machine, self._job_changed)
        self.flow = Flow(self.journal, self.connect, self.runner, folder / SEALED, self._job_changed)
        self.catalog = Catalog(self.connect, self._catalog_read)
        self.local_files = LocalFiles(uploads, is_print_file, printer.is_printing, self._list_changed)
        self.setup = Setup(
            settings, store, self.keys, self.journal, self._turn, (base, uploads), printer, gate.status,
            lambda: leaks.foreign_hooks(plugins), self.catalog.refresh_soon,
        )  # fmt: skip
        self._progress: dict[str, float | None] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self.machine.report_to(self.runner)
        gate.watch_with(self.runner)

    def start(self) -> None:
        """Put in order what the last run and an older version left; then open the key, go on with open jobs
        and read the list in the background."""
        try:
            self.flow.recover()
        except Exception:
            # Nothing begins before it has worked: the flow tries it again each time.
            _log.exception("What the last run left behind can't be put in order yet.")
        try:
            self.machine.remove_stubs(job.id for job in self.journal.recent())
            self.machine.remove_stubs(self.old_jobs.end())
        except Exception:
            _log.exception("The jobs of earlier runs can't be cleared away.")
        threading.Thread(target=self._work, name="imprimatur-service", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self.local_files.stop()
        self.runner.stop()

    def _work(self) -> None:
        if self._stopping.wait(START_AFTER):
            return
        self.keys.open()
        self.catalog.refresh_soon()
        told = ""
        while not self._stopping.is_set():
            self.keys.look_again()
            try:
                self.flow.continue_open()
                trouble = ""
            except Exception as error:
                trouble = f"{type(error).__name__}: {error}"
                # Once, not every few seconds for months: a printer that nobody has set up has this too.
                if trouble != told:
                    _log.warning(
                        "Open jobs can't be continued: %s", error, exc_info=not isinstance(error, Refused)
                    )
            told = trouble
            self._stopping.wait(LOOK_EVERY)

    def on_event(self, event: str, payload: dict[str, Any]) -> None:
        """An event of OctoPrint's."""
        self.machine.on_event(event, payload)
        if event in FILES_CHANGED:
            self.local_files.look_soon()

    def connect(self) -> Connection:
        """Chain, portal and desk by the settings of now; nobody is asked anything.

        Raises:
            Refused: with the reason.
        """
        return connect(Address.parse(self.settings()), self.keys.signer())

    def print_license(
        self, id: int, copy: int | None = None, user: str | None = None, file: str | None = None
    ) -> Job:
        """Begin a print.

        Args:
            copy: the one that the operator confirmed.
            file: path among OctoPrint's files, for a license without a sealed one.

        Raises:
            Refused: with the reason.
        """
        card = self.catalog.snapshot.card(id)
        path = None if file is None else self.local_files.path_of(file)
        with self._turn.taken():
            self._require_closed_gate(confidential=path is None)
            return self.flow.begin(id, offer=card.offer if card else None, file=path, copy=copy, user=user)

    def resume(self, job_id: str) -> Job:
        """Print a copy that is paid and waits.

        Raises:
            Refused: with the reason.
        """
        with self._turn.taken():
            try:
                confidential = self.journal.job(job_id).is_sealed
            except KeyError as error:
                raise Refused("unknown_job") from error
            self._require_closed_gate(confidential)
            return self.flow.resume(job_id)

    def withdraw(self, job_id: str) -> Job:
        """As `Flow.withdraw`."""
        with self._turn.taken():
            return self.flow.withdraw(job_id)

    def report_failure(self, job_id: str, statement: Statement) -> Job:
        """As `Flow.report_failure`. The key that has to sign it stays meanwhile."""
        with self._turn.taken():
            return self.flow.report_failure(job_id, statement)

    def _require_closed_gate(self, confidential: bool) -> None:
        """Nobody has got between the gate and the printer, nor looks over its shoulder. Raises Refused."""
        problem = self._gate.may_print() or (self.leak() if confidential else None)
        if problem is not None:
            raise Refused(problem.key, **problem.values)

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that isn't over, and the latest of the others; newest first."""
        jobs = [self.job_json(job) for job in self.journal.recent()] + self.old_jobs.listed()
        return sorted(jobs, key=lambda job: job["created"], reverse=True)

    def job_json(self, job: Job) -> dict[str, Any]:
        """A job as browsers see it."""
        said = self.journal.statement(job.id) if job.state is State.FAILED else None
        return job_json(
            job,
            self._progress.get(job.id),
            active=job.id == self.runner.active,
            reportable=is_reportable(job),
            statement=None if said is None else read_statement(said),
        )

    def licenses(self) -> dict[str, Any]:
        """The list as browsers see it."""
        return self.catalog.snapshot.as_json(self.local_files.with_hash)

    def dismiss(self, job_id: str) -> None:
        """The operator has read how a job ended."""
        self.journal.dismiss(job_id)
        self.old_jobs.dismiss(job_id)

    def identity(self) -> dict[str, Any]:
        """Who this printer is, for browsers."""
        settings = self.settings()
        return {"address": self.keys.address, "portal_name": settings["portal_name"] or ""}

    def leak(self) -> Message | None:
        """Why nothing confidential may be printed beside the other plugins of this OctoPrint."""
        comm = connectors.comm_of(self._printer)
        live = {} if comm is None else terminal.live_hooks(comm)
        return leaks.problem(self.plugins, self.settings().get("trusted_hooks"), live)

    def _catalog_read(self) -> None:
        self.local_files.want(self.catalog.snapshot.wanted())
        self._list_changed()

    def _list_changed(self) -> None:
        self._push({"type": "licenses"})

    def _job_changed(self, job: Job, progress: float | None) -> None:
        self._announcer.changed(job)
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


def is_print_file(name: str) -> bool:
    """Whether OctoPrint would print a file of this name."""
    from octoprint.filemanager import valid_file_type

    return bool(valid_file_type(name, type="machinecode"))
