"""Receipts as a block's `receiptsRoot` holds them (yellow paper 4.3.1, EIP-658, EIP-2718).

All types of transactions so far share one layout, so types that don't exist yet are taken for it too. A wrong
guess does no harm: what was encoded or decoded wrongly doesn't lead to the block's root.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imprimatur.chain import rlp_codec
from imprimatur.chain.rlp_codec import Decoded
from imprimatur.errors import ImprimaturError

LEGACY = 0
DEPOSIT = 0x7E
"""Transactions that an OP stack chain takes from its parent; their receipts may have two fields more."""

_ADDRESS_PREFIX = b"\x94"
_TOPIC_LENGTH = 66
"""Characters of a topic in JSON."""
_BLOOM_SIZE = 256
_LAST_TYPE = 0x7F


class ReceiptInvalid(ImprimaturError):
    """Bytes or JSON that are no receipt."""


@dataclass(frozen=True, slots=True)
class Log:
    """One log: the contract's address (20 bytes), up to 4 topics of 32 bytes, data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a block remembers of one transaction. `gas_used` counts the block up to and with it."""

    kind: int
    succeeded: bool | None
    """None before EIP-658, when receipts held a state root instead."""
    gas_used: int
    bloom: bytes
    logs: tuple[Log, ...]


def encode_receipt(receipt: dict[str, Any]) -> bytes:
    """The bytes of a receipt from a node's JSON: type byte, unless legacy, and RLP.

    Raises:
        ReceiptInvalid: a field is missing or isn't hexadecimal.
    """
    try:
        kind = int(receipt.get("type") or "0x0", 16)
        if not LEGACY <= kind <= _LAST_TYPE:
            raise ValueError(f"type {kind}")
        status = receipt.get("status")
        outcome = rlp_codec.encode_int(int(status, 16)) if status else _encoded(receipt["root"])
        payload = (
            outcome
            + rlp_codec.encode_int(int(receipt["cumulativeGasUsed"], 16))
            + _encoded(receipt["logsBloom"])
            + rlp_codec.wrap(b"".join(map(_encode_log, receipt["logs"])))
        )
        # Before version 1 the nonce was shown but not part of the root.
        if kind == DEPOSIT and (version := receipt.get("depositReceiptVersion")):
            payload += rlp_codec.encode_int(int(receipt["depositNonce"], 16))
            payload += rlp_codec.encode_int(int(version, 16))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ReceiptInvalid(
            f"The node's receipt can't be read ({type(error).__name__}: {error})."
        ) from error
    encoded = rlp_codec.wrap(payload)
    return encoded if kind == LEGACY else bytes((kind,)) + encoded


def _encoded(hexadecimal: str) -> bytes:
    return rlp_codec.encode_bytes(bytes.fromhex(hexadecimal[2:]))


def _encode_log(log: dict[str, Any]) -> bytes:
    # Joined as text first: decoding hexadecimal once is cheaper than for each part. It also skips spaces, and
    # knows no borders: sizes are checked, so that no other JSON has the same bytes.
    topics = bytes.fromhex("".join(["a0" + topic[2:] for topic in log["topics"]]))
    address = bytes.fromhex(log["address"][2:])
    sizes = {len(topic) for topic in log["topics"]} | {_TOPIC_LENGTH}
    if len(sizes) > 1 or len(topics) != 33 * len(log["topics"]) or len(address) != 20:
        raise ValueError("a log's address or topic has another size")
    return rlp_codec.wrap(_ADDRESS_PREFIX + address + rlp_codec.wrap(topics) + _encoded(log["data"]))


def decode_receipt(data: bytes) -> Receipt:
    """The receipt behind its bytes, as they stand in a block's trie.

    Raises:
        ReceiptInvalid: they aren't a receipt, or not in its one valid form.
    """
    kind = data[0] if data and 0 < data[0] <= _LAST_TYPE else LEGACY
    try:
        fields = rlp_codec.decode_list(data if kind == LEGACY else data[1:])
        if len(fields) != 4 and not (kind == DEPOSIT and len(fields) == 6):
            raise ReceiptInvalid(f"A receipt has 4 fields; this one has {len(fields)}.")
        outcome, gas_used, bloom = (_bytes(field) for field in fields[:3])
        for number in fields[4:]:
            rlp_codec.scalar(_bytes(number))
        return Receipt(
            kind,
            _succeeded(outcome),
            rlp_codec.scalar(gas_used),
            _sized(bloom, _BLOOM_SIZE),
            tuple(_decode_log(log) for log in _list(fields[3])),
        )
    except rlp_codec.RlpInvalid as error:
        raise ReceiptInvalid(f"The receipt is malformed: {error}") from error


def _succeeded(outcome: bytes) -> bool | None:
    if len(outcome) == 32:
        return None
    if outcome not in (b"", b"\x01"):
        raise ReceiptInvalid("A receipt's outcome is success, failure or a state root.")
    return outcome == b"\x01"


def _decode_log(item: Decoded) -> Log:
    parts = _list(item)
    if len(parts) != 3:
        raise ReceiptInvalid(f"A log has 3 parts; this one has {len(parts)}.")
    topics = tuple(_sized(_bytes(topic), 32) for topic in _list(parts[1]))
    return Log(_sized(_bytes(parts[0]), 20), topics, _bytes(parts[2]))


def _bytes(item: Decoded) -> bytes:
    if not isinstance(item, bytes):
        raise ReceiptInvalid("A receipt holds a list where bytes belong.")
    return item


def _list(item: Decoded) -> Sequence[Decoded]:
    if isinstance(item, bytes):
        raise ReceiptInvalid("A receipt holds bytes where a list belongs.")
    return item


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ReceiptInvalid(f"A part of a receipt has {len(value)} bytes instead of {size}.")
    return value
