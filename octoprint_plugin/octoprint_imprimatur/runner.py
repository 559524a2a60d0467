"""The thread of a licensed print: waits until its copy can be printed, hands it to the machine, follows it.

One job at a time has the printer. The machine has to be ready before a copy is signed for, and a copy that
took too long to come doesn't start by itself.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Protocol

from imprimatur.device.delivery import Delivery
from imprimatur.device.job import UNPAID, Job, State
from imprimatur.device.journal import Journal, WrongState
from imprimatur.device.reasons import Refused as JobRefused
from imprimatur.device.reasons import Waiting, Withheld, why
from imprimatur.device.sealed_cache import Progress
from octoprint_imprimatur.messages import Refused

PATIENCE_UNPAID = 120.0
"""Seconds that a job is tried for before anything is signed. Then it is given up: it cost nothing."""
PATIENCE = 1800.0
"""Seconds after which a paid copy doesn't start by itself any more: nobody may be watching."""
Changed = Callable[[Job, float | None], None]
"""Called with a job and the progress of its step (0 to 1, or None) whenever it moves."""
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


class Runner:
    """Runs one licensed job at a time on `machine`."""

    def __init__(
        self,
        journal: Journal,
        machine: Machine,
        changed: Changed,
        patience: float = PATIENCE,
        patience_unpaid: float = PATIENCE_UNPAID,
    ) -> None:
        self._journal = journal
        self._machine = machine
        self._changed = changed
        self._patience = patience
        self._patience_unpaid = patience_unpaid
        self._slot = threading.Lock()
        self._printing: Delivery | None = None
        self._started = 0.0
        self._wake = threading.Event()
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
            Refused: busy, or printer_not_ready.
        """
        if not self._slot.acquire(blocking=False):
            raise Refused("busy")
        try:
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
            except Exception:
                _log.exception("Job %s stopped unexpectedly.", job.id)
                self._stop_unexpectedly(job.id)
            finally:
                self.active = None
                self._slot.release()
                self._changed(self._journal.job(job.id), None)

        self.active = job.id
        self._wake.clear()
        self._changed(job, None)
        threading.Thread(target=work, name="imprimatur-flow", daemon=True).start()

    def _stop_unexpectedly(self, job_id: str) -> None:
        job = self._journal.job(job_id)
        if job.state in UNPAID:
            self._give_up(job, "internal")
        elif not job.is_over:
            self._journal.note(job.id, why("internal"))

    def _give_up(self, job: Job, code: str) -> None:
        """End a job that isn't paid, unless the operator was faster."""
        with suppress(WrongState):
            self._journal.step(job.id, job.state, State.ABANDONED, why(code))

    def _prepare(self, delivery: Delivery, job: Job) -> bool:
        """Take the job to where it can be printed; whether it came there in time."""
        begun = time.monotonic()
        while not job.is_ready:
            if self._stopping or job.is_over or job.withdrawn:
                return False
            if job.state is State.VERIFIED and not self._machine.ready():
                self._give_up(job, "printer_not_ready")
                return False
            nap = 0.0
            try:
                delivery.advance(job, self._progress_of(job))
            except (JobRefused, Withheld):
                return False
            except Waiting as waiting:
                nap = waiting.retry_after
            except WrongState:
                # The operator, or the look in the background, was faster.
                nap = 0.0
            job = self._journal.job(job.id)
            self._changed(job, None)
            patience = self._patience_unpaid if job.state in UNPAID else self._patience
            left = begun + patience - time.monotonic()
            if nap and left > 0:
                self._wake.wait(min(nap, left))
                self._wake.clear()
            elif nap and job.state in UNPAID:
                self._give_up(job, "gave_up")
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
        self._printing, self._started = delivery, time.monotonic()
        self._changed(job, None)
        try:
            self._machine.start(job, source, job.described.file_size if job.described else 0)
        except Exception as error:
            source.close()
            if not isinstance(error, CannotStart):
                _log.exception("Job %s couldn't be started.", job.id)
            trouble = str(error) if isinstance(error, CannotStart) else type(error).__name__
            failed = why("start_failed", copy=job.copy, trouble=trouble)
            self._leave(lambda: delivery.cancel_early(job, failed))

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
        delivery, job = self._of_print(job_id)
        self._changed(delivery.begin_part(job), None)

    def print_done(self, job_id: str) -> None:
        """The last line was sent."""
        delivery, job = self._of_print(job_id)
        self._leave(lambda: delivery.finish(job, self._seconds()))

    def print_ended(self, job_id: str, cancelled: bool) -> None:
        """The print was cancelled, or failed."""
        delivery, job = self._of_print(job_id)
        late = why("cancelled" if cancelled else "print_failed", copy=job.copy)
        early = why("cancelled_early" if cancelled else "failed_early", copy=job.copy)
        if not self._leave(lambda: delivery.fail(job, late, self._seconds())):
            self._leave(lambda: delivery.cancel_early(job, early))

    def _of_print(self, job_id: str) -> tuple[Delivery, Job]:
        if self._printing is None:
            raise WrongState(f"The job {job_id} isn't being printed.")
        return self._printing, self._journal.job(job_id)

    def _seconds(self) -> int:
        return int(time.monotonic() - self._started)
