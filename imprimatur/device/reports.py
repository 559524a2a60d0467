"""Telling others how a print ended: failures to the chain, outcomes to the portal.

Both are queued in the commit of the step that they belong to, and tried again until they have arrived.
"""

import json
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from imprimatur.chain.signature_check import typed_data_digest
from imprimatur.chain.signers import Signer, SignerUnusable
from imprimatur.chain.typed_data import FAILURE, Failure, sign_failure
from imprimatur.device.carrying import LONG_POLL, POLL, Carrier, node_trouble, portal_trouble
from imprimatur.device.errors import PortalRefused
from imprimatur.device.job import Job
from imprimatur.device.journal import Also, Journal
from imprimatur.device.journal_rows import packed_failure, signed_failure
from imprimatur.device.messages import MOST_SECONDS, Ending, Outcome
from imprimatur.device.portal import Portal
from imprimatur.device.reasons import Reason, Waiting, why
from imprimatur.device.settling import Witness, is_closed, may_fail
from imprimatur.device.statement import Statement, evidence_of
from imprimatur.license_id import parse_id

LONGEST_PAUSE = 3600.0
"""Seconds between two tries to tell an outcome."""
_NEVER = ("malformed", "job_unknown", "outcome_known")
"""Codes of a portal that has read an outcome, and will never take it."""


class Reports:
    """The queued reports of one device.

    Args:
        lifetime: seconds for which a signed failure report can be carried to the chain.
        resend_after: seconds after which the same bytes are handed over once more.
    """

    def __init__(
        self,
        journal: Journal,
        signer: Signer,
        witness: Witness,
        carrier: Carrier,
        portal: Portal | None,
        clock: Callable[[], float],
        lifetime: int,
        resend_after: float,
    ) -> None:
        self._journal = journal
        self._signer = signer
        self._witness = witness
        self._carrier = carrier
        self._portal = portal
        self._clock = clock
        self._lifetime = lifetime
        self._resend_after = resend_after

    # --- queueing, within a step's commit ----------------------------------------------------------------

    def outcome(
        self,
        job: Job,
        ending: Ending,
        seconds: int | None = None,
        telemetry: bytes | None = None,
        reason: Reason | None = None,
    ) -> Also:
        """What queues the outcome of a job; the first one stays. Nothing without a portal."""
        if self._portal is None:
            return _nothing
        return outcome_of(job, ending, self._clock(), seconds, telemetry, reason)

    def failure(self, job: Job, evidence: bytes, statement: Statement | None = None) -> Also:
        """What queues the failure report of a job; the first one stays. A statement is kept beside it, and
        takes the place of the evidence."""
        content = None if statement is None else statement.about(job)
        evidence = evidence if content is None else evidence_of(content)

        def add(database: sqlite3.Connection) -> None:
            queued = database.execute(
                "INSERT INTO failure (job, evidence) VALUES (?, ?) ON CONFLICT (job) DO NOTHING",
                (job.id, evidence),
            ).rowcount
            if queued and content is not None and statement is not None:
                database.execute("INSERT INTO statement (job, content) VALUES (?, ?)", (job.id, content))
                _name_cause(database, job, statement.cause)

        return add

    # --- sending -----------------------------------------------------------------------------------------

    def send(self) -> bool:
        """Try once to send what is queued and due; whether nothing is queued any more."""
        due = "SELECT * FROM outcome WHERE ended IS NULL AND due <= ?"
        queued = "SELECT * FROM failure WHERE ended IS NULL"
        for send, rows in (
            (self._tell, self._journal.read(due, self._clock())),
            (self._carry, self._journal.read(queued)),
        ):
            for row in rows:
                # What can't be sent or signed now stays queued, and keeps nothing else back.
                with suppress(Waiting, SignerUnusable):
                    send(row)
        ((outcomes, failures),) = self._journal.read(
            "SELECT (SELECT count(*) FROM outcome WHERE ended IS NULL),"
            " (SELECT count(*) FROM failure WHERE ended IS NULL)"
        )
        # Without a portal there is nobody to tell an outcome: it stays queued until there is one.
        return not failures and (self._portal is None or not outcomes)

    def _tell(self, row: sqlite3.Row) -> None:
        if self._portal is None:
            return
        try:
            with portal_trouble():
                self._portal.report(_outcome(json.loads(row["document"])))
        except Waiting as waiting:
            self._put_off(row, waiting.retry_after)
        except PortalRefused as refused:
            # Only a portal that has read it ends it. A wrong clock, a disabled device, or an address that
            # isn't the portal's any more is put right one day.
            if refused.code in _NEVER:
                self._write("UPDATE outcome SET ended = ? WHERE job = ?", refused.code, row["job"])
            else:
                self._put_off(row, LONG_POLL)
        else:
            self._write("UPDATE outcome SET ended = 'told' WHERE job = ?", row["job"])

    def _put_off(self, row: sqlite3.Row, pause: float) -> None:
        """Tell an outcome later: each time twice as late, but not before `pause` seconds."""
        pause = max(pause, min(LONGEST_PAUSE, POLL * 2 ** min(row["tries"], 12)))
        self._write(
            "UPDATE outcome SET tries = tries + 1, due = ? WHERE job = ?", self._clock() + pause, row["job"]
        )

    def _carry(self, row: sqlite3.Row) -> None:
        """One step towards a final `PrintFailed`. Raises Waiting."""
        job = self._journal.job(row["job"])
        if not self._witness.knows(job):
            return
        assert job.copy is not None
        self._carrier.go_on()
        with node_trouble():
            # The state first: what it shows closed has its event by then.
            license = self._witness.licenses.license_of(job.license_id)
            settled = self._witness.final_license(job.license_id)
            event = self._witness.failure_of(job.license_id, job.copy, job.block or 0)
            is_final = event is not None and self._witness.is_final(event)
        if is_final:
            self._end(job, why("given_back", copy=job.copy))
        elif event is None and license is not None and may_fail(license, job.copy) is None:
            self._hand_over(job, row)
        elif event is None and settled is not None and (problem := may_fail(settled, job.copy)):
            # Closed without a report: the owner replaced the copy, or no failure is free.
            code = "replaced" if is_closed(settled, job.copy) else "dispute"
            self._end(job, why(code, copy=job.copy, detail=problem))

    def _hand_over(self, job: Job, row: sqlite3.Row) -> None:
        """Sign the report, again when its deadline has passed, and let it be carried. Raises Waiting."""
        assert job.copy is not None
        now = int(self._clock())
        signed = None if row["signed"] is None else signed_failure(json.loads(row["signed"]))
        sent_at = row["sent_at"]
        if signed is None or signed.message.deadline <= now:
            failure = Failure(job.license_id, job.copy, bytes(row["evidence"]), now + self._lifetime)
            signed = sign_failure(self._signer, self._witness.domain, failure)
            self._write(
                "UPDATE failure SET signed = ?, sent_at = NULL WHERE job = ?", packed_failure(signed), job.id
            )
            sent_at = None
        elif sent_at is not None and self._clock() - sent_at < self._resend_after:
            return
        digest = typed_data_digest(self._witness.domain, FAILURE, signed.message.values())
        self._carrier.carry_failure(signed, "0x" + digest.hex(), is_first=sent_at is None)
        self._write("UPDATE failure SET sent_at = ? WHERE job = ?", self._clock(), job.id)

    def _end(self, job: Job, reason: Reason) -> None:
        self._write("UPDATE failure SET ended = ? WHERE job = ?", reason.code, job.id)
        self._journal.note(job.id, reason)

    def _write(self, statement: str, *values: object) -> None:
        with self._journal.transaction() as database:
            database.execute(statement, values)


def outcome_of(
    job: Job,
    ending: Ending,
    now: float,
    seconds: int | None = None,
    telemetry: bytes | None = None,
    reason: Reason | None = None,
) -> Also:
    """What queues how a job ended, to be told to the portal; the first one stays."""

    def add(database: sqlite3.Connection) -> None:
        if job.copy is None:
            return
        text = None if reason is None else reason.code
        # A host's clock may have been set during the print.
        took = None if seconds is None else min(max(seconds, 0), MOST_SECONDS)
        outcome = Outcome(job.license_id, job.copy, ending, int(now), took, telemetry, text)
        database.execute(
            "INSERT INTO outcome (job, document, due) VALUES (?, ?, ?) ON CONFLICT (job) DO NOTHING",
            (job.id, json.dumps(outcome.to_document()), now),
        )

    return add


def _name_cause(database: sqlite3.Connection, job: Job, cause: str) -> None:
    """Put the operator's reason into the outcome, unless the portal knows that already."""
    rows = database.execute("SELECT document FROM outcome WHERE job = ? AND ended IS NULL", (job.id,))
    for (document,) in rows.fetchall():
        changed = json.dumps(json.loads(document) | {"reason": str(cause)})
        database.execute("UPDATE outcome SET document = ? WHERE job = ?", (changed, job.id))


def _nothing(database: sqlite3.Connection) -> None:
    """Queues nothing."""


def _outcome(document: dict[str, Any]) -> Outcome:
    """The outcome behind its JSON value."""
    telemetry = document["telemetry"]
    return Outcome(
        id=parse_id(document["id"]),
        copy=document["copy"],
        ending=Ending(document["outcome"]),
        ended_at=document["endedAt"],
        seconds=document["seconds"],
        telemetry=None if telemetry is None else bytes.fromhex(telemetry),
        reason=document["reason"],
    )
