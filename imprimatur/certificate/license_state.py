"""A license's word in the contract's storage: where it is, and what its bits say.

Layout of the word: `contracts/types/LicenseState.sol`. Place of the word: Solidity's rule for mappings.
"""

from dataclasses import dataclass
from enum import Enum

from imprimatur.chain.keccak import keccak256
from imprimatur.chain.orders import FOR_EVER, Terms

LICENSES_SLOT = 6
"""Storage slot of `PrintLicense._licenses`; a test compares it with the compiled contract's behavior."""
WINDOW = 16
"""Copies that the word remembers failures of."""


class Outcome(Enum):
    """What a license's word says about one of its copies."""

    NOT_FAILED = "not failed"
    """Neither reported as failed nor replaced."""
    NEVER_REPORTED = "never reported"
    """No copy of the license was reported as failed; the owner may have replaced this one."""
    CLOSED = "failed or closed"
    """Reported as failed, replaced by the owner, or closed by a transfer: the word doesn't say which."""
    UNKNOWN = "unknown"
    """Older than the window, and some copy failed: another proof would be needed."""


@dataclass(frozen=True, slots=True)
class LicenseState:
    """A license as it stands in storage; fields as in `LicenseState.sol`. `printer` has 20 bytes."""

    printer: bytes
    valid_until: int
    flags: int
    remaining: int
    used: int
    failed_window: int
    failures_allowed: int
    failed: int

    @property
    def revoked(self) -> bool:
        return Terms.REVOKED in Terms(self.flags)

    @property
    def expires(self) -> bool:
        return self.valid_until != FOR_EVER

    def outcome_of(self, copy: int) -> Outcome:
        """What is known of a consumed copy."""
        age = self.used - copy
        if age < WINDOW and not self.failed_window >> age & 1:
            return Outcome.NOT_FAILED
        if not self.failed:
            return Outcome.NEVER_REPORTED
        return Outcome.CLOSED if age < WINDOW else Outcome.UNKNOWN


def storage_slot(id: int) -> bytes:
    """Slot (32 bytes) of a license's word; its key in the trie is the hash of this."""
    return keccak256(id.to_bytes(32, "big") + LICENSES_SLOT.to_bytes(32, "big"))


def unpack(word: int) -> LicenseState:
    """The fields of a license's word."""

    def bits(start: int, width: int) -> int:
        return word >> start & (1 << width) - 1

    return LicenseState(
        printer=bits(0, 160).to_bytes(20, "big"),
        valid_until=bits(160, 32),
        flags=bits(192, 4),
        remaining=bits(196, 16),
        used=bits(212, 16),
        failed_window=bits(228, 16),
        failures_allowed=bits(244, 6),
        failed=bits(250, 6),
    )
