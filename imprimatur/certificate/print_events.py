"""The events of one print, read strictly from the logs of a receipt.

A print is one `LicenseUsed`, the ERC-1155 burn right behind it (which names the wallet that held the license)
and, when the part has a serial, `PrintLogged` and `SerialRegistered` right behind that. Nothing can come
between: the contract calls nobody meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from imprimatur.certificate.errors import CertificateInvalid
from imprimatur.chain.print_license import CONTRACT
from imprimatur.chain.receipts import Log
from imprimatur.serials.tag_key import MAX_COPY

WORD = 32
"""Bytes."""
ADDRESS = 20
"""Bytes."""
_ZERO = bytes(WORD)
_ONE = (1).to_bytes(WORD, "big")


@dataclass(frozen=True, slots=True)
class Print:
    """One consumed copy. Accounts are 20 bytes, `file_hash`, keys and hashes 32."""

    id: int
    copy: int
    device: bytes
    printer: bytes
    file_hash: bytes
    key_recipient: bytes
    encrypted_serial: bytes | None
    commitment: bytes | None


@cache
def _topic(event: str) -> bytes:
    from imprimatur.chain.interface import interface_of

    return bytes.fromhex(interface_of(CONTRACT).topic(event).removeprefix("0x"))


def print_at(logs: Sequence[Log], index: int, contract: bytes) -> Print:
    """The print whose `LicenseUsed` is `logs[index]`, by the contract with this address (20 bytes).

    Raises:
        CertificateInvalid: there is none.
    """
    (id, device), (copy, file_hash, key_recipient) = _event(logs, index, contract, "LicenseUsed", 2, 3)
    (_, holder, receiver), burned = _event(logs, index + 1, contract, "TransferSingle", 3, 2)
    if receiver != _ZERO or burned != [id, _ONE]:
        raise CertificateInvalid("the transfer behind its print isn't the burn of one copy.")
    encrypted_serial = commitment = None
    if _is(logs, index + 2, contract, "PrintLogged"):
        (logged,), (logged_copy, encrypted_serial) = _event(logs, index + 2, contract, "PrintLogged", 1, 2)
        (commitment, maker), _ = _event(logs, index + 3, contract, "SerialRegistered", 2, 0)
        if (logged, logged_copy, maker) != (id, copy, device):
            raise CertificateInvalid("the log entries behind its print are those of another one.")
    return Print(
        int.from_bytes(id, "big"),
        _copy(copy),
        _account(device),
        _account(holder),
        file_hash,
        key_recipient,
        encrypted_serial,
        commitment,
    )


def _is(logs: Sequence[Log], index: int, contract: bytes, event: str) -> bool:
    return (
        index < len(logs) and logs[index].address == contract and logs[index].topics[:1] == (_topic(event),)
    )


def _event(
    logs: Sequence[Log], index: int, contract: bytes, event: str, indexed: int, words: int
) -> tuple[tuple[bytes, ...], list[bytes]]:
    """Indexed values and data of an event of ours, in words of 32 bytes."""
    if not _is(logs, index, contract, event):
        raise CertificateInvalid(f"the log {index} of its receipt isn't a {event} of the contract.")
    log = logs[index]
    if len(log.topics) != 1 + indexed or len(log.data) != words * WORD:
        raise CertificateInvalid(f"the log {index} of its receipt doesn't have the form of {event}.")
    return log.topics[1:], [log.data[start : start + WORD] for start in range(0, len(log.data), WORD)]


def _copy(word: bytes) -> int:
    number = int.from_bytes(word, "big")
    if not 0 < number <= MAX_COPY:
        raise CertificateInvalid("a log of its receipt has an impossible copy.")
    return number


def _account(word: bytes) -> bytes:
    if any(word[: WORD - ADDRESS]):
        raise CertificateInvalid("a log of its receipt has too long an account.")
    return word[WORD - ADDRESS :]
