"""The thread of a licensed print: waits until its copy can be printed, hands it to the machine, follows it.

One job at a time has the printer. The machine has to be ready before a copy is signed for, and a copy that
took too long to come doesn't start by itself.
"""

import functools
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Protocol

from imprimatur.device.checked_file import CheckedFile
from imprimatur.device.delivery import Delivery
from imprimatur.device.job import UNPAID, Job, State
from imprimatur.device.journal import Journal, WrongState
from imprimatur.device.reasons import Reason, Waiting, Withheld, why
from imprimatur.device.reasons import Refused as JobRefused
from imprimatur.device.sealed_cache import Progress
from octoprint_imprimatur.messages import Refused
from octoprint_imprimatur.telling import Changed, safely

PATIENCE_UNPAID = 120.0
"""Seconds without a step or a further byte before anything is signed. Then a job is given up, for free."""
PATIENCE = 1800.0
"""Seconds after which a paid copy doesn't start by itself any more: nobody may be watching."""
Spawn = Callable[[Callable[[], None]], None]
"""Runs work beside what its caller does next."""
_log = logging.getLogger("octoprint.plugins.imprimatur.runner")


class CannotStart(Exception):
    """The printer didn't take the file; `str` says why."""


class Machine(Protocol):
    """The printer, as far as a licensed print needs it."""

    def ready(self) -> bool:
        """Connected and idle."""

    def start(self, job: Job, source: BinaryIO, size: int) -> None:
        """Print the `size` bytes of `source`, read once and forward; the machine closes it in the end.

        Raises:
            CannotStart: nothing was sent.
        """


def in_thread(work: Callable[[], None]) -> None:
    """A thread that ends with the process."""
    threading.Thread(target=work, name="imprimatur-flow", daemon=True).start()


class Runner:
    """Runs one licensed job at a time on `machine`.

    Args:
        patience: seconds from its beginning for which a job is prepared whose copy is paid.
        patience_unpaid: seconds for which nothing may move, as long as it isn't.
        spawn: gives a job its thread.
        clock: seconds that only go forward.
        wake: what a waiting job waits for.
    """

    def __init__(
        self,
        journal: Journal,
        machine: Machine,
        changed: Changed,
        patience: float = PATIENCE,
        patience_unpaid: float = PATIENCE_UNPAID,
        *,
        spawn: Spawn = in_thread,
        clock: Callable[[], float] = time.monotonic,
        wake: threading.Event | None = None,
    ) -> None:
        self._journal = journal
        self._machine = machine
        self._changed = safely(changed)
        self._patience = patience
        self._patience_unpaid = patience_unpaid
        self._slot = threading.Lock()
        self._spawn = spawn
        self._clock = clock
        self._printing: Delivery | None = None
        self._started = 0.0
        self._owed: list[Callable[[], object]] = []
        self._settling = threading.Lock()
        self._wake = wake or threading.Event()
        self._stopping = False
        self.active: str | None = None
        """Id of the job that is being prepared."""

    @property
    def is_busy(self) -> bool:
        """Whether a job is being prepared, or about to be."""
        return self._slot.locked()

    def stop(self) -> None:
        """Let the thread end at its next wait; the journal has everything."""
        self._stopping = True
        self._wake.set()

    def wake(self) -> None:
        """Something has changed that a waiting job should look at."""
        self._wake.set()

    # The thread of a job -----------------------------------------------------------------------------------

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Holds the printer for a job, until the thread of `run` gives it back, or what raises before.

        Raises:
            Refused: restart_first, busy, or printer_not_ready.
            OSError, sqlite3.Error: what became of the last job still can't be written down.
        """
        if self._stopping:
            # The journal's file may be another one by now.
            raise Refused("restart_first")
        if not self._slot.acquire(blocking=False):
            raise Refused("busy")
        try:
            self.settle()
            if not self._machine.ready():
                raise Refused("printer_not_ready")
            yield
        except BaseException:
            self._slot.release()
            raise

    def run(self, delivery: Delivery, job: Job) -> None:
        """Prepare and print in a thread of its own. Called within `taken`."""

        def work() -> None:
            try:
                if self._prepare(delivery, job):
                    self._print(delivery, job)
            except Exception as error:
                _log.exception("Job %s stopped unexpectedly.", job.id)
                self._write_or_owe(functools.partial(self._stopped, job.id, _reason_of(error)))
            finally:
                self.active = None
                self._slot.release()
                self._changed(self._journal.job(job.id), None)

        self.active = job.id
        self._wake.clear()
        try:
            self._changed(job, None)
            self._spawn(work)
        except Exception as error:
            self.active = None
            self._write_or_owe(functools.partial(self._stopped, job.id, _reason_of(error)))
            raise

    def _stopped(self, job_id: str, reason: Reason) -> None:
        job = self._journal.job(job_id)
        if job.state in UNPAID:
            self._give_up(job, reason)
        elif not job.is_over:
            self._journal.note(job.id, reason)

    def _give_up(self, job: Job, reason: Reason) -> None:
        """End a job that isn't paid, unless the operator was faster."""
        with suppress(WrongState):
            self._journal.step(job.id, job.state, State.ABANDONED, reason)

    def _prepare(self, delivery: Delivery, job: Job) -> bool:
        """Take the job to where it can be printed; whether it came there in time."""
        begun = moved = self._clock()
        furthest = 0

        def progress(done: int, size: int) -> None:
            nonlocal moved, furthest
            self._changed(job, done / size)
            # A download that begins again and again doesn't move.
            if done > furthest:
                moved, furthest = self._clock(), done

        while not job.is_ready:
            if self._stopping or job.is_over or job.withdrawn:
                return False
            if job.state is State.VERIFIED and not self._machine.ready():
                self._give_up(job, why("printer_not_ready"))
                return False
            nap = 0.0
            try:
                delivery.advance(job, progress)
            except (JobRefused, Withheld):
                return False
            except Waiting as waiting:
                nap = waiting.retry_after
            except WrongState:
                # The operator, or the look in the background, was faster.
                nap = 0.0
            state, job = job.state, self._journal.job(job.id)
            self._changed(job, None)
            if job.state is not state:
                moved = self._clock()
            until = moved + self._patience_unpaid if job.state in UNPAID else begun + self._patience
            left = until - self._clock()
            if nap and left > 0:
                self._wake.wait(min(nap, left))
                self._wake.clear()
            elif nap and job.state in UNPAID:
                self._give_up(job, why("gave_up"))
            elif nap:
                return False
        return True

    def _progress_of(self, job: Job) -> Progress:
        return lambda done, size: self._changed(job, done / size)

    def _print(self, delivery: Delivery, job: Job) -> None:
        """Start the print. A paid copy isn't lost when that doesn't work."""
        try:
            source = delivery.open(job, self._progress_of(job))
        except Waiting as waiting:
            self._journal.note(job.id, waiting.reason)
            return
        except (JobRefused, WrongState):
            return
        try:
            job = delivery.arm(job)
        except WrongState:
            source.close()
            return
        except BaseException:
            source.close()
            raise
        self._printing, self._started = delivery, self._clock()
        try:
            self._changed(job, None)
            self._machine.start(job, source, _size_of(job, source))
        except Exception as error:
            source.close()
            if not isinstance(error, CannotStart):
                _log.exception("Job %s couldn't be started.", job.id)
            trouble = str(error) if isinstance(error, CannotStart) else type(error).__name__
            failed = why("start_failed", copy=job.copy, trouble=trouble)
            self._write_or_owe(lambda: self._leave(lambda: delivery.cancel_early(job, failed)))

    def _leave(self, step: Callable[[], Job]) -> bool:
        """Take a step that somebody else may have taken first; whether it was us."""
        try:
            self._changed(step(), None)
        except WrongState:
            return False
        return True

    # Printing ----------------------------------------------------------------------------------------------

    def part_begins(self, job_id: str) -> None:
        """The next line feeds material: the copy is used from here on. On disk when this returns.

        Raises:
            WrongState: the job isn't armed; the line must not leave.
        """
        self._changed(self._of_print(job_id).begin_part(self._journal.job(job_id)), None)

    def print_done(self, job_id: str, telemetry: bytes | None = None) -> None:
        """The last line was sent; `telemetry` is a hash (32 bytes) of what the machine recorded."""
        delivery, seconds = self._of_print(job_id), self._seconds()

        def finish() -> bool:
            return self._leave(lambda: delivery.finish(self._journal.job(job_id), seconds, telemetry))

        # The part may begin between the look at the job and its step.
        self._write_or_owe(lambda: finish() or finish())

    def print_ended(self, job_id: str, cancelled: bool) -> None:
        """The print was cancelled, or failed."""
        delivery, seconds = self._of_print(job_id), self._seconds()

        def end() -> None:
            # Read here: a disk that can't be written to may not be readable either.
            job = self._journal.job(job_id)
            late = why("cancelled" if cancelled else "print_failed", copy=job.copy)
            early = why("cancelled_early" if cancelled else "failed_early", copy=job.copy)
            # In this order: a part that begins meanwhile doesn't slip through between the two.
            if not self._leave(lambda: delivery.cancel_early(job, early)):
                self._leave(lambda: delivery.fail(job, late, seconds))

        self._write_or_owe(end)

    # What can't be written down at once --------------------------------------------------------------------

    def _write_or_owe(self, step: Callable[[], object]) -> None:
        """Take a step that has to be taken: when the disk doesn't help, later."""
        try:
            step()
        except (OSError, sqlite3.Error):
            _log.exception("What became of a job can't be written down. It is tried again.")
            self._owed.append(step)

    def settle(self) -> None:
        """Write down what couldn't be written before.

        Raises:
            OSError, sqlite3.Error: it still can't be.
        """
        with self._settling:
            while self._owed:
                self._owed[0]()
                del self._owed[0]

    def _of_print(self, job_id: str) -> Delivery:
        if self._printing is None:
            raise WrongState(f"The job {job_id} isn't being printed.")
        return self._printing

    def _seconds(self) -> int:
        return int(self._clock() - self._started)


def _reason_of(error: Exception) -> Reason:
    """What stopped a job, for its operator."""
    if isinstance(error, OSError | sqlite3.Error):
        return why("disk_trouble", trouble=str(error))
    return why("internal")


def _size_of(job: Job, source: BinaryIO) -> int:
    """Bytes of the licensed file: as its manifest says, or as the first pass over an own file has found."""
    if job.described is not None:
        return job.described.file_size
    return source.size if isinstance(source, CheckedFile) else 0
