"""Log entry 1: a part's serial in 32 bytes that owner and printer can read, and nobody else.

    encryptedSerial = serial ⊕ HKDF-SHA256(X25519(job key, log recipient), info = id ‖ copy ‖ commitment)

`id` and `copy` are 32 bytes each, big endian, HKDF (RFC 5869) has no salt and gives 32 bytes. The job key is
the X25519 key of this one print (`keyRecipient` on the chain), the log recipient the owner's key from the
manifest. The commitment binds the serial, so one key stream never covers two serials.
"""

from dataclasses import dataclass

from imprimatur.errors import ImprimaturError
from imprimatur.sealing.keys import InvalidKey, check_public_key, check_secret
from imprimatur.serials.tag_key import commitment_of
from imprimatur.serials.text import SerialInvalid, from_word, to_word

ENTRY_SIZE = 32


class EntryUnreadable(ImprimaturError):
    """The entry doesn't hold a serial for this key, or not the one that was committed to."""


@dataclass(frozen=True, slots=True)
class Part:
    """The print that an entry belongs to; `commitment` has 32 bytes, as in `SerialRegistered`."""

    id: int
    copy: int
    commitment: bytes


def encrypt_serial(serial: str, part: Part, secret: bytes, public: bytes) -> bytes:
    """The entry (32 bytes). A printer gives its job's secret key and the log recipient; raw 32 bytes both.

    Raises:
        SerialInvalid: the text is no serial.
        InvalidKey: a key of another size, or a log recipient of low order.
    """
    return _combined(to_word(serial), part, secret, public)


def open_entry(entry: bytes, part: Part, secret: bytes, public: bytes, tag_address: str | None = None) -> str:
    """The serial in an entry.

    The owner gives her log key and `keyRecipient` from the chain; the printer gives its job key and the log
    recipient. Both get the same.

    Args:
        tag_address: address of the part's tag key, from its tag or the printer's report. With it the
            commitment is checked, which proves the serial. Without it the serial is what the printer claims:
            another key is still noticed (it gives no text, but in one of 10^14 cases), a lie isn't.

    Raises:
        EntryUnreadable: another key, a damaged entry, or a serial that the commitment doesn't hold.
        InvalidKey: a key of another size, or a public key of low order.
    """
    if len(entry) != ENTRY_SIZE:
        raise EntryUnreadable(f"The log entry has {len(entry)} bytes instead of {ENTRY_SIZE}.")
    try:
        serial = from_word(_combined(entry, part, secret, public))
    except SerialInvalid as error:
        raise EntryUnreadable(
            f"The log entry of copy {part.copy} can't be read with this key: it was made for another one, or "
            "without a serial."
        ) from error
    if tag_address and commitment_of(part.id, part.copy, serial, tag_address) != part.commitment:
        raise EntryUnreadable(
            f"The log entry of copy {part.copy} says {serial}, but the chain's commitment is to another "
            "serial or tag. The printer contradicts itself: ask the print shop."
        )
    return serial


def _combined(word: bytes, part: Part, secret: bytes, public: bytes) -> bytes:
    from Crypto.Hash import SHA256
    from Crypto.Protocol.KDF import HKDF

    if len(part.commitment) != 32:
        raise ValueError(f"A commitment has 32 bytes, not {len(part.commitment)}.")
    info = part.id.to_bytes(32, "big") + part.copy.to_bytes(32, "big") + part.commitment
    # With one key asked for, HKDF gives bytes; its type also names the tuple of several.
    stream = HKDF(_shared_secret(secret, public), ENTRY_SIZE, b"", SHA256, context=info)
    assert isinstance(stream, bytes)
    return bytes(a ^ b for a, b in zip(word, stream, strict=True))


def _shared_secret(secret: bytes, public: bytes) -> bytes:
    """X25519 (RFC 7748): 32 bytes. Raises InvalidKey."""
    from Crypto.Protocol import DH

    ours = DH.import_x25519_private_key(check_secret(secret))
    theirs = DH.import_x25519_public_key(check_public_key(public))
    agreed: bytes = DH.key_agreement(static_priv=ours, static_pub=theirs, kdf=bytes)
    # Section 6.1 of the RFC: `check_public_key` has refused what leads here; this is what it is for.
    if agreed == bytes(len(agreed)):
        raise InvalidKey("The two keys agree on nothing secret.")
    return agreed
