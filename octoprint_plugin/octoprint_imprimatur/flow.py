"""Licensed jobs of this printer: what operators want of them, and what goes on in the background.

What a job is, what it costs and what survives a crash is the library's (`imprimatur.device.delivery`); who
has the printer is the runner's. After a restart paid copies get their keys, and nothing starts by itself.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imprimatur.chain import node
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from imprimatur.chain.signers import Signer
from imprimatur.device.delivery import Delivery
from imprimatur.device.job import PAID, UNPAID, UNSETTLED, Job, State
from imprimatur.device.journal import Journal, WrongState
from imprimatur.device.offers import Offer
from imprimatur.device.reasons import Refused as JobRefused
from imprimatur.device.reasons import Waiting, Withheld
from imprimatur.device.recovering import recover
from imprimatur.device.statement import Statement
from octoprint_imprimatur.connection import Connection
from octoprint_imprimatur.messages import Message, Refused
from octoprint_imprimatur.runner import Runner
from octoprint_imprimatur.telling import Changed, safely

WITHDRAWABLE = UNPAID + UNSETTLED
WITHHELD_PAUSE = 60.0
"""Seconds after which a desk that withholds a key is asked once more."""
_SETTLED_FAILURES = ("failure_pending", "given_back", "dispute", "replaced", "wrong_content")
"""Reasons of failed jobs whose failure is reported already."""
_log = logging.getLogger("octoprint.plugins.imprimatur.flow")


class Flow:
    """What operators may want of licensed jobs, and what goes on without them.

    Args:
        connect: the way to chain, portal and desk by the settings of now, or `Refused`; asks nobody anything.
        folder: for sealed files.
        clock: Unix seconds.
        steady: seconds that only go forward.
    """

    def __init__(
        self,
        journal: Journal,
        connect: Callable[[], Connection],
        runner: Runner,
        folder: Path,
        changed: Changed,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._connect = connect
        self._runner = runner
        self._folder = folder
        self._changed = safely(changed)
        self._clock = clock
        self._steady = steady
        self._recovering = threading.Lock()
        self._recovered = False
        self._due: dict[str, float] = {}

    def recover(self) -> None:
        """Put in order what the last run left behind, once: before anything else, whatever network and
        settings are like. Starts no print.

        Raises:
            OSError, sqlite3.Error: the disk doesn't help; nothing else can be done before it does.
        """
        with self._recovering:
            if not self._recovered:
                recover(self._journal, self._folder, self._clock)
                self._recovered = True

    # What operators want -----------------------------------------------------------------------------------

    def begin(
        self,
        license_id: int,
        *,
        offer: Offer | None = None,
        file: Path | None = None,
        copy: int | None = None,
        user: str | None = None,
    ) -> Job:
        """Pick a license and prepare its print in the background.

        Args:
            offer: what the portal says about it, when that is at hand.
            file: the operator's own, for a license without a sealed one.
            copy: number of the copy that the operator confirmed; None for the next one.

        Raises:
            Refused: with the reason; nothing happened.
        """
        with self._taken():
            for waiting in self._journal.in_states(*PAID):
                if waiting.license_id == license_id:
                    raise Refused("copy_waiting", copy=waiting.copy)
            connection = self._connect()
            connection.require_chain()
            delivery = self._delivery(connection, _payer(connection))
            try:
                job = delivery.pick(license_id, offer=offer, file=file, copy=copy, user=user)
            except JobRefused as error:
                raise Refused(error.reason.code, **error.reason.facts) from error
            except Waiting as error:
                raise Refused("not_begun", reason=Message(error.reason.code, error.reason.facts)) from error
            self._runner.run(delivery, job)
        return job

    def resume(self, job_id: str) -> Job:
        """Print a copy that is paid and waits. Consumes nothing.

        Raises:
            Refused: with the reason; nothing happened.
        """
        with self._taken():
            job = self._job(job_id)
            if not job.is_ready:
                raise Refused("not_waiting")
            self._runner.run(self._delivery(self._connect()), job)
        return job

    def withdraw(self, job_id: str) -> Job:
        """Give up a job that isn't paid. What is signed may still be consumed: the chain decides.

        Raises:
            Refused: not_withdrawable, unknown_job, disk_trouble, or the connection's reasons.
        """
        with _disk_helps():
            self.recover()
            job = self._job(job_id)
            try:
                job = self._delivery(self._connect()).withdraw(job)
            except WrongState as error:
                raise Refused("not_withdrawable") from error
        self._runner.wake()
        self._changed(job, None)
        return job

    def report_failure(self, job_id: str, statement: Statement | None = None) -> Job:
        """Report that the copy of a job failed, so that its license gives it back.

        Args:
            statement: what the operator says about it.

        Raises:
            Refused: not_reportable, unknown_job, disk_trouble, or the connection's reasons.
        """
        with _disk_helps():
            self.recover()
            job = self._job(job_id)
            if not is_reportable(job):
                raise Refused("not_reportable")
            connection = self._connect()
            try:
                job = self._delivery(connection, _payer(connection)).report_failure(job, statement=statement)
            except WrongState as error:
                raise Refused("not_reportable") from error
        self._runner.wake()
        self._changed(job, None)
        return job

    @contextmanager
    def _taken(self) -> Iterator[None]:
        """The printer, for a job of this run: what was left behind is in order, and the disk helps. Raises
        Refused."""
        try:
            self.recover()
            with self._runner.taken():
                yield
        except (OSError, sqlite3.Error) as error:
            raise Refused("not_begun", reason=Message("disk_trouble", {"trouble": str(error)})) from error

    def _job(self, job_id: str) -> Job:
        try:
            return self._journal.job(job_id)
        except KeyError as error:
            raise Refused("unknown_job") from error

    def _delivery(self, connection: Connection, payer: Signer | None = None) -> Delivery:
        return Delivery(
            self._journal,
            connection.signer,
            connection.licenses,
            connection.address.chain_id,
            connection.portal,
            connection.desk,
            self._folder,
            connection.finality,
            payer,
            clock=self._clock,
        )

    # In the background -------------------------------------------------------------------------------------

    def continue_open(self) -> None:
        """Look once after what is signed, paid or to be reported, and isn't being prepared. Starts no print.

        Raises:
            Refused: there is no connection by the settings of now.
            OSError, sqlite3.Error: the disk doesn't help.
        """
        self.recover()
        self._runner.settle()
        connection = self._connect()
        pays = self._journal.in_states(*UNSETTLED) or self._is_reporting()
        delivery = self._delivery(connection, _payer(connection) if pays else None)
        before = {job.id: job for job in self._journal.recent()}
        # What the runner's thread advances is signed anew there, when a copy went to another printer.
        active = self._runner.active
        delivery.settle_open(() if active is None else (active,))
        for job in self._journal.in_states(State.VERIFIED, State.CONSUMED):
            if job.id != self._runner.active and self._steady() >= self._due.get(job.id, 0.0):
                self._due[job.id] = self._steady() + _pause_after(delivery, job)
        for job in self._journal.recent():
            if job != before.get(job.id):
                self._changed(job, None)

    def _is_reporting(self) -> bool:
        failed = self._journal.in_states(State.FAILED)
        return any(job.reason is not None and job.reason.code == "failure_pending" for job in failed)


@contextmanager
def _disk_helps() -> Iterator[None]:
    """Where a wish is written down. Raises Refused."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise Refused("disk_trouble", trouble=str(error)) from error


def _pause_after(delivery: Delivery, job: Job) -> float:
    """Seconds until a job that nobody prepares is looked at again, after a look at it."""
    try:
        if job.state is State.VERIFIED:
            # A use that came to nothing while nobody waited for it isn't signed anew.
            delivery.withdraw(job)
        else:
            delivery.advance(job)
    except Waiting as waiting:
        return waiting.retry_after
    except Withheld:
        return WITHHELD_PAUSE
    except (JobRefused, WrongState) as error:
        _log.debug("Job %s stays as it is: %s", job.id, error)
    return 0.0


def is_reportable(job: Job) -> bool:
    """Whether the failure of a job's copy can be reported to the chain."""
    code = job.reason.code if job.reason else ""
    if job.state in PAID:
        return code == "withheld"
    return job.state is State.FAILED and job.copy is not None and code not in _SETTLED_FAILURES


def _payer(connection: Connection) -> Signer | None:
    """The printer's own account, when it has coins: it submits what the portal doesn't carry."""
    try:
        return connection.signer if node.balance(connection.rpc, connection.signer.address) else None
    except (NodeUnreachable, NodeRefused):
        return None
