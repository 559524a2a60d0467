"""What a manifest says, and its canonical bytes.

Only one spelling is read (`imprimatur.canonical_json`), so the SHA-256 of the bytes is the SHA-256 of what
they say. That hash is the `manifestHash` of an order: a manifest names its license and holds nothing that is
known only afterwards. Schema: `imprimatur/schemas/manifest.v1.json`.
"""

import base64
import binascii
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from imprimatur import canonical_json, schemas
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import format_id, parse_id
from imprimatur.plain_text import is_plain
from imprimatur.sealing.keys import InvalidKey, check_public_key

VERSION = 1
SCHEMA = "manifest.v1"
MAX_SIZE = 128 * 1024
"""Bytes of a manifest, signed or not."""
MAX_THUMBNAIL = 48 * 1024
"""Bytes of a picture."""

MAX_FILE_NAME = 255
"""Bytes of a file's name in UTF-8: what file systems take."""

_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(?:\..*)?", re.IGNORECASE
)
"""Names that are devices on Windows, whatever ending follows."""
_MAGIC = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}


class ManifestInvalid(ImprimaturError):
    """The bytes are no manifest, or the values can't stand in one."""


@dataclass(frozen=True, slots=True)
class Sealing:
    """The sealed form of the file. `sha256` is that of the ciphertext and `size` its bytes;
    `key_commitment` is the SHA-256 of the file key (raw 32 bytes). Both hashes are hexadecimal."""

    sha256: str
    size: int
    key_commitment: str


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture: `media_type` is image/png or image/jpeg, `data` has at most MAX_THUMBNAIL bytes."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an owner states about the file of one license. Hashes are hexadecimal SHA-256.

    `contract` is the PrintLicense (checksum address) on the chain `chain_id`. `log_recipient` is the owner's
    X25519 public key (raw 32 bytes) for serials. Values are checked when the bytes are made.
    """

    chain_id: int
    contract: str
    id: int
    file_name: str
    file_size: int
    file_hash: str
    sealing: Sealing | None = None
    log_recipient: bytes | None = None
    license_text_hash: str | None = None
    material: str | None = None
    site: str | None = None
    print_seconds: int | None = None
    layers: int | None = None
    thumbnail: Thumbnail | None = None

    @property
    def hash(self) -> bytes:
        """SHA-256 of the canonical bytes: what an order's `manifest_hash` is. Raises ManifestInvalid."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """The canonical bytes.

        Raises:
            ManifestInvalid: a value is out of bounds; names it.
        """
        return written(self.to_document())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """The manifest behind canonical bytes.

        Raises:
            ManifestInvalid: with the reason.
        """
        manifest = cls.from_document(read_canonical(data))
        require_same(manifest.to_bytes(), data)
        return manifest

    def to_document(self) -> dict[str, Any]:
        """The JSON value. Raises ManifestInvalid."""
        document: dict[str, Any] = {
            "version": VERSION,
            "license": {"chainId": self.chain_id, "contract": self.contract, "id": format_id(self.id)},
            "file": {"name": self.file_name, "size": self.file_size, "sha256": self.file_hash},
        }
        if (sealing := self.sealing) is not None:
            document["sealing"] = {
                "size": sealing.size,
                "sha256": sealing.sha256,
                "keyCommitment": sealing.key_commitment,
            }
        if self.log_recipient is not None:
            document["logRecipient"] = self.log_recipient.hex()
        if self.license_text_hash is not None:
            document["licenseText"] = self.license_text_hash
        about = {
            "layers": self.layers,
            "material": self.material,
            "seconds": self.print_seconds,
            "site": self.site,
        }
        if given := {name: value for name, value in about.items() if value is not None}:
            document["print"] = given
        if self.thumbnail is not None:
            data = base64.b64encode(self.thumbnail.data).decode()
            document["thumbnail"] = {"mediaType": self.thumbnail.media_type, "data": data}
        _check(document)
        return document

    @classmethod
    def from_document(cls, document: Any) -> "Manifest":
        """The manifest behind a JSON value.

        Raises:
            ManifestInvalid: with the reason.
        """
        _check(document)
        license, file, about = document["license"], document["file"], document.get("print", {})
        sealing, picture = document.get("sealing"), document.get("thumbnail")
        recipient = document.get("logRecipient")
        return cls(
            chain_id=license["chainId"],
            contract=license["contract"],
            id=parse_id(license["id"]),
            file_name=file["name"],
            file_size=file["size"],
            file_hash=file["sha256"],
            sealing=sealing and Sealing(sealing["sha256"], sealing["size"], sealing["keyCommitment"]),
            log_recipient=bytes.fromhex(recipient) if recipient else None,
            license_text_hash=document.get("licenseText"),
            material=about.get("material"),
            site=about.get("site"),
            print_seconds=about.get("seconds"),
            layers=about.get("layers"),
            thumbnail=picture and Thumbnail(picture["mediaType"], base64.b64decode(picture["data"])),
        )


def read_canonical(data: bytes) -> Any:
    """JSON value of canonical bytes of bounded size. Raises ManifestInvalid."""
    try:
        return canonical_json.parse(data, MAX_SIZE)
    except canonical_json.NotCanonical as error:
        raise ManifestInvalid(f"The manifest can't be read: {error}") from error


def written(document: Any) -> bytes:
    """Canonical bytes of a document that follows the schema. Raises ManifestInvalid."""
    try:
        return canonical_json.dumps(document)
    except canonical_json.NotCanonical as error:
        # JSON Schema takes 1.0 for an integer; here it has no spelling.
        raise ManifestInvalid(f"The manifest isn't valid: {error}") from error


def require_same(written: bytes, data: bytes) -> None:
    """Refuse what was read when it would be written otherwise: whatever a check of its form has overlooked,
    nobody can change a bit. Raises ManifestInvalid."""
    if written != data:
        raise ManifestInvalid("The manifest isn't valid: a value has another spelling than ours.")


def check_address(address: str, place: str) -> None:
    """Refuse other spellings of an address than the one with EIP-55's checksum. Raises ManifestInvalid."""
    from eth_utils.address import is_checksum_address

    if not is_checksum_address(address):
        raise ManifestInvalid(f"The manifest isn't valid: {place} has no or a wrong checksum.")


def check_schema(document: Any, part: str = "") -> None:
    """Raises ManifestInvalid when a value doesn't follow the schema, or a part of it."""
    if problem := schemas.problem_in(document, SCHEMA, part):
        raise ManifestInvalid(f"The manifest isn't valid at {problem}")


def _check(document: Any) -> None:
    """The schema, and the rules that a schema can't say."""
    check_schema(document, "manifest")
    check_address(document["license"]["contract"], "the contract's address")
    about = document.get("print", {})
    _check_text("file name", document["file"]["name"])
    _check_file_name(document["file"]["name"])
    for place in ("material", "site"):
        if place in about:
            _check_text(place, about[place])
    if recipient := document.get("logRecipient"):
        try:
            check_public_key(bytes.fromhex(recipient))
        except InvalidKey as error:
            raise ManifestInvalid(f"The manifest isn't valid: its log recipient: {error}") from error
    if picture := document.get("thumbnail"):
        _check_thumbnail(picture["mediaType"], picture["data"])


def _check_text(place: str, text: str) -> None:
    if not is_plain(text) or text != text.strip() or unicodedata.normalize("NFC", text) != text:
        raise ManifestInvalid(
            f"The manifest isn't valid: the {place} has to be printable text in Unicode's NFC without "
            "surrounding space."
        )


def _check_file_name(name: str) -> None:
    """What the schema's pattern doesn't say, so that the file can have this name on every system."""
    if len(name.encode()) > MAX_FILE_NAME or name.endswith(".") or _RESERVED.fullmatch(name):
        raise ManifestInvalid(
            f"The manifest isn't valid: a file name has at most {MAX_FILE_NAME} bytes in UTF-8, no dot at "
            "its end, and isn't that of a device such as CON."
        )


def _check_thumbnail(media_type: str, text: str) -> None:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ManifestInvalid("The manifest isn't valid: its thumbnail isn't base64.") from error
    if base64.b64encode(data).decode() != text:
        raise ManifestInvalid("The manifest isn't valid: its thumbnail has bits beyond its last byte.")
    if not data.startswith(_MAGIC[media_type]):
        raise ManifestInvalid(f"The manifest isn't valid: its thumbnail is no {media_type}.")
