"""JSON with one spelling: what is hashed and signed must be the same bytes everywhere.

The JSON Canonicalization Scheme (RFC 8785) without fractions: members sorted by UTF-16 code units, no
white space, shortest escapes, UTF-8. Numbers are integers that every JSON reader holds exactly (±(2^53 − 1));
larger ones travel as text. Strings stay as they are: whoever needs Unicode's NFC asks for it.
"""

import json
from typing import Any, NoReturn

from imprimatur.errors import ImprimaturError

MAX_INTEGER = (1 << 53) - 1
MAX_DEPTH = 32
"""Lists and objects within each other."""
MAX_SIZE = 1 << 20
"""Bytes of a text, unless the caller says another limit."""

_MAX_DIGITS = len(str(-MAX_INTEGER))
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class NotCanonical(ImprimaturError):
    """The bytes aren't canonical JSON, or the value has no canonical form."""


def dumps(value: Any) -> bytes:
    """The canonical bytes of a value made of dict, list, tuple, str, int, bool and None.

    Raises:
        NotCanonical: fractions, integers beyond ±(2^53 − 1), half surrogate pairs, other types, too deep.
    """
    text = json.dumps(_ordered(value, 0), ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise NotCanonical("Canonical JSON can't hold half of a surrogate pair.") from error


def parse(data: bytes, max_size: int = MAX_SIZE) -> Any:
    """The value behind canonical bytes; any other spelling of the same value is refused.

    Raises:
        NotCanonical: not JSON, another spelling, a member twice, too deep, or longer than `max_size` bytes.
    """
    if len(data) > max_size:
        raise NotCanonical(f"The JSON is longer than {max_size} bytes.")
    _check_depth(data)
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_members,
            parse_int=_integer,
            parse_float=_no_fraction,
            parse_constant=_no_fraction,
        )
    except ValueError as error:
        raise NotCanonical("These bytes aren't JSON in UTF-8.") from error
    if dumps(value) != data:
        raise NotCanonical(
            "The JSON isn't in its canonical form (RFC 8785): order, spaces or escapes differ."
        )
    return value


def _ordered(value: Any, depth: int) -> Any:
    """The same value with members in order. Types are compared exactly: an IntEnum is no number here."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        if abs(value) > MAX_INTEGER:
            raise NotCanonical(f"{value} is beyond ±(2^53 − 1); write it as text.")
        return value
    if depth == MAX_DEPTH:
        raise NotCanonical(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    if kind is dict:
        if not all(type(key) is str for key in value):
            raise NotCanonical("Members of a JSON object are named by text.")
        return {key: _ordered(value[key], depth + 1) for key in sorted(value, key=_code_units)}
    if kind is list or kind is tuple:
        return [_ordered(element, depth + 1) for element in value]
    raise NotCanonical(f"Canonical JSON has no form for {kind.__name__}.")


def _code_units(name: str) -> bytes:
    # Big endian, so that bytes compare as code units do; `dumps` refuses half pairs afterwards.
    return name.encode("utf-16-be", "surrogatepass")


def _check_depth(data: bytes) -> None:
    """Before the parser sees it: its recursion could overflow the stack where the limit was raised."""
    # Without escaped backslashes and quotes, every second piece between quotes is outside of strings.
    pieces = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    depth = 0
    for bracket in b"".join(pieces[::2]).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise NotCanonical(f"The JSON is nested deeper than {MAX_DEPTH} levels.")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotCanonical("A JSON object names a member twice.")
    return members


def _integer(digits: str) -> int:
    # Python's own limit for digits is higher, can be turned off, and says nothing to the reader.
    if len(digits) > _MAX_DIGITS:
        raise NotCanonical("The JSON has an integer beyond ±(2^53 − 1).")
    return int(digits)


def _no_fraction(text: str) -> NoReturn:
    raise NotCanonical(f"The JSON has the number {text[:32]}; only integers are canonical here.")
