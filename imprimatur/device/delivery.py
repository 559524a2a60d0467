"""One licensed print from the pick to the last line, and what follows from a crash anywhere between.

PICKED → DOWNLOADED → VERIFIED → SIGNED → SENT → CONSUMED → KEYED → ARMED → PRINTING → FINISHED | FAILED, or
ABANDONED while nothing is paid. Every arrow is on disk before the next thing happens. Keys and signed bytes
are on disk before anybody sees them, retries send the same bytes, and only our own `LicenseUsed` in a final
block says that a copy was consumed.
"""

import sqlite3
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from imprimatur.chain.outbox import Finality, Rules
from imprimatur.chain.outbox.ledger import Checkpoint, no_checkpoint
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.signers import Signer
from imprimatur.device.carrying import Carrier
from imprimatur.device.desk import Desk
from imprimatur.device.files import Files
from imprimatur.device.job import PAID, UNPAID, UNSETTLED, Job, State
from imprimatur.device.journal import Journal, WrongState
from imprimatur.device.keying import Keying
from imprimatur.device.messages import Ending
from imprimatur.device.offers import Offer
from imprimatur.device.picking import pick
from imprimatur.device.portal import Portal
from imprimatur.device.preparing import Preparation
from imprimatur.device.reasons import Reason, Refused, Waiting, why
from imprimatur.device.recovering import recover
from imprimatur.device.reports import Reports
from imprimatur.device.sealed_cache import Progress
from imprimatur.device.settling import Witness
from imprimatur.device.statement import Statement
from imprimatur.serials.tag import Tag
from imprimatur.serials.text import generate

LIFETIME = 3600
"""Seconds for which a signed message can be carried to the chain."""
RESEND_AFTER = 60.0
"""Seconds after which the same bytes are handed over once more, and to the payer too."""
WITHHELD_AFTER = 600.0
"""Seconds after its use was final that a desk may take to release a key."""


class Delivery:
    """Licensed prints of one device. One object serves all threads.

    Nothing here sleeps: `advance` takes a step or raises `Waiting`, and the host comes back.

    Args:
        journal: what survives.
        signer: the device's key: the printer wallet itself, or bound to it.
        licenses: the contract to believe, searched from the block of its deployment.
        chain_id: of the chain that it is on.
        portal: where files come from and who relays; None for an operator's own files.
        desk: who releases file keys.
        folder: for sealed files, and nothing else.
        finality: when a block counts.
        payer: an account with coins that submits what the relay doesn't take.
        serial: makes the serial of a part.
        checkpoint: told between the steps; tests crash there.
    """

    def __init__(
        self,
        journal: Journal,
        signer: Signer,
        licenses: PrintLicense,
        chain_id: int,
        portal: Portal | None,
        desk: Desk | None,
        folder: Path,
        finality: Finality,
        payer: Signer | None = None,
        *,
        serial: Callable[[], str] = generate,
        lifetime: int = LIFETIME,
        resend_after: float = RESEND_AFTER,
        withheld_after: float = WITHHELD_AFTER,
        clock: Callable[[], float] = time.time,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        self.journal = journal
        self._portal = portal
        self._folder = folder
        self._clock = clock
        self._checkpoint = checkpoint
        self._witness = Witness(licenses, chain_id, signer.address, finality)
        self._files = Files(journal, portal, folder)
        rules = Rules.for_chain(chain_id, finality)
        carrier = Carrier(journal, licenses, portal, payer, rules, clock)
        self._keying = Keying(journal, self._witness, desk, withheld_after, clock, checkpoint)
        self._preparation = Preparation(
            journal, signer, self._witness, carrier, self._files, self._keying, serial, lifetime,
            resend_after, clock, checkpoint,
        )  # fmt: skip
        self._reports = Reports(
            journal, signer, self._witness, carrier, portal, clock, lifetime, resend_after
        )

    # --- towards a paid copy -----------------------------------------------------------------------------

    def pick(
        self,
        license_id: int,
        *,
        offer: Offer | None = None,
        file: Path | None = None,
        copy: int | None = None,
        name: str = "",
        number: str = "",
        user: str | None = None,
    ) -> Job:
        """A new job for a license. Nothing is promised, and nothing is paid.

        Args:
            offer: the portal's, when it is at hand; else it is looked for in the portal's list.
            file: the operator's own, for a license without a sealed one.
            copy: the copy that the operator confirmed; no other is consumed. None for the next one.

        Raises:
            Refused, Waiting
        """
        job = pick(
            self.journal,
            self._witness,
            self._portal,
            license_id,
            offer=offer,
            file=file,
            copy=copy,
            name=name,
            number=number,
            user=user,
        )
        self._checkpoint("picked")
        return job

    def advance(self, job: Job, progress: Progress | None = None) -> Job:
        """Take the next step towards a copy that can be printed (`Job.is_ready`); the job after it.

        A job that is ready, printing or over stays as it is.

        Args:
            progress: told how much of a download is there, in bytes.

        Raises:
            Waiting: the step can't be taken yet. Call again.
            Refused: the job ended ABANDONED; nothing was paid.
            Withheld: the copy is paid, and the desk gives no key.
            WrongState: another thread moved the job meanwhile.
        """
        return self._preparation.advance(job, progress)

    def run(
        self,
        job: Job,
        patience: float,
        progress: Progress | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Job:
        """Advance until the job can be printed or is over.

        Raises:
            Waiting: it wouldn't be within `patience` seconds.
            Refused, Withheld: as `advance`.
        """
        until = time.monotonic() + patience
        while not (job.is_ready or job.is_over or job.state in (State.ARMED, State.PRINTING)):
            try:
                job = self.advance(job, progress)
            except WrongState:
                job = self.journal.job(job.id)
            except Waiting as waiting:
                if time.monotonic() + waiting.retry_after > until:
                    raise
                sleep(waiting.retry_after)
        return job

    def withdraw(self, job: Job) -> Job:
        """The operator doesn't want a job that isn't paid. What is signed may still be consumed: only the
        chain decides, and `settle_open` finds out.

        Raises:
            WrongState: it is paid, or over.
        """
        while (job := self.journal.job(job.id)).state in (*UNPAID, *UNSETTLED):
            # Another thread may move it meanwhile: look again.
            with suppress(WrongState):
                if job.state in UNPAID:
                    return self._preparation.abandon(job, why("withdrawn"))
                return self.journal.withdraw(job.id, why("withdrawing", copy=job.copy))
        raise WrongState(f"The job {job.id} is {job.state}: there is nothing to withdraw.")

    # --- printing ----------------------------------------------------------------------------------------

    def open(self, job: Job, progress: Progress | None = None) -> BinaryIO:
        """The plain bytes of a job that is ready, to be read once from start to end and then closed.

        A first pass has read, decrypted and hashed all of them: they are the licensed file. Plain bytes of a
        sealed file are never on disk; those of an operator's own file are compared with the first pass.

        Raises:
            WrongState: the copy isn't paid.
            Waiting: the sealed file had to be fetched again, and couldn't be; or the operator's own isn't the
                licensed one any more.
            Refused: what was sealed isn't the licensed file: the job is FAILED, and the failure is reported.
        """
        job = self.journal.job(job.id)
        if not (job.is_ready or job.state is State.ARMED):
            raise WrongState(f"The job {job.id} is {job.state}: it can't be printed.")
        try:
            key = self._keying.file_key(job, self.journal.signature(job.id)) if job.is_sealed else None
            return self._files.open(job, key, progress)
        except Refused as refused:
            if job.is_sealed and refused.reason.code == "wrong_content":
                self._fail(job, job.state, refused.reason, evidence=bytes(32))
            raise

    def arm(self, job: Job) -> Job:
        """Heating up begins. Raises WrongState when the job isn't ready."""
        return self.journal.step(job.id, job.resting, State.ARMED)

    def begin_part(self, job: Job) -> Job:
        """The next line makes material flow: the permit burns. On disk when this returns.

        Raises:
            WrongState: the job isn't armed; the line must not leave.
        """
        return self.journal.step(job.id, State.ARMED, State.PRINTING)

    def cancel_early(self, job: Job, reason: Reason | None = None) -> Job:
        """The print ended before the part began: the same copy can be printed, which costs nothing more.

        Raises:
            WrongState: the job isn't armed.
        """
        reason = reason or why("cancelled_early", copy=self.journal.job(job.id).copy)
        return self.journal.step(job.id, State.ARMED, job.resting, reason)

    def finish(self, job: Job, seconds: int | None = None, telemetry: bytes | None = None) -> Job:
        """The last line was sent.

        Args:
            seconds: duration of the print.
            telemetry: SHA-256 (32 bytes) of what the machine recorded.

        Raises:
            WrongState: the job isn't printed.
        """
        job = self.journal.job(job.id)
        # A file that feeds no material has never become PRINTING; its copy is used all the same.
        before = State.ARMED if job.state is State.ARMED else State.PRINTING
        report = self._reports.outcome(job, Ending.FINISHED, seconds, telemetry)
        job = self.journal.step(job.id, before, State.FINISHED, why("finished", copy=job.copy), report)
        self._checkpoint("finished")
        self._files.sweep()
        return job

    def fail(self, job: Job, reason: Reason | None = None, seconds: int | None = None) -> Job:
        """The print failed while the part was being made. Raises WrongState when it wasn't."""
        job = self.journal.job(job.id)
        return self._fail(job, State.PRINTING, reason or why("print_failed", copy=job.copy), seconds)

    def _fail(
        self,
        job: Job,
        before: State,
        reason: Reason,
        seconds: int | None = None,
        evidence: bytes | None = None,
        statement: Statement | None = None,
    ) -> Job:
        """The job is FAILED; with `evidence` its failure is reported to the chain too."""
        # A part that was never begun hasn't failed.
        ending = Ending.FAILED if before is State.PRINTING else Ending.ABANDONED
        queued = [self._reports.outcome(job, ending, seconds, None, reason)]
        if evidence is not None:
            queued.append(self._reports.failure(job, evidence, statement))

        def queue(database: sqlite3.Connection) -> None:
            for add in queued:
                add(database)

        job = self.journal.step(job.id, before, State.FAILED, reason, queue)
        self._checkpoint("failed")
        self._files.sweep()
        return job

    # --- afterwards --------------------------------------------------------------------------------------

    def tag(self, job: Job) -> Tag:
        """What the part's tag says, its secret key included. Raises WrongState before the copy is paid."""
        job = self.journal.job(job.id)
        if job.paid_at is None or job.copy is None:
            raise WrongState(f"The job {job.id} is {job.state}: its part doesn't exist.")
        signature = self.journal.signature(job.id)
        return Tag(job.license_id, job.copy, signature.serial, signature.tag_key.address, signature.tag_key)

    def report_failure(
        self, job: Job, evidence: bytes = bytes(32), statement: Statement | None = None
    ) -> Job:
        """Report the copy of a failed print, or of one whose key is withheld, so that it is given back.

        The report is queued and tried at once; `settle_open` tries again. The job's key is never asked for
        any more.

        Args:
            evidence: a hash (32 bytes) of what shows the failure, or zeros.
            statement: what the operator says about it: kept in the journal, its hash is the evidence. The
                portal is told its reason too, unless it knows of another one already.

        Raises:
            WrongState: the copy isn't paid, or its print isn't over.
        """
        job = self.journal.job(job.id)
        reason = why("failure_pending", copy=job.copy)
        if job.state in PAID:
            self._fail(job, job.state, reason, evidence=evidence, statement=statement)
        elif job.state is State.FAILED:
            report = self._reports.failure(job, evidence, statement)
            self.journal.step(job.id, State.FAILED, State.FAILED, reason, report)
        else:
            raise WrongState(f"The job {job.id} is {job.state}: no failure can be reported.")
        self._reports.send()
        return self.journal.job(job.id)

    def settle_open(self, active: Collection[str] = ()) -> bool:
        """Look once after everything that was signed or queued; whether nothing is open any more.

        Starts nothing: a job whose signature came to nothing ends ABANDONED instead of being signed anew.

        Args:
            active: ids of jobs that are advanced elsewhere.
        """
        for job in self.journal.in_states(*UNSETTLED):
            if job.id in active:
                continue
            try:
                job = self.advance(job)
            except (Waiting, WrongState):
                continue
            if job.state is State.VERIFIED:
                times = self.journal.signatures_made(job.id)
                self._preparation.abandon(
                    job, why("withdrawn") if job.withdrawn else why("not_consumed", times=times)
                )
        reported = self._reports.send()
        return reported and not self.journal.in_states(*UNSETTLED)

    def recover(self) -> None:
        """Bring what the last run left behind into order (`recovering.recover`). Starts nothing; needs no
        network."""
        recover(self.journal, self._folder, self._clock)
