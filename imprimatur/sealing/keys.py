"""X25519 keys: the *file key* of a sealed file and the *job key* of one print.

Keys are raw bytes everywhere; age's text form (`AGE-SECRET-KEY-1…`, `age1…`) is for files and terminals.
A secret is any 32 bytes: X25519 itself clamps it (RFC 7748, section 5). A `key_commitment` is over the
bytes as they are, so the unclamped form is kept.
"""

import hashlib
import secrets

from imprimatur.errors import ImprimaturError
from imprimatur.sealing import bech32

KEY_SIZE = 32
"""Bytes of a secret and of a public key."""
_IDENTITY_NAME = "AGE-SECRET-KEY-"
_RECIPIENT_NAME = "age"
_PRIME = 2**255 - 19
_LOW_ORDER = frozenset(
    {
        0,
        1,
        _PRIME - 1,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
    }
)
"""Points of curve and twist whose order divides 8, below the prime: every secret meets them in zero."""


class InvalidKey(ImprimaturError):
    """These bytes or this text are no usable key. The message never repeats them."""


def new_key() -> bytes:
    """A fresh secret, for a file or for a job."""
    return secrets.token_bytes(KEY_SIZE)


def check_secret(secret: bytes) -> bytes:
    """`secret` itself, when it has the size of one.

    Raises:
        InvalidKey: it hasn't.
    """
    if not isinstance(secret, bytes) or len(secret) != KEY_SIZE:
        raise InvalidKey(f"A secret key has exactly {KEY_SIZE} bytes.")
    return secret


def check_public_key(public: bytes) -> bytes:
    """`public` itself, when something can be encrypted to it.

    Raises:
        InvalidKey: another size; not below the prime, so that age couldn't match it with the key of its
            secret; or a point of low order, for which the shared secret is zero whatever the secret is.
    """
    if not isinstance(public, bytes) or len(public) != KEY_SIZE:
        raise InvalidKey(f"A public key has exactly {KEY_SIZE} bytes.")
    point = int.from_bytes(public, "little")
    if point >= _PRIME:
        raise InvalidKey("The public key isn't in its one X25519 form. Ask for another one.")
    if point in _LOW_ORDER:
        raise InvalidKey("The public key is a point of low order: anybody could read what it protects.")
    return public


def public_key(secret: bytes) -> bytes:
    """The public key (32 bytes) of a secret.

    Raises:
        InvalidKey: not 32 bytes.
    """
    from imprimatur.sealing.age import identity

    return public_key_from_text(str(identity(secret).to_public()))


def key_commitment(file_key: bytes) -> str:
    """Hexadecimal SHA-256 of a file key, as the manifest has it.

    Raises:
        InvalidKey: not 32 bytes.
    """
    return hashlib.sha256(check_secret(file_key)).hexdigest()


def identity_text(secret: bytes) -> str:
    """A secret as age writes it, `AGE-SECRET-KEY-1…`: for a file that only its owner can read.

    Raises:
        InvalidKey: not 32 bytes.
    """
    return bech32.encode(_IDENTITY_NAME.lower(), check_secret(secret)).upper()


def recipient_text(public: bytes) -> str:
    """A public key as age writes it, `age1…`.

    Raises:
        InvalidKey: nothing can be encrypted to it.
    """
    return bech32.encode(_RECIPIENT_NAME, check_public_key(public))


def _decode(text: str, name: str) -> bytes:
    try:
        found, key = bech32.decode(text)
    except bech32.InvalidBech32 as error:
        raise InvalidKey(f"This isn't a key: it doesn't read {name}1…. {error}") from error
    if found != name:
        raise InvalidKey(f"This is another kind of key: expected {name}1….")
    return key


def secret_from_text(text: str) -> bytes:
    """The secret behind `identity_text`'s text or a line of `age-keygen`. Upper case only, as in age.

    Raises:
        InvalidKey: no such text.
    """
    return check_secret(_decode(text, _IDENTITY_NAME))


def public_key_from_text(text: str) -> bytes:
    """The public key behind `recipient_text`'s text. Lower case only, as in age.

    Raises:
        InvalidKey: no such text, or nothing can be encrypted to it.
    """
    return check_public_key(_decode(text, _RECIPIENT_NAME))
