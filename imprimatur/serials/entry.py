"""Log entry 1: a part's serial in 32 bytes that owner and printer can read, and nobody else.

    encryptedSerial = serial ⊕ HKDF-SHA256(X25519(job key, log recipient), info = id ‖ copy ‖ commitment)

`id` and `copy` are 32 bytes each, big endian, HKDF (RFC 5869) has no salt and gives 32 bytes. The job key is
the X25519 key of this one print (`keyRecipient` on the chain), the log recipient the owner's key from the
manifest. The commitment binds the serial, so one key stream never covers two serials: two would tell each
other to everybody who sees both entries.
"""

from dataclasses import dataclass

from imprimatur.errors import ImprimaturError
from imprimatur.sealing.keys import InvalidKey, check_public_key, check_secret
from imprimatur.serials.tag_key import PartInvalid, check_place, commitment_of
from imprimatur.serials.text import WORD_SIZE, SerialInvalid, from_word, to_word

ENTRY_SIZE = 32


class EntryUnreadable(ImprimaturError):
    """The entry doesn't hold a serial for this key, or not the one that was committed to."""


@dataclass(frozen=True, slots=True)
class Part:
    """The print that an entry belongs to; `commitment` has 32 bytes, as in `SerialRegistered`.

    Raises:
        PartInvalid: a value is out of bounds.
    """

    id: int
    copy: int
    commitment: bytes

    def __post_init__(self) -> None:
        check_place(self.id, self.copy)
        if len(self.commitment) != WORD_SIZE:
            raise PartInvalid(f"A commitment has {WORD_SIZE} bytes, not {len(self.commitment)}.")


def encrypt_serial(
    serial: str, id: int, copy: int, tag_address: str, job_key: bytes, log_recipient: bytes
) -> tuple[bytes, bytes]:
    """Both log entries of a part, 32 bytes each: the commitment, and the encrypted serial.

    Args:
        tag_address: address of the part's tag key.
        job_key: secret X25519 key of this print (raw 32 bytes), and of no other.
        log_recipient: public key from the manifest (raw 32 bytes).

    Raises:
        SerialInvalid: the text is no serial.
        PartInvalid: id, copy or address is out of bounds.
        InvalidKey: a key of another size, or a log recipient of low order.
    """
    # Not the caller's: under a commitment to another serial the key stream would be used twice.
    part = Part(id, copy, commitment_of(id, copy, serial, tag_address))
    return part.commitment, _combined(to_word(serial), part, job_key, log_recipient)


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
        PartInvalid: the tag's address isn't one.
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
    if tag_address is None:
        return serial
    if commitment_of(part.id, part.copy, serial, tag_address) != part.commitment:
        raise EntryUnreadable(
            f"The log entry of copy {part.copy} says {serial}, but the chain's commitment is to another "
            "serial or tag. The printer contradicts itself: ask the print shop."
        )
    return serial


def _combined(word: bytes, part: Part, secret: bytes, public: bytes) -> bytes:
    from Crypto.Hash import SHA256
    from Crypto.Protocol.KDF import HKDF

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
