"""A license that a portal offers to a device: its signed manifest, and facts that nobody vouches for."""

from dataclasses import dataclass
from typing import Any

from imprimatur import canonical_json, schemas
from imprimatur.device.messages import SCHEMA, amount, shown
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import InvalidLicenseNumber, number_from_text, number_of, parse_id
from imprimatur.manifest.document import Manifest, ManifestInvalid
from imprimatur.manifest.signature import SignedManifest

MOST_GRAMS = 1e6
MOST_MILLIMETERS = 1e9
THICKEST_LAYER = 100.0
"""Millimeters."""


class OfferInvalid(ImprimaturError):
    """An entry of a portal's list can't be an offer. Its text fits behind "License …: "."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A license of the device's wallet, as a portal tells.

    Nothing of it is proven: `imprimatur.manifest.verification.verify_manifest` checks `signed`, and how many
    copies are left is asked of the chain. `number` is the text whose hash is part of the id, or empty when
    the portal gave another one.
    """

    id: int
    number: str
    owner: str
    remaining: int | None
    filament_grams: float | None
    filament_millimeters: float | None
    layer_height: float | None
    """Millimeters."""
    signed: SignedManifest

    @property
    def manifest(self) -> Manifest:
        return self.signed.manifest


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry of a portal's list that isn't offered, and why. `id` is None when even that can't be read."""

    id: int | None
    reason: str


def read_offer(entry: Any) -> Offer:
    """The offer in an entry (`job`) of the list.

    Raises:
        OfferInvalid: it doesn't follow the schema, its manifest isn't one, or is that of another license.
    """
    if problem := schemas.problem_in(entry, SCHEMA, "job"):
        raise OfferInvalid(f"the entry isn't valid at {problem}")
    id = parse_id(entry["id"])
    try:
        signed = SignedManifest.from_bytes(canonical_json.dumps(entry["manifest"]))
    except (canonical_json.NotCanonical, ManifestInvalid) as error:
        raise OfferInvalid(str(error)) from error
    if signed.manifest.id != id:
        raise OfferInvalid("its manifest is that of another license")
    return Offer(
        id=id,
        number=_number(entry["number"], id),
        owner=shown(entry["owner"]),
        remaining=entry["remaining"],
        filament_grams=amount(entry.get("filamentGrams"), MOST_GRAMS),
        filament_millimeters=amount(entry.get("filamentMillimeters"), MOST_MILLIMETERS),
        layer_height=amount(entry.get("layerHeight"), THICKEST_LAYER),
        signed=signed,
    )


def id_in(entry: Any) -> int | None:
    """Id of an entry that isn't an offer, if it can be read."""
    try:
        return parse_id(entry["id"])
    except (TypeError, KeyError, AttributeError, InvalidLicenseNumber):
        return None


def _number(text: str, id: int) -> str:
    """A number is shown as the owner's only if it is."""
    try:
        return text if number_from_text(text) == number_of(id) else ""
    except InvalidLicenseNumber:
        return ""
