"""What the portal states about the file of a license, under the operator's signature."""

import json
import unicodedata

from app.models import License
from imprimatur.chain.signers import Signer
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import parse_id
from imprimatur.manifest.document import MAX_THUMBNAIL, Manifest, ManifestInvalid, Sealing, Thumbnail
from imprimatur.manifest.signature import SignedManifest, sign_manifest
from imprimatur.plain_text import is_plain

_NOBODY = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"


class NotSealed(ImprimaturError):
    """The design was stored by a version of the portal that didn't seal files."""

    def __init__(self, file_name: str) -> None:
        super().__init__(
            f"{file_name} isn't sealed yet: an earlier version of the portal stored it. "
            "Upload the file again, or let the portal's operator run `flask seal-files`."
        )
        self.file_name = file_name


def signed_for(license: License, chain_id: int, contract: str, signer: Signer) -> SignedManifest | None:
    """A signed manifest for the license; None when the one that it has is of this contract and signer.

    Another signer states what was stated before, so that its hash stays what an order may already carry.

    Raises:
        NotSealed: there is no sealed file to state.
        ManifestInvalid: a value can't stand in a manifest.
    """
    if license.signed_manifest is not None:
        there = json.loads(license.signed_manifest)
        place = there["manifest"]["license"]
        if (place["chainId"], place["contract"]) == (chain_id, contract):
            if there["signer"] == signer.address:
                return None
            return sign_manifest(SignedManifest.from_bytes(license.signed_manifest).manifest, signer)
    return sign_manifest(manifest_of(license, chain_id, contract), signer)


def manifest_of(license: License, chain_id: int, contract: str) -> Manifest:
    """What the portal knows about the license's file. Raises NotSealed."""
    design, owner = license.design, license.owner
    if design.sealed_size is None or design.sealed_sha256 is None or design.key_commitment is None:
        raise NotSealed(design.file_name)
    picture = design.thumbnail_png
    return Manifest(
        chain_id=chain_id,
        contract=contract,
        id=parse_id(license.id),
        file_name=design.file_name,
        file_size=design.size,
        file_hash=license.file_hash,
        sealing=Sealing(design.sealed_sha256, design.sealed_size, design.key_commitment),
        log_recipient=bytes.fromhex(owner.log_recipient) if owner.log_recipient else None,
        material=_plain(design.material),
        print_seconds=design.print_time_s,
        thumbnail=Thumbnail("image/png", picture) if picture and len(picture) <= MAX_THUMBNAIL else None,
    )


def name_problem(file_name: str) -> str | None:
    """Why a file of this name can't stand in a manifest; None when it can."""
    try:
        Manifest(1, _NOBODY, 1, file_name, 1, "0" * 64).to_bytes()
    except ManifestInvalid as error:
        return f"{file_name!r} can't be a file's name on every system. Give it another one. ({error})"
    return None


def _plain(text: str | None) -> str | None:
    """A text from the file itself, or nothing when a manifest can't hold it."""
    tidy = unicodedata.normalize("NFC", text or "").strip()
    return tidy if tidy and is_plain(tidy) else None
