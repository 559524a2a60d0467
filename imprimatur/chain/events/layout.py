"""Events out of logs by slicing: most of our events have a fixed layout of 32-byte words.

Solidity's contract ABI specification: an indexed value is a topic, the others stand in the data, each static
value in one word. Data with a dynamic type is decoded by eth-abi. Both are strict: a log that Solidity
couldn't have written is refused.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from imprimatur import artifacts
from imprimatur.chain.events.row import Row
from imprimatur.chain.interface import DecodedEvent, interface_of
from imprimatur.errors import ImprimaturError

WORD = 64
"""Hexadecimal digits."""
TOPIC_LENGTH = 2 + WORD
LARGEST_NUMBER = 48
"""Bits of the unsigned integers that are written as numbers; every JSON reader takes 53."""


class LogMalformed(ImprimaturError):
    """A log isn't what our contract can have written."""


@lru_cache(maxsize=1 << 16)
def checksummed(digits: str) -> str:
    """Checksum form of 40 hexadecimal digits."""
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address("0x" + digits))


@lru_cache(maxsize=1 << 16)
def _number(digits: str) -> int:
    # Copies, flags and dates repeat, and looking up is faster than reading again.
    return int(digits, 16)


def _places(kind: str, start: int) -> tuple[slice, str, Callable[[str], Any] | None]:
    """Which digits of a word hold the value of a static type, how JSON shows it, and what to make of them."""
    end = start + WORD
    if match := re.fullmatch(r"uint(\d+)", kind):
        bits = int(match[1])
        if bits <= LARGEST_NUMBER:
            return slice(end - bits // 4, end), "%d", _number
        return slice(start, end), '"0x%s"', None
    if match := re.fullmatch(r"bytes(\d+)", kind):
        return slice(start, start + 2 * int(match[1])), '"0x%s"', None
    if kind == "address":
        return slice(end - 40, end), '"%s"', checksummed
    if kind == "bool":
        return slice(end - 1, end), "%s", {"0": "false", "1": "true"}.__getitem__
    raise ValueError(f"Events with {kind} aren't known.")


def _allowed(kind: str) -> int:
    """The bits of a word that a value of a static type may set."""
    if match := re.fullmatch(r"bytes(\d+)", kind):
        return (1 << 256) - (1 << (256 - 8 * int(match[1])))
    bits = {"address": 160, "bool": 1}.get(kind) or int(kind.removeprefix("uint"))
    return (1 << bits) - 1


def json_safe(kind: str, value: Any) -> Any:
    """A value of an ABI type, as eth-abi and `Interface` give it, in the form of `Row`."""
    if kind.endswith("]"):
        return [json_safe(kind.rpartition("[")[0], element) for element in value]
    if kind.startswith("uint"):
        return value if int(kind[4:]) <= LARGEST_NUMBER else f"0x{value:064x}"
    if kind.startswith("bytes"):
        return "0x" + value.hex()
    if kind == "address":
        return checksummed(value[2:].lower())
    return value


def _native(kind: str, value: Any) -> Any:
    if kind.endswith("]"):
        return [_native(kind.rpartition("[")[0], element) for element in value]
    if kind.startswith("uint"):
        return value if isinstance(value, int) else int(value, 16)
    return bytes.fromhex(value[2:]) if kind.startswith("bytes") else value


class Layout:
    """Where the values of one event stand: first the indexed ones, then the others."""

    def __init__(self, name: str, inputs: list[dict[str, Any]]) -> None:
        self.name = name
        indexed = [p for p in inputs if p["indexed"]]
        plain = [p for p in inputs if not p["indexed"]]
        self.kinds: dict[str, str] = {p["name"]: p["type"] for p in indexed + plain}
        self._topics = 1 + len(indexed)
        self._dynamic = [
            p["type"] for p in plain if p["type"].endswith("]") or p["type"] in ("string", "bytes")
        ] and plain
        self._words = [p["type"] for p in (indexed if self._dynamic else indexed + plain)]
        self._size = WORD // 2 * len(self._words)
        self._padding = 0
        for kind in self._words:
            self._padding = self._padding << 256 | (1 << 256) - 1 - _allowed(kind)
        places = [_places(kind, WORD * i) for i, kind in enumerate(self._words)]
        # Only two slices or more come as a tuple; empty ones at the end cost nothing.
        self._cut = itemgetter(*[place for place, _, _ in places], slice(0, 0), slice(0, 0))
        self._conversions = [(i, convert) for i, (_, _, convert) in enumerate(places) if convert]
        shown = ", ".join(f'"{name}": {form}' for name, (_, form, _) in zip(self.kinds, places, strict=False))
        self._template = "{" + shown + "%s%s"
        self._license = next(
            (i for i, (name, kind) in enumerate(self.kinds.items()) if (name, kind) == ("id", "uint256")),
            None,
        )

    def read(self, topics: list[str], data: str) -> tuple[str, str | None]:
        """The event's values as JSON, and its `id` if it has one, as in `Row`.

        Raises:
            LogMalformed: other topics, other length, dirty padding, a value out of its type's range.
        """
        try:
            for topic in topics:
                if len(topic) != TOPIC_LENGTH:
                    raise ValueError(topic)
            digits = "".join([topic[2:] for topic in topics[1:]])
            if not self._dynamic:
                digits += data[2:]
            # To bytes and back: refuses what isn't hexadecimal, and there is one spelling afterwards.
            raw = bytes.fromhex(digits)
            if len(topics) != self._topics or len(raw) != self._size:
                raise ValueError(digits)
            if int.from_bytes(raw, "big") & self._padding:
                raise ValueError(digits)
            pieces: list[Any] = list(self._cut(raw.hex()))
            for i, convert in self._conversions:
                pieces[i] = convert(pieces[i])
            text = self._template % tuple(pieces)
            if self._dynamic:
                text += ", " * bool(self._words) + self._dynamic_values(bytes.fromhex(data[2:]))
        except (ValueError, TypeError, AttributeError) as error:
            raise LogMalformed(f"A log isn't a {self.name} as the contract writes it.") from error
        return text + "}", None if self._license is None else "0x" + pieces[self._license]

    def _dynamic_values(self, data: bytes) -> str:
        from eth_abi.abi import decode, encode
        from eth_abi.exceptions import DecodingError

        kinds = [p["type"] for p in self._dynamic]
        try:
            values = decode(kinds, data)
        except (DecodingError, OverflowError) as error:
            raise ValueError(str(error)) from error
        # eth-abi follows any offset and ignores what stands behind the end; Solidity writes one form.
        if encode(kinds, values) != data:
            raise ValueError(data)
        named = {p["name"]: json_safe(p["type"], v) for p, v in zip(self._dynamic, values, strict=True)}
        return json.dumps(named)[1:-1]


@lru_cache
def layouts_of(contract: str) -> dict[str, Layout]:
    """The events of one of our contracts (name of the artifact) by first topic, without 0x."""
    interface = interface_of(contract)
    return {
        interface.topic(entry["name"])[2:]: Layout(entry["name"], entry["inputs"])
        for entry in artifacts.load(contract)["abi"]
        if entry["type"] == "event"
    }


def decoded(row: Row, contract: str) -> DecodedEvent:
    """A row of one of our contracts (name of the artifact) as `Interface.decode_event` would give it."""
    kinds = next(layout.kinds for layout in layouts_of(contract).values() if layout.name == row.name)
    values = row.values
    return DecodedEvent(
        row.name,
        {name: _native(kind, values[name]) for name, kind in kinds.items()},
        row.block_number,
        row.block_hash,
        row.transaction_hash,
        row.log_index,
    )
