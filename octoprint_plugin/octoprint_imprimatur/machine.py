"""The printer behind OctoPrint, as the flow sees it: takes checked bytes, tells how the print ended."""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, BinaryIO

from octoprint.events import Events

from octoprint_imprimatur import compat
from octoprint_imprimatur.flow import CannotStart, Flow
from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.journal import Job
from octoprint_imprimatur.licensed_file import LicensedFile

RELEASE_WITHIN = 60.0
"""Seconds that OctoPrint may need to bring an ended print to rest (parking moves, scripts)."""
_log = logging.getLogger("octoprint.plugins.imprimatur.machine")


@dataclass(slots=True)
class _Session:
    job: Job
    licensed: LicensedFile | None = None
    ended: bool = False


class OctoPrintMachine:
    """Starts licensed files through `compat` and follows OctoPrint's events."""

    def __init__(self, printer: Any, files: Any, gate: Gate) -> None:
        self._printer = printer
        self._files = files
        self._gate = gate
        self._flow: Flow | None = None
        self._session: _Session | None = None
        self._released = threading.Condition()

    def report_to(self, flow: Flow) -> None:
        self._flow = flow

    def ready(self) -> bool:
        """Connected and idle; waits for a print that has just ended to be put away."""
        with self._released:
            session = self._session
            if session is not None and session.ended:
                self._released.wait_for(lambda: self._session is not session, timeout=5)
            if self._session is not None:
                return False
        return bool(self._printer.is_ready())

    def start(self, job: Job, source: BinaryIO) -> None:
        """Print `source` under the name of the job's stub.

        Raises:
            CannotStart: nothing was sent.
        """
        session = self._session = _Session(job)

        def permit(licensed: LicensedFile) -> None:
            session.licensed = licensed
            self._gate.permit(licensed)

        try:
            compat.start_licensed(
                self._printer,
                self._files,
                stub=job.stub,
                name=job.name,
                source=source,
                job_id=job.id,
                user=job.user,
                permit=permit,
            )
        except Exception as error:
            if session.licensed is not None:
                self._gate.withdraw(session.licensed)
            self._end(session)
            if isinstance(error, compat.NotStarted):
                raise CannotStart(str(error)) from error
            raise

    def on_event(self, event: str, payload: dict[str, Any]) -> None:
        """An event of OctoPrint's."""
        session, flow = self._session, self._flow
        if session is None or flow is None or session.ended or session.licensed is None:
            return
        of_ours = bool(payload) and payload.get("path") == session.job.stub
        if event == Events.PRINT_DONE and of_ours:
            flow.print_done(session.job.id)
        elif event == Events.PRINT_CANCELLED and of_ours:
            flow.print_ended(session.job.id, cancelled=True)
        elif (event == Events.PRINT_FAILED and of_ours) or (
            # A connection lost while paused brings no PRINT_FAILED.
            event == Events.DISCONNECTED and not compat.is_current(self._printer, session.licensed)
        ):
            flow.print_ended(session.job.id, cancelled=False)
        else:
            return
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
                while compat.is_current(self._printer, licensed) and time.monotonic() < deadline:
                    time.sleep(0.05)
                self._gate.withdraw(licensed)
                compat.release(self._printer, licensed)
            compat.remove_stub(self._files, session.job.stub)
        except Exception:
            _log.exception("The placeholder %s couldn't be put away.", session.job.stub)
        finally:
            with self._released:
                if self._session is session:
                    self._session = None
                self._released.notify_all()

    def remove_stubs(self, jobs: list[Job]) -> None:
        """Delete what an earlier run has left among OctoPrint's files."""
        for job in jobs:
            compat.remove_stub(self._files, job.stub)
