"""The way of a job to a copy that can be printed, one step at a time. Nothing here sleeps.

Keys and signed bytes are on disk before anybody sees them, retries send the same bytes, and only our own
`LicenseUsed` in a final block says that a copy was consumed.
"""

from collections.abc import Callable

from imprimatur.chain.outbox.ledger import Checkpoint
from imprimatur.chain.signers import Signer, SignerUnusable
from imprimatur.device.carrying import LONG_POLL, POLL, Carrier, node_trouble
from imprimatur.device.files import Files
from imprimatur.device.job import UNPAID, Job, State, UseSignature
from imprimatur.device.journal import Journal
from imprimatur.device.keying import Keying
from imprimatur.device.reasons import Reason, Refused, Waiting, Withheld, why
from imprimatur.device.sealed_cache import Progress
from imprimatur.device.settling import Fate, Witness
from imprimatur.device.using import sign_copy
from imprimatur.device.verifying import require_usable, verify

MOST_SIGNATURES = 3
"""Uses that are signed for one job, one after the other."""


class Preparation:
    """The steps of one device's jobs.

    Args:
        serial: makes the serial of a part.
        lifetime: seconds for which a signed use can be carried to the chain.
        resend_after: seconds after which the same bytes are handed over once more.
        checkpoint: told between the steps; tests crash there.
    """

    def __init__(
        self,
        journal: Journal,
        signer: Signer,
        witness: Witness,
        carrier: Carrier,
        files: Files,
        keying: Keying,
        serial: Callable[[], str],
        lifetime: int,
        resend_after: float,
        clock: Callable[[], float],
        checkpoint: Checkpoint,
    ) -> None:
        self._journal = journal
        self._signer = signer
        self._witness = witness
        self._carrier = carrier
        self._files = files
        self._keying = keying
        self._serial = serial
        self._lifetime = lifetime
        self._resend_after = resend_after
        self._clock = clock
        self._checkpoint = checkpoint

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
        job = self._journal.job(job.id)
        if job.is_ready or job.is_over:
            return job
        try:
            if not self._witness.knows(job):
                raise Waiting(why("other_contract"), LONG_POLL)
            match job.state:
                case State.PICKED:
                    return self._download(job, progress)
                case State.DOWNLOADED:
                    return self._verify(job)
                case State.VERIFIED:
                    return self._sign(job)
                case State.SIGNED:
                    return self._send(job)
                case State.SENT:
                    return self._settle(job)
                case State.CONSUMED:
                    return self._ask_for_key(job)
            return job
        except Refused as refused:
            if job.state in UNPAID:
                self.abandon(job, refused.reason)
            raise
        except Waiting as waiting:
            self._journal.note(job.id, waiting.reason, job.state)
            raise
        except SignerUnusable as error:
            reason = why("signer_unusable", trouble=str(error))
            self._journal.note(job.id, reason, job.state)
            raise Waiting(reason, LONG_POLL) from error

    def abandon(self, job: Job, reason: Reason) -> Job:
        """Nothing is paid, and nothing will be."""
        job = self._journal.step(job.id, job.state, State.ABANDONED, reason)
        self._files.sweep()
        return job

    def _download(self, job: Job, progress: Progress | None) -> Job:
        self._files.fetch(job, progress)
        self._checkpoint("fetched")
        job = self._journal.step(job.id, State.PICKED, State.DOWNLOADED)
        self._checkpoint("downloaded")
        return job

    def _verify(self, job: Job) -> Job:
        self._files.check(job)
        verify(job, self._witness.licenses, self._witness.device)
        job = self._journal.step(job.id, State.DOWNLOADED, State.VERIFIED)
        self._checkpoint("verified")
        return job

    def _sign(self, job: Job) -> Job:
        if job.withdrawn:
            raise Refused(why("withdrawn"))
        if (times := self._journal.signatures_made(job.id)) >= MOST_SIGNATURES:
            raise Refused(why("not_consumed", times=times))
        license = require_usable(self._witness.licenses, job.license_id, job.file_hash, self._witness.device)
        copy = license.used + 1
        if job.wanted not in (None, copy):
            raise Refused(why("copy_changed", copy=job.wanted))
        with node_trouble():
            view = self._witness.look()
        recipient = None if job.described is None else job.described.log_recipient
        deadline = max(int(self._clock()), view.timestamp) + self._lifetime
        signature = sign_copy(
            self._signer, self._witness.domain, job.license_id, job.file_hash, copy, deadline, self._serial(),
            recipient, view.head,
        )  # fmt: skip
        self._checkpoint("made")
        job = self._journal.sign(job, signature)
        self._checkpoint("signed")
        return job

    def _send(self, job: Job) -> Job:
        signature = self._journal.signature(job.id)
        try:
            self._hand_over(job, signature)
        except Waiting:
            # It may have been taken before a crash, or by the relay in spite of what it says.
            with node_trouble():
                if self._witness.fate_of(signature.use, signature.since).fate is Fate.OPEN:
                    raise
        self._checkpoint("handed over")
        job = self._journal.step(job.id, State.SIGNED, State.SENT, why("settling", copy=job.copy))
        self._checkpoint("sent")
        return job

    def _hand_over(self, job: Job, signature: UseSignature) -> None:
        """Let the signed bytes be carried. Raises Waiting."""
        if job.withdrawn:
            raise Waiting(why("withdrawing", copy=job.copy), POLL)
        self._carrier.carry_use(signature, self._witness.device)

    def _settle(self, job: Job) -> Job:
        signature = self._journal.signature(job.id)
        self._carrier.go_on()
        with node_trouble():
            finding = self._witness.fate_of(signature.use, signature.since)
        self._checkpoint("looked")
        copy = signature.use.copy
        match finding.fate:
            case Fate.CONSUMED:
                assert finding.event is not None
                return self._consumed(job, finding.event.transaction_hash, finding.event.block_number,
                                      finding.event.block_hash)  # fmt: skip
            case Fate.INCLUDED:
                block = finding.event.block_number if finding.event else None
                raise Waiting(why("not_final", copy=copy, block=block, final=finding.final), POLL)
            case Fate.OPEN:
                if self._clock() - (signature.sent_at or 0) >= self._resend_after:
                    self._hand_over(job, signature)
                raise Waiting(
                    job.reason if job.withdrawn and job.reason else why("settling", copy=copy), POLL
                )
            case Fate.RACED:
                return self._give_up(job, signature, why("raced", copy=copy))
            case Fate.EXPIRED:
                return self._give_up(job, signature, why("signature_expired", copy=copy))
        return self._give_up(job, signature, self._closed_reason(job))

    def _consumed(self, job: Job, transaction: str, block: int, block_hash: str) -> Job:
        reason = None if job.is_sealed else why("ready", copy=job.copy)
        job = self._journal.step(
            job.id, State.SENT, State.CONSUMED, reason,
            paid_at=self._clock(), transaction=transaction, block=block, block_hash=block_hash,
        )  # fmt: skip
        self._checkpoint("consumed")
        return job

    def _closed_reason(self, job: Job) -> Reason:
        with node_trouble():
            license = self._witness.licenses.license_of(job.license_id)
        expired = license is not None and license.is_expired(self._clock())
        return why("expired" if expired else "revoked")

    def _give_up(self, job: Job, signature: UseSignature, reason: Reason) -> Job:
        """A final block shows that the signed use can't happen any more: nothing was paid with it."""
        job = self._journal.bury(job, signature, reason, State.VERIFIED)
        self._checkpoint("buried")
        return job

    def _ask_for_key(self, job: Job) -> Job:
        signature = self._journal.signature(job.id)
        try:
            return self._keying.ask(job, signature)
        except (Waiting, Withheld):
            with node_trouble():
                finding = self._witness.fate_of(signature.use, signature.since)
            if finding.fate not in (Fate.CONSUMED, Fate.INCLUDED):
                # A chain that lost a final block: the same bytes again, as long as they can happen.
                return self._journal.step(
                    job.id, State.CONSUMED, State.SENT, why("lost_by_chain", copy=job.copy)
                )
            raise
