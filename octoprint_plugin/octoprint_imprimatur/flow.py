"""One licensed print from the click to the last line, and what follows from a crash anywhere between.

PICKED → DOWNLOADED → VERIFIED → SIGNED → SENT → CONSUMED → ARMED → PRINTING → FINISHED | FAILED | ABANDONED.
Every arrow is on disk before the next thing happens. Signed bytes are on disk before they are sent, retries
send the same bytes, and only our own `LicenseUsed` event says that a copy was consumed.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from octoprint_imprimatur.connection import Connection, node_trouble
from octoprint_imprimatur.download import fetch, verify
from octoprint_imprimatur.journal import UNPAID, UNSETTLED, Job, Journal, State, WrongState
from octoprint_imprimatur.messages import Message, Refused
from octoprint_imprimatur.settlement import Outcome, settle, sign_use

_log = logging.getLogger("octoprint.plugins.imprimatur.flow")


class CannotStart(Exception):
    """The printer didn't take the file; `str` says why."""


class Machine(Protocol):
    """The printer, as far as a licensed print needs it."""

    def ready(self) -> bool:
        """Connected and idle."""

    def start(self, job: Job, source: BinaryIO) -> None:
        """Print the bytes of `source`, which the machine closes in the end.

        Raises:
            CannotStart: nothing was sent.
        """


class Flow:
    """Runs licensed jobs, one at a time.

    Args:
        connect: opens chain and portal, or raises `Refused`.
        changed: called with a job and the progress of its step (0 to 1, or None) whenever it moves.
        patience: seconds to wait for a transaction before the operator is told that it takes longer.
    """

    def __init__(
        self,
        journal: Journal,
        connect: Callable[[], Connection],
        machine: Machine,
        folder: Path,
        changed: Callable[[Job, float | None], None],
        patience: float = 60.0,
        poll: float = 0.2,
    ) -> None:
        self._journal = journal
        self._connect = connect
        self._machine = machine
        self._folder = folder
        self._changed = changed
        self._patience = patience
        self._poll = poll
        self._slot = threading.Lock()
        self._settling = threading.Lock()
        self.active: str | None = None
        """Id of the job that is being prepared."""

    # Beginning ---------------------------------------------------------------------------------------------

    def begin(
        self,
        license_id: int,
        *,
        name: str = "",
        number: str = "",
        copy: int | None = None,
        user: str | None = None,
    ) -> Job:
        """Pick a license and prepare its print in the background.

        Args:
            copy: number of the copy that the operator confirmed; None for the next one.

        Raises:
            Refused: with the reason; nothing happened.
        """
        if not self._slot.acquire(blocking=False):
            raise Refused("busy")
        try:
            job = self._pick(license_id, name, number, copy, user)
        except BaseException:
            self._slot.release()
            raise
        self._run(job, self._consume_and_print)
        return job

    def resume(self, job_id: str) -> Job:
        """Print a copy that is paid and waits. Consumes nothing.

        Raises:
            Refused: with the reason; nothing happened.
        """
        if not self._slot.acquire(blocking=False):
            raise Refused("busy")
        try:
            try:
                job = self._journal.job(job_id)
            except KeyError as error:
                raise Refused("unknown_job") from error
            if job.state is not State.CONSUMED:
                raise Refused("not_waiting")
            if not self._machine.ready():
                raise Refused("printer_not_ready")
        except BaseException:
            self._slot.release()
            raise
        self._run(job, self._print_again)
        return job

    def _pick(self, license_id: int, name: str, number: str, copy: int | None, user: str | None) -> Job:
        if self._journal.in_states(*UNSETTLED):
            raise Refused("unsettled")
        for waiting in self._journal.in_states(State.CONSUMED):
            if waiting.license_id == license_id:
                raise Refused("copy_waiting", copy=waiting.copy)
        if not self._machine.ready():
            raise Refused("printer_not_ready")
        connection = self._connect()
        try:
            license = connection.licenses.license_of(license_id)
        except (NodeUnreachable, NodeRefused) as error:
            raise node_trouble(error) from error
        if license is None:
            raise Refused("unknown_license")
        if license.printer != connection.signer.address:
            raise Refused("other_printer")
        if license.is_expired(time.time()):
            raise Refused("expired")
        if license.remaining == 0:
            raise Refused("no_copies_left")
        if copy is not None and copy != license.used + 1:
            raise Refused("copy_changed", copy=copy)
        return self._journal.pick(
            license_id,
            name=name,
            number=number,
            file_hash=license.file_hash,
            chain_id=connection.address.chain_id,
            contract=connection.address.contract,
            copies=license.remaining + license.used,
            user=user,
        )

    def _run(self, job: Job, work: Callable[[Job], None]) -> None:
        """Do `work` in a thread of its own, which holds the slot that the caller has taken."""
        self.active = job.id
        self._changed(job, None)

        def run() -> None:
            try:
                work(job)
            except Exception:
                _log.exception("Job %s stopped unexpectedly.", job.id)
                self._stop_unexpectedly(job.id)
            finally:
                self.active = None
                self._slot.release()
                self._changed(self._journal.job(job.id), None)

        threading.Thread(target=run, name="imprimatur-flow", daemon=True).start()

    def _stop_unexpectedly(self, job_id: str) -> None:
        job = self._journal.job(job_id)
        if job.state in UNPAID:
            self._move(job, State.ABANDONED, Message("internal"))
        else:
            self._journal.note(job.id, Message("internal"))

    def _move(self, job: Job, after: State, message: Message | None = None, **columns: Any) -> Job:
        job = self._journal.step(job.id, job.state, after, message, **columns)
        self._changed(job, None)
        return job

    # Preparing ---------------------------------------------------------------------------------------------

    def _consume_and_print(self, job: Job) -> None:
        try:
            connection = self._connect()
            source = self._fetch(connection, job)
        except Refused as error:
            self._move(job, State.ABANDONED, error.message)
            return
        handed_over = False
        try:
            job = self._move(job, State.DOWNLOADED)
            try:
                verify(source, job)
            except Refused as error:
                self._move(job, State.ABANDONED, error.message)
                return
            job = self._move(job, State.VERIFIED)
            job = self._consume(connection, job)
            if job.state is State.CONSUMED:
                handed_over = self._print(job, source)
        finally:
            if not handed_over:
                source.close()

    def _print_again(self, job: Job) -> None:
        try:
            source = self._fetch(self._connect(), job)
            verify(source, job)
        except Refused as error:
            self._journal.note(
                job.id, Message("waiting_download", {"copy": job.copy, "reason": error.message})
            )
            return
        if not self._print(job, source):
            source.close()

    def _fetch(self, connection: Connection, job: Job) -> BinaryIO:
        return fetch(connection.portal, job, self._folder, lambda done: self._changed(job, done))

    def _consume(self, connection: Connection, job: Job) -> Job:
        """Consume one copy; the job afterwards: CONSUMED, ABANDONED, or still unsettled."""
        if not self._machine.ready():
            return self._move(job, State.ABANDONED, Message("printer_not_ready"))
        try:
            signed = sign_use(connection, job)
        except Refused as error:
            return self._move(job, State.ABANDONED, error.message)
        job = self._move(job, State.SIGNED, nonce=signed.nonce, raw=signed.raw, transaction=signed.hash)
        deadline = time.monotonic() + self._patience
        while True:
            job = self._settle(connection, job)
            if job.state not in UNSETTLED:
                return job
            if time.monotonic() > deadline:
                self._changed(self._journal.note(job.id, Message("settling")), None)
                return self._journal.job(job.id)
            time.sleep(self._poll)

    def _settle(self, connection: Connection, job: Job) -> Job:
        """Send the signed bytes (again) and look what became of them."""
        with self._settling:
            job = self._journal.job(job.id)
            if job.state not in UNSETTLED:
                return job
            result = settle(connection, job)
            if job.state is State.SIGNED and result.sent:
                job = self._move(job, State.SENT)
            if result.outcome is Outcome.CONSUMED:
                if job.state is State.SIGNED:
                    job = self._move(job, State.SENT)
                return self._move(
                    job, State.CONSUMED, Message("paid", {"copy": result.copy}), copy=result.copy
                )
            if result.outcome is Outcome.NOTHING:
                return self._move(job, State.ABANDONED, Message("not_consumed"))
            if result.outcome is Outcome.OVERTAKEN:
                return self._move(job, State.ABANDONED, Message("overtaken"))
            return job

    def _print(self, job: Job, source: BinaryIO) -> bool:
        """Start the print; whether the machine took the bytes. A paid copy isn't lost when it didn't."""
        job = self._move(job, State.ARMED)
        try:
            self._machine.start(job, source)
        except Exception as error:
            if not isinstance(error, CannotStart):
                _log.exception("Job %s couldn't be started.", job.id)
            reason = str(error) if isinstance(error, CannotStart) else type(error).__name__
            failed = Message("start_failed", {"copy": job.copy, "reason": reason})
            self._leave(job.id, State.ARMED, State.CONSUMED, failed)
            return False
        return True

    def _leave(self, job_id: str, before: State, after: State, message: Message | None) -> bool:
        """Take a step that somebody else may have taken first; whether it was us."""
        try:
            self._changed(self._journal.step(job_id, before, after, message), None)
        except WrongState:
            return False
        return True

    # Printing ----------------------------------------------------------------------------------------------

    def part_begins(self, job_id: str) -> None:
        """The next line feeds material: the copy is used from here on. On disk when this returns.

        Raises:
            WrongState: the job isn't armed; the line must not leave.
        """
        self._changed(self._journal.step(job_id, State.ARMED, State.PRINTING), None)

    def print_done(self, job_id: str) -> None:
        """The last line was sent."""
        done = Message("finished", {"copy": self._journal.job(job_id).copy})
        # A file that feeds no material has never become PRINTING; its copy is used all the same.
        if not self._leave(job_id, State.PRINTING, State.FINISHED, done):
            self._leave(job_id, State.ARMED, State.FINISHED, done)

    def print_ended(self, job_id: str, cancelled: bool) -> None:
        """The print was cancelled, or failed."""
        copy = {"copy": self._journal.job(job_id).copy}
        late = Message("cancelled" if cancelled else "print_failed", copy)
        early = Message("cancelled_early" if cancelled else "failed_early", copy)
        if not self._leave(job_id, State.PRINTING, State.FAILED, late):
            self._leave(job_id, State.ARMED, State.CONSUMED, early)

    # After a restart ---------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Bring what the last run left behind into order. Starts nothing; needs no network."""
        for job in self._journal.in_states(*UNPAID):
            self._move(job, State.ABANDONED, Message("stopped_before_paying"))
        for job in self._journal.in_states(State.ARMED):
            self._move(job, State.CONSUMED, Message("stopped_before_printing", {"copy": job.copy}))
        for job in self._journal.in_states(State.PRINTING):
            self._move(job, State.FAILED, Message("interrupted", {"copy": job.copy}))

    def settle_open(self) -> bool:
        """Look once what became of signed transactions that aren't settled; whether all are now."""
        for job in self._journal.in_states(*UNSETTLED):
            if job.id == self.active:
                continue
            try:
                connection = self._connect()
            except Refused as error:
                _log.info("Job %s can't be settled yet: %s", job.id, error)
                return False
            if (connection.address.chain_id, connection.address.contract.lower()) != (
                job.chain_id,
                job.contract.lower(),
            ):
                _log.warning("Job %s belongs to another contract than the one in the settings.", job.id)
                return False
            self._settle(connection, job)
        return not self._journal.in_states(*UNSETTLED)
