"""What a device and a portal tell each other, as values. JSON: schema `device-api.v1`."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imprimatur.chain.typed_data import Failure, Signed, Use
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import format_id, parse_id

SCHEMA = "device-api.v1"
MAX_REASON = 200
"""Characters of an outcome's reason."""
MOST_SECONDS = 31_536_000
"""Of one print, as the schema has it: a year."""


class WrongSpelling(ImprimaturError):
    """A value of a portal fits the schema and still is none, such as an address with a wrong checksum."""


@dataclass(frozen=True, slots=True)
class PortalInfo:
    """A portal's contract and key desk. A device keeps what it was told when it enrolled.

    `contract` and `desk_address` are checksum addresses; `since` is the block of the contract's deployment.
    """

    chain_id: int
    contract: str
    since: int
    desk_url: str
    desk_address: str

    def to_document(self) -> dict[str, Any]:
        """The JSON value `portal`."""
        return {
            "version": 1,
            "chainId": self.chain_id,
            "contract": self.contract,
            "since": self.since,
            "deskUrl": self.desk_url,
            "deskAddress": self.desk_address,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "PortalInfo":
        """What stands in a `portal` that follows the schema.

        Raises:
            WrongSpelling: an address without its checksum.
        """
        return cls(
            chain_id=document["chainId"],
            contract=_address(document["contract"]),
            since=document["since"],
            desk_url=document["deskUrl"],
            desk_address=_address(document["deskAddress"]),
        )


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a portal answers to an accepted invitation. `printer` and `owner` are names, for people."""

    device: str
    wallet: str
    printer: str
    owner: str
    portal: PortalInfo

    def to_document(self) -> dict[str, Any]:
        """The JSON value `enrolled`."""
        return {
            "device": self.device,
            "wallet": self.wallet,
            "printer": self.printer,
            "owner": self.owner,
            "portal": self.portal.to_document(),
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Enrolment":
        """What stands in an `enrolled` that follows the schema. Raises WrongSpelling."""
        return cls(
            device=_address(document["device"]),
            wallet=_address(document["wallet"]),
            printer=shown(document["printer"]),
            owner=shown(document["owner"]),
            portal=PortalInfo.from_document(document["portal"]),
        )


class RelayState(StrEnum):
    """How far a portal has carried a signed message. Of a copy it decides nothing."""

    WAITING = "waiting"
    SENT = "sent"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Relayed:
    """A signed message on its way to the chain. `digest` is its EIP-712 digest (0x…), `reason` the name of
    the contract's error when it was refused."""

    digest: str
    state: RelayState
    reason: str | None = None
    transaction: str | None = None
    block: int | None = None

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Relayed":
        """What stands in a `relayed` that follows the schema."""
        reason = document["reason"]
        return cls(
            digest=document["digest"],
            state=RelayState(document["state"]),
            reason=None if reason is None else shown(reason),
            transaction=document["transaction"],
            block=document["block"],
        )


class Ending(StrEnum):
    """How a print ended."""

    FINISHED = "finished"
    FAILED = "failed"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the print of one copy ended, for its owner's records.

    `ended_at` is a Unix second, `seconds` how long it took, `telemetry` the SHA-256 (32 bytes) of what the
    machine recorded.
    """

    id: int
    copy: int
    ending: Ending
    ended_at: int
    seconds: int | None = None
    telemetry: bytes | None = None
    reason: str | None = None

    def to_document(self) -> dict[str, Any]:
        """The JSON value `outcome`. A reason is cut after MAX_REASON characters."""
        return {
            "id": format_id(self.id),
            "copy": self.copy,
            "outcome": self.ending.value,
            "endedAt": self.ended_at,
            "seconds": self.seconds,
            "telemetry": None if self.telemetry is None else self.telemetry.hex(),
            "reason": None if self.reason is None else self.reason[:MAX_REASON],
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Outcome":
        """What stands in an `outcome` that follows the schema."""
        telemetry = document.get("telemetry")
        return cls(
            id=parse_id(document["id"]),
            copy=document["copy"],
            ending=Ending(document["outcome"]),
            ended_at=document["endedAt"],
            seconds=document.get("seconds"),
            telemetry=None if telemetry is None else bytes.fromhex(telemetry),
            reason=document.get("reason"),
        )


def use_document(signed: Signed[Use]) -> dict[str, Any]:
    """The JSON value `use`."""
    use = signed.message
    return {
        "id": format_id(use.id),
        "fileHash": use.file_hash,
        "copy": use.copy,
        "keyRecipient": use.key_recipient.hex(),
        "encryptedSerial": use.encrypted_serial.hex(),
        "commitment": use.commitment.hex(),
        "deadline": use.deadline,
        "signature": _signature(signed),
    }


def failure_document(signed: Signed[Failure]) -> dict[str, Any]:
    """The JSON value `failure`."""
    failure = signed.message
    return {
        "id": format_id(failure.id),
        "copy": failure.copy,
        "evidence": failure.evidence.hex(),
        "deadline": failure.deadline,
        "signature": _signature(signed),
    }


def _signature(signed: Signed[Any]) -> str:
    return "0x" + signed.signature.r.hex() + signed.signature.vs.hex()


def shown(text: str) -> str:
    """A stranger's text as one line: without what doesn't show as a character of its own."""
    return "".join(character for character in text if character.isprintable()).strip()


def amount(value: float | None, most: float) -> float | None:
    """A stranger's number, or None when it can't be one: JSON readers take NaN and infinities."""
    return float(value) if value is not None and math.isfinite(value) and 0 < value <= most else None


def _address(text: str) -> str:
    from eth_utils.address import is_checksum_address

    if not is_checksum_address(text):
        raise WrongSpelling(f"the address {text} has no or a wrong checksum")
    return text
