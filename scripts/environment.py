"""What scripts are told through environment variables, read with sentences for what is missing or wrong."""

import os
from pathlib import Path

from eth_utils import is_hex_address, to_checksum_address

from imprimatur.hashing import sha256_file
from imprimatur.license_id import (
    InvalidLicenseNumber,
    format_id,
    license_id,
    number_from_text,
    owner_of,
    parse_id,
)


def required(name: str, meaning: str) -> str:
    """Value of a variable; exits when it is missing or empty."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise SystemExit(f"Set {name}: {meaning}.")
    return value


def address(name: str, meaning: str) -> str:
    """An account, with checksum."""
    value = required(name, meaning)
    if not is_hex_address(value):
        raise SystemExit(f"{name} must be an address, 0x and 40 hexadecimal digits, not {value!r}.")
    return to_checksum_address(value)


def whole_number(name: str, meaning: str, default: int | None = None) -> int:
    """A number from 0 on."""
    if default is not None and not os.environ.get(name):
        return default
    value = required(name, meaning)
    if not value.isascii() or not value.isdigit():
        raise SystemExit(f"{name} must be a whole number, not {value!r}.")
    return int(value)


def hash_of_32_bytes(name: str, meaning: str, default: bytes | None = None) -> bytes:
    """A hash as 64 hexadecimal digits, with or without 0x."""
    if default is not None and not os.environ.get(name):
        return default
    value = required(name, meaning).lower().removeprefix("0x")
    if len(value) != 64 or not all(digit in "0123456789abcdef" for digit in value):
        raise SystemExit(f"{name} must be 64 hexadecimal digits, not {value!r}.")
    return bytes.fromhex(value)


def file_hash() -> str:
    """SHA-256 of the print file: IMPRIMATUR_FILE_HASH, or of the file IMPRIMATUR_FILE."""
    if path := os.environ.get("IMPRIMATUR_FILE"):
        try:
            return sha256_file(Path(path))
        except OSError as error:
            raise SystemExit(f"IMPRIMATUR_FILE can't be read: {error}.") from error
    return hash_of_32_bytes(
        "IMPRIMATUR_FILE_HASH", "the print file's SHA-256, or its path as IMPRIMATUR_FILE"
    ).hex()


def license() -> int:
    """The license that IMPRIMATUR_LICENSE names: an id, or the number text of IMPRIMATUR_OWNER's."""
    text = required("IMPRIMATUR_LICENSE", "the license's id, or its number and IMPRIMATUR_OWNER")
    try:
        return parse_id(text)
    except InvalidLicenseNumber:
        owner = address("IMPRIMATUR_OWNER", f"the account whose license has the number {text!r}")
        return license_id(owner, number_from_text(text))


def name_of(id: int) -> str:
    """How scripts call a license."""
    return f"license {format_id(id)} of {owner_of(id)}"
