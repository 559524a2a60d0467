"""The file key of a paid copy: asked of the desk, kept wrapped, opened in memory only."""

from collections.abc import Callable

from imprimatur.chain.outbox.ledger import Checkpoint
from imprimatur.device.carrying import LONG_POLL, POLL, node_trouble
from imprimatur.device.desk import Desk, DeskAnswer
from imprimatur.device.errors import PortalBusy, PortalError, PortalUnreachable
from imprimatur.device.job import Job, UseSignature
from imprimatur.device.journal import Journal
from imprimatur.device.reasons import Reason, Waiting, Withheld, why
from imprimatur.device.settling import Witness, may_fail
from imprimatur.key_answer import AnswerInvalid, Question
from imprimatur.sealing import SealedFileUnusable, key_commitment, unwrap_key

WRONG_KEY = "wrong_key"
"""Beside the desk's own refusals: it signed a key that isn't the committed one."""
SOON = 5
"""Tries in a row without a proper answer that follow each other quickly: most are one broken connection."""


class Keying:
    """Asks `desk` for keys.

    Args:
        withheld_after: seconds after its use was final for which a copy's key is waited for.
    """

    def __init__(
        self,
        journal: Journal,
        witness: Witness,
        desk: Desk | None,
        withheld_after: float,
        clock: Callable[[], float],
        checkpoint: Checkpoint,
    ) -> None:
        self._journal = journal
        self._witness = witness
        self._desk = desk
        self._withheld_after = withheld_after
        self._clock = clock
        self._checkpoint = checkpoint
        self._misses: dict[str, int] = {}
        """Tries in a row without a proper answer, by job."""

    def ask(self, job: Job, signature: UseSignature) -> Job:
        """CONSUMED → KEYED.

        Raises:
            Waiting: the desk isn't ready, or doesn't answer.
            Withheld: it refuses for good, gave a wrong key, or takes too long.
        """
        use = signature.use
        question = Question(job.chain_id, job.contract, use.id, use.copy, use.key_recipient)
        try:
            given = self._ask(job.id, question)
        except Waiting as trouble:
            raise self._late(job, "no_answer", trouble) from trouble
        self._checkpoint("answered")
        answer = given.answer
        if answer.refusal is not None:
            self._journal.keep_evidence(job.id, answer.refusal.value, given.signed)
            if not answer.refusal.is_temporary:
                raise self._withheld(job, answer.refusal.value, is_final=True)
            reason = why("key_pending", copy=job.copy, refusal=answer.refusal.value)
            waiting = Waiting(reason, given.retry_after or POLL)
            raise self._late(job, answer.refusal.value, waiting)
        wrapped = answer.wrapped_key or b""
        if self._opened(job, signature, wrapped) is None:
            self._journal.keep_evidence(job.id, WRONG_KEY, given.signed)
            raise self._withheld(job, WRONG_KEY, is_final=False)
        job = self._journal.keep_key(job, signature, wrapped, why("ready", copy=job.copy))
        self._checkpoint("keyed")
        return job

    def file_key(self, job: Job, signature: UseSignature) -> bytes:
        """The file key of a job that is KEYED or later (32 bytes): for memory only."""
        key = self._opened(job, signature, signature.wrapped_key or b"")
        if key is None:
            raise ValueError(f"The journal's key of the job {job.id} is damaged.")
        return key

    def _ask(self, job_id: str, question: Question) -> DeskAnswer:
        """Raises Waiting."""
        if self._desk is None:
            reason = why("desk_unreachable", copy=question.copy, trouble="no key desk is set up")
            raise Waiting(reason, LONG_POLL)
        try:
            given = self._desk.ask(question)
        except (PortalError, AnswerInvalid) as error:
            misses = self._misses[job_id] = self._misses.get(job_id, 0) + 1
            torn = isinstance(error, PortalUnreachable | AnswerInvalid) and misses <= SOON
            asked = error.retry_after if isinstance(error, PortalBusy) else None
            pause = asked or (POLL if torn else LONG_POLL)
            reason = why("desk_unreachable", copy=question.copy, trouble=str(error))
            raise Waiting(reason, pause) from error
        self._misses.pop(job_id, None)
        return given

    @staticmethod
    def _opened(job: Job, signature: UseSignature, wrapped: bytes) -> bytes | None:
        """The file key, when it is the one that the manifest commits to."""
        assert job.sealing is not None
        try:
            key = unwrap_key(wrapped, signature.job_key)
        except SealedFileUnusable:
            return None
        return key if key_commitment(key) == job.sealing.key_commitment else None

    def _late(self, job: Job, refusal: str, waiting: Waiting) -> Waiting | Withheld:
        """What a wait has become: too long, perhaps."""
        if self._clock() - (job.paid_at or 0) <= self._withheld_after:
            return waiting
        return self._withheld(job, refusal, is_final=False)

    def _withheld(self, job: Job, refusal: str, is_final: bool) -> Withheld:
        reason = self._withheld_reason(job, refusal)
        self._journal.note(job.id, reason, job.state)
        return Withheld(reason, is_final)

    def _withheld_reason(self, job: Job, refusal: str) -> Reason:
        with node_trouble():
            license = self._witness.licenses.license_of(job.license_id)
        can_report = license is not None and may_fail(license, job.copy or 0) is None
        return why("withheld" if can_report else "withheld_dispute", copy=job.copy, refusal=refusal)
