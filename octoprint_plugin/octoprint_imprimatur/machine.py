"""The printer behind OctoPrint, as the flow sees it: takes checked bytes, tells how the print ended."""

import io
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from octoprint.events import Events

from imprimatur.device.job import Job
from octoprint_imprimatur.compat import job as jobs
from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.licensed_file import LicensedFile
from octoprint_imprimatur.runner import CannotStart, Runner

RELEASE_WITHIN = 60.0
"""Seconds that OctoPrint may need to bring an ended print to rest (parking moves, scripts)."""
_log = logging.getLogger("octoprint.plugins.imprimatur.machine")


def stub_of(job_id: str) -> str:
    """Name of a job's placeholder among OctoPrint's files."""
    return f"licensed-{job_id}.gcode"


@dataclass(slots=True)
class _Session:
    job: Job
    licensed: LicensedFile | None = None
    ended: bool = False

    @property
    def stub(self) -> str:
        return stub_of(self.job.id)


class OctoPrintMachine:
    """Starts licensed files through `compat` and follows OctoPrint's events."""

    def __init__(self, printer: Any, files: Any, gate: Gate) -> None:
        self._printer = printer
        self._files = files
        self._gate = gate
        self._runner: Runner | None = None
        self._session: _Session | None = None
        self._released = threading.Condition()

    def report_to(self, runner: Runner) -> None:
        self._runner = runner

    def ready(self) -> bool:
        """Connected and idle; waits for a print that has just ended to be put away."""
        with self._released:
            session = self._session
            if session is not None and session.ended:
                self._released.wait_for(lambda: self._session is not session, timeout=5)
            if self._session is not None:
                return False
        return bool(self._printer.is_ready())

    def start(self, job: Job, source: io.RawIOBase, size: int) -> None:
        """Print `source` under the name of the job's placeholder.

        Raises:
            CannotStart: nothing was sent.
        """
        session = self._session = _Session(job)

        def permit(licensed: LicensedFile) -> None:
            session.licensed = licensed
            self._gate.permit(licensed)

        try:
            jobs.start_licensed(
                self._printer,
                self._files,
                stub=session.stub,
                name=job.name,
                source=source,
                size=size,
                job_id=job.id,
                user=job.user,
                permit=permit,
            )
        except Exception as error:
            if session.licensed is not None:
                self._gate.withdraw(session.licensed)
            self._end(session)
            if isinstance(error, jobs.NotStarted):
                raise CannotStart(str(error)) from error
            raise

    def on_event(self, event: str, payload: dict[str, Any]) -> None:
        """An event of OctoPrint's."""
        session, runner = self._session, self._runner
        if session is None or runner is None or session.ended or session.licensed is None:
            return
        of_ours = bool(payload) and payload.get("path") == session.stub
        done = event == Events.PRINT_DONE and of_ours
        cancelled = event == Events.PRINT_CANCELLED and of_ours
        failed = (event == Events.PRINT_FAILED and of_ours) or (
            # A connection lost while paused brings no PRINT_FAILED.
            event == Events.DISCONNECTED and not jobs.is_current(self._printer, session.licensed)
        )
        try:
            if done:
                runner.print_done(session.job.id)
            elif cancelled or failed:
                # A file that can't be read on makes OctoPrint cancel the print.
                runner.print_ended(session.job.id, cancelled=cancelled and not session.licensed.broken)
        finally:
            # Also when the journal can't be written: the printer is free again.
            if done or cancelled or failed:
                self._end(session)

    def _end(self, session: _Session) -> None:
        session.ended = True
        putting_away = threading.Thread(target=self._put_away, args=(session,), daemon=True)
        putting_away.start()

    def _put_away(self, session: _Session) -> None:
        """When OctoPrint has come to rest: take the file out of its job and delete the placeholder."""
        try:
            deadline = time.monotonic() + RELEASE_WITHIN
            licensed = session.licensed
            if licensed is not None:
                while jobs.is_current(self._printer, licensed) and time.monotonic() < deadline:
                    time.sleep(0.05)
                self._gate.withdraw(licensed)
                jobs.release(self._printer, licensed)
            jobs.remove_stub(self._files, session.stub)
        except Exception:
            _log.exception("The placeholder %s couldn't be put away.", session.stub)
        finally:
            with self._released:
                if self._session is session:
                    self._session = None
                self._released.notify_all()

    def remove_stubs(self, job_ids: Iterable[str]) -> None:
        """Delete what an earlier run has left among OctoPrint's files."""
        for id in job_ids:
            jobs.remove_stub(self._files, stub_of(id))
