"""The printer behind OctoPrint, as the flow sees it: takes checked bytes, tells how the print ended."""

import io
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octoprint.events import Events

from imprimatur.device.job import Job
from octoprint_imprimatur.compat import connectors, placeholder
from octoprint_imprimatur.compat import job as jobs
from octoprint_imprimatur.compat.camera import Shutter
from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.licensed_file import LicensedFile
from octoprint_imprimatur.messages import Message
from octoprint_imprimatur.runner import CannotStart, Runner
from octoprint_imprimatur.telemetry import Recording

RELEASE_WITHIN = 60.0
"""Seconds that OctoPrint may need to bring an ended print to rest (parking moves, scripts)."""
SHOWN = 1.5
"""Seconds for which browsers, told twice a second, see how the print ended before it is put away."""
_log = logging.getLogger("octoprint.plugins.imprimatur.machine")


def stub_of(job_id: str) -> str:
    """Name of a job's placeholder among OctoPrint's files."""
    return f"licensed-{job_id}.gcode"


def _described(job: Job, size: int) -> jobs.Described:
    """What the manifest says beyond the file itself."""
    manifest = job.described
    picture = manifest.thumbnail if manifest else None
    return jobs.Described(
        id=job.id,
        placeholder=stub_of(job.id),
        name=job.name,
        user=job.user,
        size=size,
        confidential=job.is_sealed,
        seconds=manifest.print_seconds if manifest else None,
        picture=picture.data if picture else None,
    )


@dataclass(slots=True)
class _Session:
    job: Job
    licensed: LicensedFile | None = None
    recording: Recording | None = None
    ended: bool = False
    awaited: bool = False
    """Somebody waits for it to be put away."""

    @property
    def stub(self) -> str:
        return stub_of(self.job.id)


class OctoPrintMachine:
    """Starts licensed files through `compat` and follows OctoPrint's events.

    Args:
        records: folder for what is recorded of each print.
        leak: why nothing confidential may be printed now, asked right before each start.
        films: whether timelapses of confidential jobs are allowed.
    """

    def __init__(
        self,
        printer: Any,
        files: Any,
        gate: Gate,
        records: Path,
        leak: Callable[[], Message | None] = lambda: None,
        films: Callable[[], bool] = lambda: False,
    ) -> None:
        self._printer = printer
        self._files = files
        self._gate = gate
        self._records = records
        self._leak = leak
        self._films = films
        self._shutter = Shutter()
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
                session.awaited = True
                self._released.notify_all()
                self._released.wait_for(lambda: self._session is not session, timeout=5)
            if self._session is not None:
                return False
        return connectors.comm_of(self._printer) is not None and bool(self._printer.is_ready())

    def start(self, job: Job, source: io.RawIOBase, size: int) -> None:
        """Print `source` under the name of the job's placeholder.

        Raises:
            CannotStart: nothing was sent.
        """
        problem = self._gate.may_print() or (self._leak() if job.is_sealed else None)
        if problem is not None:
            raise CannotStart(str(problem))
        session = self._session = _Session(job)

        def permit(licensed: LicensedFile) -> None:
            session.licensed = licensed
            session.recording = Recording(job, self._printer.get_current_temperatures)
            self._gate.permit(licensed)

        try:
            if job.is_sealed and not self._films():
                self._shutter.close()
            jobs.start_licensed(self._printer, self._files, _described(job, size), source, permit)
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
        if event == Events.PRINT_PAUSED and of_ours and session.recording is not None:
            session.recording.pauses += 1
        done = event == Events.PRINT_DONE and of_ours
        cancelled = event == Events.PRINT_CANCELLED and of_ours
        failed = (event == Events.PRINT_FAILED and of_ours) or (
            # A connection lost while paused brings no PRINT_FAILED.
            event == Events.DISCONNECTED and not jobs.is_current(self._printer, session.licensed)
        )
        try:
            if done:
                runner.print_done(session.job.id, self._record(session, "finished"))
            elif cancelled or failed:
                # A file that can't be read on makes OctoPrint cancel the print.
                self._record(session, "cancelled" if cancelled else "failed")
                runner.print_ended(session.job.id, cancelled=cancelled and not session.licensed.broken)
        finally:
            # Also when the journal can't be written: the printer is free again.
            if done or cancelled or failed:
                self._end(session)

    def _record(self, session: _Session, outcome: str) -> bytes | None:
        """Keep what was recorded; its hash."""
        if session.recording is None or session.licensed is None:
            return None
        try:
            return session.recording.end(self._records, session.licensed.lines, outcome)
        except Exception:
            # The outcome itself counts.
            _log.exception("What was recorded of job %s is lost.", session.job.id)
            return None

    def _end(self, session: _Session) -> None:
        session.ended = True
        if session.recording is not None:
            session.recording.stop()
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
                with self._released:
                    self._released.wait_for(lambda: session.awaited, timeout=SHOWN)
                jobs.release(self._printer, licensed)
            placeholder.remove(self._files, session.stub)
        except Exception:
            _log.exception("The placeholder %s couldn't be put away.", session.stub)
        finally:
            self._shutter.open()
            with self._released:
                if self._session is session:
                    self._session = None
                self._released.notify_all()

    def remove_stubs(self, job_ids: Iterable[str]) -> None:
        """Delete what an earlier run has left among OctoPrint's files."""
        for id in job_ids:
            placeholder.remove(self._files, stub_of(id))
