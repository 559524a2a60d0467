"""What an operator says about a failed print. Its hash goes to the chain; the words stay with the printer,
to be shown when the owner asks."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

from imprimatur import canonical_json
from imprimatur.device.job import Job
from imprimatur.license_id import format_id

LONGEST_NOTE = 200
"""Characters."""


class Cause(StrEnum):
    """What went wrong, as far as the operator knows."""

    ADHESION = "adhesion"
    CLOGGED = "clogged"
    SHIFTED = "shifted"
    MATERIAL = "material"
    POWER = "power"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Statement:
    """Why a print failed; `note` is in the operator's own words.

    Raises:
        ValueError: the note is too long, or no text that can be written down.
    """

    cause: Cause
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.note) > LONGEST_NOTE:
            raise ValueError(f"A note has at most {LONGEST_NOTE} characters.")
        try:
            self.note.encode()
        except UnicodeEncodeError as error:
            raise ValueError("The note holds half of a character.") from error

    def about(self, job: Job) -> bytes:
        """The canonical JSON that is kept, and hashed to be the evidence."""
        return canonical_json.dumps(
            {
                "reason": self.cause.value,
                "note": self.note,
                "job": job.id,
                "copy": job.copy,
                "license": format_id(job.license_id),
            }
        )


def evidence_of(content: bytes) -> bytes:
    """The hash (32 bytes) that a failure report carries for what `Statement.about` wrote."""
    return hashlib.sha256(content).digest()


def read_statement(content: bytes) -> Statement:
    """The statement behind `Statement.about`'s bytes."""
    document = json.loads(content)
    return Statement(Cause(document["reason"]), document["note"])
