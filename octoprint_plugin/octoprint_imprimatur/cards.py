"""The cards of the list: one license each, as the chain has it, with what the portal tells if that fits."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imprimatur.chain.print_license import License, Terms
from imprimatur.device import Offer
from imprimatur.license_id import format_id, owner_of
from octoprint_imprimatur.messages import Message

FilesOf = Callable[[str], list[str]]
"""Paths of OctoPrint's files with this SHA-256."""
SEALED, OWN_FILE = "sealed", "own_file"


class CardState(StrEnum):
    """What can be done with a license. Only READY ones can be printed."""

    READY = "ready"
    NOT_YET_ON_CHAIN = "not_yet_on_chain"
    EXPIRED = "expired"
    REVOKED = "revoked"
    USED_UP = "used_up"
    NOT_TRUSTED = "not_trusted"
    UNTOLD = "untold"
    """Valid, but nobody delivers its file."""


ENDED = (CardState.EXPIRED, CardState.REVOKED, CardState.USED_UP)
_REASONS = {
    CardState.NOT_YET_ON_CHAIN: "not_yet_on_chain",
    CardState.EXPIRED: "expired",
    CardState.REVOKED: "revoked",
    CardState.USED_UP: "no_copies_left",
    CardState.NOT_TRUSTED: "device_not_trusted",
    CardState.UNTOLD: "untold",
}


def state_of(license: License, refused: str | None, now: float) -> CardState:
    """What the chain says about a license of this printer.

    Args:
        refused: name of the contract's error when this printer asked for a copy; None when it would get one.
    """
    if license.has(Terms.REVOKED):
        return CardState.REVOKED
    if license.is_expired(now) or refused == "LicenseExpired":
        return CardState.EXPIRED
    if license.remaining == 0:
        return CardState.USED_UP
    return CardState.NOT_TRUSTED if refused == "DeviceNotTrusted" else CardState.READY


@dataclass(frozen=True, slots=True)
class Card:
    """One license. `license` is None while only the portal speaks of it, `offer` when the portal doesn't, or
    describes another file. `state` is the chain's; `needs_file` says that no portal delivers the file."""

    id: int
    license: License | None
    offer: Offer | None
    problem: Message | None
    state: CardState
    needs_file: bool
    """Without a portal every file is the operator's own."""

    @property
    def file_hash(self) -> str:
        """SHA-256 of the file to print: one that was approved for the license, when the portal offers it."""
        if self.offer is not None:
            return self.offer.manifest.file_hash
        return "" if self.license is None else self.license.file_hash

    @property
    def is_sealed(self) -> bool:
        return self.offer is not None and self.offer.manifest.sealing is not None

    def as_json(self, files_of: FilesOf) -> dict[str, Any]:
        """For pages."""
        license, offer = self.license, self.offer
        files = [] if self.is_sealed or not self.file_hash else files_of(self.file_hash)
        state = self.state
        if state is CardState.READY and offer is None and not self.needs_file and not files:
            state = CardState.UNTOLD
        reason = None if state is CardState.READY else Message(_REASONS[state])
        return {
            "id": format_id(self.id),
            "owner": owner_of(self.id),
            "state": state.value,
            "reason": reason and reason.as_json(),
            "kind": OWN_FILE if not self.is_sealed and state is not CardState.UNTOLD else SEALED,
            "files": [{"path": path, "name": path.rpartition("/")[2]} for path in files],
            "remaining": license and license.remaining,
            "copies": license and license.remaining + license.used,
            "next_copy": license and license.used + 1,
            "valid_until": (license.valid_until or None) if license else None,
            "file_hash": self.file_hash,
            "problem": self.problem and self.problem.as_json(),
            "number": offer.number if offer else "",
            "owner_name": offer.owner if offer else "",
            "terms": self._terms(),
            **_told(offer),
        }

    def _terms(self) -> dict[str, Any]:
        license, manifest = self.license, self.offer.manifest if self.offer else None
        left = max(0, license.failures_allowed - license.failed) if license else None
        return {
            "failures_left": left,
            "valid_until": (license.valid_until or None) if license else None,
            "license_text": manifest and manifest.license_text_hash,
            "site": manifest and manifest.site,
        }


def _told(offer: Offer | None) -> dict[str, Any]:
    """The file as its manifest describes it."""
    manifest = offer.manifest if offer else None
    picture = manifest.thumbnail if manifest else None
    return {
        "name": manifest.file_name if manifest else "",
        "size": manifest.file_size if manifest else None,
        "material": manifest.material if manifest else None,
        "print_time": manifest.print_seconds if manifest else None,
        "filament": offer.filament_grams if offer else None,
        "layer_height": offer.layer_height if offer else None,
        "thumbnail": picture and f"data:{picture.media_type};base64,{b64encode(picture.data).decode()}",
    }
