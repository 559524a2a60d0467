"""What an owner orders, and the terms and rights she can give."""

from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from imprimatur.license_id import license_id

FOR_EVER = 0
"""`valid_until` of a license that doesn't expire."""


class Terms(IntFlag):
    """Flags of a license. An order may hold all but REVOKED, which the contract sets."""

    NONE = 0
    TRANSFERABLE = 1
    REVOCABLE = 2
    TRUSTED_DEVICE = 4
    REVOKED = 8


class Right(IntFlag):
    """What an owner may let an operator do."""

    NONE = 0
    ISSUE = 1
    GRANT = 2
    APPROVE_FILE = 4
    REVOKE = 8


@dataclass(frozen=True, slots=True)
class Order:
    """What an owner orders; fields as in `IPrintLicense.Order`. Times are Unix seconds."""

    owner: str
    number: int
    printer: str
    file_hash: str
    copies: int
    deadline: int
    valid_until: int = FOR_EVER
    flags: int = 0
    failures_allowed: int = 0
    manifest_hash: bytes = bytes(32)

    @property
    def id(self) -> int:
        """Id of the license that this order makes."""
        return license_id(self.owner, self.number)

    def values(self) -> dict[str, Any]:
        """The order as the contract's struct, and as the EIP-712 message of the same fields."""
        return {
            "owner": self.owner,
            "number": self.number,
            "printer": self.printer,
            "fileHash": file_hash_to_int(self.file_hash),
            "copies": self.copies,
            "validUntil": self.valid_until,
            "flags": int(self.flags),
            "failuresAllowed": self.failures_allowed,
            "manifestHash": self.manifest_hash,
            "deadline": self.deadline,
        }


def file_hash_to_int(file_hash: str) -> int:
    """The contract's uint256 of a hexadecimal SHA-256."""
    if len(file_hash) != 64:
        raise ValueError(f"A SHA-256 has 64 hexadecimal digits, not {len(file_hash)}.")
    return int(file_hash, 16)
