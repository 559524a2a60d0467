"""License ids: `uint160(owner) << 96 | number`.

The owner picks the number, so nobody can squat it, a repeated order reverts instead of doubling, and the
id is known before the transaction.
"""

import unicodedata

from imprimatur.errors import ImprimaturError
from imprimatur.plain_text import is_plain

NUMBER_BITS = 96
MAX_TEXT_LENGTH = 64
"""Characters of a textual license number."""


class InvalidLicenseNumber(ImprimaturError):
    """The text can't be a license number."""


def normalize_number(text: str) -> str:
    """The one spelling of a textual license number: NFC, without surrounding space.

    Characters that the Python at hand doesn't know yet stay as they are.

    Raises:
        InvalidLicenseNumber: empty, too long, or with characters that `plain_text` refuses.
    """
    normal = unicodedata.normalize("NFC", text).strip()
    if not normal:
        raise InvalidLicenseNumber("A license number can't be empty.")
    if len(normal) > MAX_TEXT_LENGTH:
        raise InvalidLicenseNumber(f"A license number has at most {MAX_TEXT_LENGTH} characters.")
    if not is_plain(normal):
        raise InvalidLicenseNumber("A license number can only contain printable characters.")
    return normal


def number_from_text(text: str) -> int:
    """The first 96 bits of keccak256 of a textual number such as `4711-A4-58572`."""
    from eth_utils.crypto import keccak

    return int.from_bytes(keccak(normalize_number(text).encode())[: NUMBER_BITS // 8], "big")


def license_id(owner: str, number: int) -> int:
    """Id of the license `number` of the account `owner` (hexadecimal address)."""
    if not 0 <= number < 1 << NUMBER_BITS:
        raise InvalidLicenseNumber(f"The number {number} doesn't fit {NUMBER_BITS} bits.")
    return int(owner, 16) << NUMBER_BITS | number


def owner_of(id: int) -> str:
    """Checksum address of the account that a license id belongs to."""
    from eth_utils.address import to_checksum_address

    return to_checksum_address((id >> NUMBER_BITS).to_bytes(20, "big"))


def number_of(id: int) -> int:
    """The number within its owner's licenses."""
    return id & ((1 << NUMBER_BITS) - 1)


def format_id(id: int) -> str:
    """An id as people and URLs see it: 0x and 64 hexadecimal digits."""
    return f"0x{id:064x}"


def parse_id(text: str) -> int:
    """The id behind `format_id`'s text.

    Raises:
        InvalidLicenseNumber: not 0x and 64 hexadecimal digits.
    """
    digits = text.strip().lower().removeprefix("0x")
    if len(digits) != 64 or not all(c in "0123456789abcdef" for c in digits):
        raise InvalidLicenseNumber("A license id is 0x followed by 64 hexadecimal digits.")
    return int(digits, 16)
