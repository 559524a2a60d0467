"""A job as pages see it."""

from typing import Any

from imprimatur.device.job import Job
from imprimatur.device.statement import Statement
from imprimatur.license_id import format_id
from octoprint_imprimatur.cards import OWN_FILE, SEALED
from octoprint_imprimatur.flow import WITHDRAWABLE
from octoprint_imprimatur.messages import message_of

STEPS = {
    SEALED: ["download", "verify", "consume", "final", "key", "print"],
    OWN_FILE: ["verify", "consume", "final", "print"],
}


def job_json(
    job: Job,
    progress: float | None = None,
    active: bool = False,
    reportable: bool = False,
    statement: Statement | None = None,
) -> dict[str, Any]:
    """The job.

    Args:
        progress: of its step from 0 to 1, where it is known.
        active: it is being prepared.
        reportable: its failure can be reported.
        statement: what an operator said about its failure.
    """
    message = message_of(job.reason)
    kind = SEALED if job.is_sealed else OWN_FILE
    return {
        "id": job.id,
        "license_id": format_id(job.license_id),
        "kind": kind,
        "steps": STEPS[kind],
        "name": job.name,
        "number": job.number,
        "owner_name": job.owner,
        "file_hash": job.file_hash,
        "state": job.state.value,
        "copy": job.copy,
        "copies": job.copies,
        "transaction": job.transaction,
        "message": message and message.as_json(),
        "progress": progress,
        "active": active,
        "ready": job.is_ready and not active,
        "underway": active or not (job.is_over or job.is_ready),
        "withdrawable": job.state in WITHDRAWABLE and not job.withdrawn,
        "reportable": reportable,
        "failure": statement and {"reason": statement.cause.value, "note": statement.note},
        "final": job.is_over,
        "dismissed": job.dismissed,
        "created": job.created,
        "updated": job.updated,
    }
