"""Recursive length prefix (Ethereum yellow paper, appendix B): encoding, and decoding of the one valid form.

Of our own because the blocks of a whole chain go through it: for a receipt about five times as fast as the
rlp package (`benchmarks/certificate.py`). Tests compare both.
"""

from collections.abc import Sequence
from typing import Union

from imprimatur.errors import ImprimaturError

Item = Union[bytes, "Sequence[Item]"]
"""What RLP encodes: bytes, or a list of items."""
Decoded = Union[bytes, "list[Decoded]"]
"""What decoding gives."""

EMPTY = b"\x80"
"""Encoding of no bytes."""
EMPTY_LIST = b"\xc0"
MAX_DEPTH = 16
"""Lists within lists; headers, receipts and trie nodes need four. Without a limit a few kilobytes of opening
lists exhaust the stack."""

_BYTES = 0x80
_LIST = 0xC0
_SHORT = 55
"""Bytes of a payload whose length fits the first byte."""


class RlpInvalid(ImprimaturError):
    """Bytes that no encoder makes."""


def _prefix(kind: int, length: int) -> bytes:
    if length <= _SHORT:
        return bytes((kind + length,))
    size = (length.bit_length() + 7) // 8
    return bytes((kind + _SHORT + size,)) + length.to_bytes(size, "big")


def encode_bytes(value: bytes) -> bytes:
    """A text of bytes."""
    if len(value) == 1 and value[0] < _BYTES:
        return value
    return _prefix(_BYTES, len(value)) + value


def encode_int(value: int) -> bytes:
    """A number ≥ 0: its bytes without leading zeros."""
    return encode_bytes(int_bytes(value))


def int_bytes(value: int) -> bytes:
    """A number ≥ 0 as RLP's scalars are: big-endian, no leading zeros, zero is no bytes."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def scalar(value: bytes) -> int:
    """The number behind a scalar's bytes.

    Raises:
        RlpInvalid: leading zeros.
    """
    if value[:1] == b"\0":
        raise RlpInvalid("A number has leading zeros; its shortest form is the only valid one.")
    return int.from_bytes(value, "big")


def wrap(payload: bytes) -> bytes:
    """A list, given the joined encodings of its items."""
    return _prefix(_LIST, len(payload)) + payload


def encode(item: Item) -> bytes:
    """An item of any shape."""
    if isinstance(item, bytes):
        return encode_bytes(item)
    return wrap(b"".join(map(encode, item)))


def decode(data: bytes) -> Decoded:
    """The item that `data` encodes.

    Raises:
        RlpInvalid: not the encoding of one item, or not the shortest.
    """
    item, end = _item(data, 0, len(data), 0)
    if end != len(data):
        raise RlpInvalid(f"{len(data) - end} bytes follow the end of the data.")
    return item


def decode_list(data: bytes) -> list[Decoded]:
    """As `decode`, of a list only."""
    item = decode(data)
    if isinstance(item, bytes):
        raise RlpInvalid("A list was expected and bytes were found.")
    return item


def _item(data: bytes, at: int, end: int, depth: int) -> tuple[Decoded, int]:
    if at >= end:
        raise RlpInvalid("The data ends in the middle of an item.")
    first = data[at]
    if first < _BYTES:
        return data[at : at + 1], at + 1
    kind = _BYTES if first < _LIST else _LIST
    start, stop = _payload(data, at, end, first - kind)
    if kind == _BYTES:
        if stop - start == 1 and data[start] < _BYTES:
            raise RlpInvalid("A single small byte stands for itself; a length in front of it isn't valid.")
        return data[start:stop], stop
    if depth == MAX_DEPTH:
        raise RlpInvalid(f"More than {MAX_DEPTH} lists are inside each other.")
    items: list[Decoded] = []
    while start < stop:
        # Short bytes are nearly all that there is; without a call for each, decoding takes half the time.
        length = data[start] - _BYTES
        after = start + 1 + length
        if 0 <= length <= _SHORT and length != 1 and after <= stop:
            items.append(data[start + 1 : after])
            start = after
        else:
            item, start = _item(data, start, stop, depth + 1)
            items.append(item)
    return items, stop


def _payload(data: bytes, at: int, end: int, code: int) -> tuple[int, int]:
    """Where the payload of the item at `at` starts and stops; `code` is its first byte without its kind."""
    start, length = at + 1, code
    if code > _SHORT:
        start += code - _SHORT
        size = data[at + 1 : min(start, end)]
        length = int.from_bytes(size, "big")
        if len(size) != code - _SHORT or not size[0] or length <= _SHORT:
            raise RlpInvalid("A length isn't written in its shortest form.")
    if start + length > end:
        raise RlpInvalid("The data ends in the middle of an item.")
    return start, start + length
