"""What this package needs of age v1 (https://age-encryption.org/v1): pyrage, its keys and its failures."""

from typing import Any

from imprimatur.errors import ImprimaturError
from imprimatur.sealing.keys import check_public_key, check_secret, identity_text, recipient_text

MAX_HEADER_SIZE = 1 << 16
"""Bytes. Ours have about 200; without a limit a hostile file could fill the memory before its first check."""
_VERSION_LINE = b"age-encryption.org/v1\n"
_ARMOR_LINE = b"-----BEGIN AGE"
_HEADER_END = b"\n--- "
_NO_KEY_FITS = "No matching keys found"


class SealedFileUnusable(ImprimaturError):
    """A sealed file can't be opened."""


class NotForThisKey(SealedFileUnusable):
    """The file was sealed to another key.

    Damage to the one line that holds the encrypted key looks the same: nobody without the right key can
    tell them apart. A file whose SHA-256 is its manifest's `sealedHash` isn't damaged.
    """


class SealedFileDamaged(SealedFileUnusable):
    """The file isn't what was sealed: cut, changed, prolonged, or never a sealed file at all."""


def load_pyrage() -> Any:
    """pyrage, imported when something is encrypted."""
    import pyrage  # type: ignore[import-untyped,unused-ignore]

    return pyrage


def identity(secret: bytes) -> Any:
    """pyrage's form of a secret.

    Raises:
        InvalidKey: not 32 bytes.
    """
    return load_pyrage().x25519.Identity.from_str(identity_text(check_secret(secret)))


def recipient(public: bytes) -> Any:
    """pyrage's form of a public key.

    Raises:
        InvalidKey: nothing can be encrypted to it.
    """
    return load_pyrage().x25519.Recipient.from_str(recipient_text(check_public_key(public)))


def holds_header(start: bytes) -> bool:
    """Whether `start`, the first bytes of a file, is long enough for `check_header`."""
    return len(start) >= MAX_HEADER_SIZE or _HEADER_END in start


def check_header(start: bytes) -> None:
    """Refuse what isn't a binary age v1 file before anything parses it.

    Raises:
        SealedFileDamaged: with the reason. The armored (text) form is refused too: it has many spellings
            of one content, and a sealed file is named by the hash of its bytes.
    """
    if start.startswith(_ARMOR_LINE):
        raise SealedFileDamaged(
            "This is age's text form, and a sealed file is always binary. Decode it first, or ask for the"
            " file as it was sealed."
        )
    if not start.startswith(_VERSION_LINE):
        raise SealedFileDamaged("This isn't a sealed file, or its beginning is damaged. Download it again.")
    if _HEADER_END not in start[:MAX_HEADER_SIZE]:
        raise SealedFileDamaged("The sealed file's header has no end. Download the file again.")


def failure_of(error: BaseException) -> BaseException:
    """What a failure of pyrage's decryption means; anything but an answer of age stays what it is."""
    if isinstance(error, load_pyrage().DecryptError) and str(error) == _NO_KEY_FITS:
        return NotForThisKey("The file was sealed to another key, or its header is damaged.")
    if isinstance(error, load_pyrage().DecryptError | OSError):
        return SealedFileDamaged(
            f"The sealed file is damaged: cut, changed, or longer than it was ({error}). Download it again."
        )
    return error
