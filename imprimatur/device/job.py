"""One licensed print as the printer's journal has it."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from imprimatur.chain.typed_data import Signed, Use
from imprimatur.device.reasons import Reason
from imprimatur.manifest.document import Manifest, Sealing
from imprimatur.manifest.signature import SignedManifest
from imprimatur.serials.tag_key import TagKey


class State(StrEnum):
    """Where a job stands."""

    PICKED = "PICKED"
    DOWNLOADED = "DOWNLOADED"
    VERIFIED = "VERIFIED"
    """All that costs nothing was checked; or a signature came to nothing and another one may be made."""
    SIGNED = "SIGNED"
    SENT = "SENT"
    CONSUMED = "CONSUMED"
    """Our event is final: the copy is paid."""
    KEYED = "KEYED"
    """The wrapped file key is in the journal."""
    ARMED = "ARMED"
    """Heating up: nothing of the part is made."""
    PRINTING = "PRINTING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    ABANDONED = "ABANDONED"


UNPAID = (State.PICKED, State.DOWNLOADED, State.VERIFIED)
"""No signature lives: nothing can be consumed."""
UNSETTLED = (State.SIGNED, State.SENT)
"""Signed bytes exist: only the chain knows whether a copy was consumed."""
PAID = (State.CONSUMED, State.KEYED)
FINAL = (State.FINISHED, State.FAILED, State.ABANDONED)


@dataclass(frozen=True, slots=True)
class Job:
    """One row. Times are Unix seconds; `file_hash` is the hexadecimal SHA-256 of the plain file."""

    id: str
    license_id: int
    chain_id: int
    contract: str
    file_hash: str
    state: State
    name: str
    """Of the file."""
    number: str
    owner: str
    user: str | None
    """Who picked it."""
    copies: int
    """Copies of the license, used ones included, when it was picked."""
    copy: int | None
    """Number of the copy of the newest signature."""
    wanted: int | None
    """The only copy that may be consumed, when the operator confirmed one."""
    file: str | None
    """Path of the operator's own file, for licenses without a sealed one."""
    manifest: bytes | None = field(repr=False)
    """Signed, as the portal gave it."""
    is_sealed: bool
    """The file comes sealed, and its key from a desk."""
    reason: Reason | None
    withdrawn: bool
    """The operator doesn't want it any more: nothing is signed anew."""
    paid_at: float | None
    """When our event was seen to be final."""
    transaction: str | None
    """Where our event stands, as are `block` and `block_hash`."""
    block: int | None
    block_hash: str | None
    created: float
    updated: float
    dismissed: bool

    @property
    def described(self) -> Manifest | None:
        """What the manifest says."""
        return None if self.manifest is None else _read(self.manifest).manifest

    @property
    def sealing(self) -> Sealing | None:
        """The sealed file, if there is one."""
        return None if self.described is None or not self.is_sealed else self.described.sealing

    @property
    def resting(self) -> State:
        """The state in which its copy is paid and waits to be printed."""
        return State.KEYED if self.is_sealed else State.CONSUMED

    @property
    def is_ready(self) -> bool:
        """Whether it can be printed, which costs nothing more."""
        return self.state is self.resting

    @property
    def is_over(self) -> bool:
        return self.state in FINAL


@lru_cache(maxsize=32)
def _read(manifest: bytes) -> SignedManifest:
    """Its schema costs milliseconds on a printer's board, and lists of jobs are read often."""
    return SignedManifest.from_bytes(manifest)


@dataclass(frozen=True, slots=True)
class UseSignature:
    """The signed use of one copy, and the secrets that belong to it. Neither repr nor str show them.

    `since` is a block before which the use can't have happened, `digest` the EIP-712 digest (0x…).
    """

    signed: Signed[Use]
    digest: str
    job_key: bytes = field(repr=False)
    tag_key: TagKey
    serial: str = field(repr=False)
    since: int
    sent_at: float | None = None
    """When somebody last took the bytes."""
    wrapped_key: bytes | None = field(default=None, repr=False)
    """The file key for `job_key`."""

    @property
    def use(self) -> Use:
        return self.signed.message
