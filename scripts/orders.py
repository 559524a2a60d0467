"""Orders as people write them, in a CSV file or in the environment.

Fields: `number` (text), `printer` (address), `file_hash` (SHA-256) or `file` (path), `copies`, and, all
optional: `valid_until` (YYYY-MM-DD, the license's last day in UTC), `terms` (any of transferable, revocable
and trusted_device), `failures_allowed`, `manifest_hash`.
"""

import csv
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path

from eth_utils import is_hex_address, to_checksum_address

from imprimatur.chain.orders import FOR_EVER, Order, Terms
from imprimatur.errors import ImprimaturError
from imprimatur.hashing import sha256_file
from imprimatur.license_id import InvalidLicenseNumber, number_from_text

FIELDS = (
    "number",
    "printer",
    "file",
    "file_hash",
    "copies",
    "valid_until",
    "terms",
    "failures_allowed",
    "manifest_hash",
)
REQUIRED_COLUMNS = ("number", "printer", "copies")
MOST_COPIES = 65_535
MOST_FAILURES = 63


class InvalidOrder(ImprimaturError):
    """A field can't be understood; the sentence names it."""


class InvalidFile(ImprimaturError):
    """Lines of a CSV file are wrong; one sentence for each, with its line number."""


def parse(fields: Mapping[str, str], owner: str, deadline: int, folder: Path) -> Order:
    """The order behind texts by field name; `file` is relative to `folder`.

    Raises:
        InvalidOrder: with the first field that is wrong.
    """
    text = {name: (fields.get(name) or "").strip() for name in FIELDS}
    copies = _number(text["copies"], "copies", 1, MOST_COPIES)
    failures = _number(text["failures_allowed"] or "0", "failures_allowed", 0, MOST_FAILURES)
    if copies + failures > MOST_COPIES:
        raise InvalidOrder(f"copies: {copies} and {failures} failures are more than {MOST_COPIES}")
    try:
        number = number_from_text(text["number"])
    except InvalidLicenseNumber as error:
        raise InvalidOrder(f"number: {error}") from error
    if not is_hex_address(text["printer"]) or not int(text["printer"], 16):
        raise InvalidOrder(f"printer: {text['printer']!r} isn't the address of a printer")
    return Order(
        owner=owner,
        number=number,
        printer=to_checksum_address(text["printer"]),
        file_hash=_file_hash(text, folder),
        copies=copies,
        deadline=deadline,
        valid_until=_last_second(text["valid_until"]),
        flags=_terms(text["terms"]),
        failures_allowed=failures,
        manifest_hash=bytes.fromhex(_hash(text["manifest_hash"] or "0" * 64, "manifest_hash")),
    )


def read_csv(path: Path, owner: str, deadline: int) -> list[tuple[int, Order]]:
    """The orders of a CSV file with their line numbers.

    Raises:
        InvalidFile: with every line that is wrong; nothing is to be issued then.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidFile(f"{path} can't be read: {error}") from error
    problems = [f"line 1: there is no column {name}" for name in REQUIRED_COLUMNS if name not in columns]
    problems += [f"line 1: unknown column {name!r}" for name in columns if name not in FIELDS]
    if not problems and not rows:
        problems.append("line 1: no order follows")
    if problems:
        raise InvalidFile(f"{path}:\n" + "\n".join(problems))
    orders: list[tuple[int, Order]] = []
    lines: dict[int, int] = {}
    for line, row in rows:
        try:
            if None in row or None in row.values():
                raise InvalidOrder("not as many fields as line 1 has")
            order = parse(row, owner, deadline, path.parent)
            if order.number in lines:
                raise InvalidOrder(f"number: {row['number']!r} is in line {lines[order.number]} already")
        except InvalidOrder as error:
            problems.append(f"line {line}: {error}")
            continue
        lines[order.number] = line
        orders.append((line, order))
    if problems:
        raise InvalidFile(f"{path}:\n" + "\n".join(problems))
    return orders


def _number(text: str, field: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise InvalidOrder(f"{field}: {text!r} isn't a whole number from {least} to {most}")
    return int(text)


def _hash(text: str, field: str) -> str:
    digits = text.lower().removeprefix("0x")
    if len(digits) != 64 or not all(digit in "0123456789abcdef" for digit in digits):
        raise InvalidOrder(f"{field}: {text!r} isn't 64 hexadecimal digits")
    return digits


def _file_hash(text: dict[str, str], folder: Path) -> str:
    if bool(text["file"]) == bool(text["file_hash"]):
        raise InvalidOrder("file_hash: give either the hash or the file")
    if text["file"]:
        try:
            return sha256_file(folder / text["file"])
        except OSError as error:
            raise InvalidOrder(f"file: {error}") from error
    digits = _hash(text["file_hash"], "file_hash")
    if not int(digits, 16):
        raise InvalidOrder("file_hash: zero is the hash of no file")
    return digits


def _last_second(text: str) -> int:
    """Unix time of the last second of a day in UTC."""
    if not text:
        return FOR_EVER
    try:
        return int(datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC).timestamp())
    except ValueError as error:
        raise InvalidOrder(f"valid_until: {text!r} isn't a date such as 2030-12-31") from error


def _terms(text: str) -> Terms:
    known = {term.name.lower(): term for term in Terms if term is not Terms.REVOKED and term.name}
    terms = Terms.NONE
    for word in text.lower().replace(",", " ").split():
        if word not in known:
            raise InvalidOrder(f"terms: {word!r} isn't one of {', '.join(known)}")
        terms |= known[word]
    return terms
