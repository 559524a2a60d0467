"""Block headers: the bytes whose Keccak-256 is the block's hash (yellow paper 4.3, and the forks since).

The fields that a header has tell its fork; nothing else needs to be known of the chain. Besu's consortium
chains (QBFT, IBFT 2) leave the validators' seals out of what they hash, and so do we: `Header.rlp` always is
what was hashed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from imprimatur.chain import rlp_codec
from imprimatur.chain.keccak import keccak256
from imprimatur.chain.rlp_codec import Decoded
from imprimatur.errors import ImprimaturError

_NUMBER = None
_ANY = -1
FIELDS: tuple[tuple[str, int | None], ...] = (
    ("parentHash", 32),
    ("sha3Uncles", 32),
    ("miner", 20),
    ("stateRoot", 32),
    ("transactionsRoot", 32),
    ("receiptsRoot", 32),
    ("logsBloom", 256),
    ("difficulty", _NUMBER),
    ("number", _NUMBER),
    ("gasLimit", _NUMBER),
    ("gasUsed", _NUMBER),
    ("timestamp", _NUMBER),
    ("extraData", _ANY),
    ("mixHash", 32),
    ("nonce", 8),
    ("baseFeePerGas", _NUMBER),  # EIP-1559, London
    ("withdrawalsRoot", 32),  # EIP-4895, Shanghai
    ("blobGasUsed", _NUMBER),  # EIP-4844, Cancun
    ("excessBlobGas", _NUMBER),
    ("parentBeaconBlockRoot", 32),  # EIP-4788
    ("requestsHash", 32),  # EIP-7685, Prague
    ("blockAccessListHash", 32),  # EIP-7928, Amsterdam
    ("slotNumber", _NUMBER),  # EIP-7843
)
"""Name in JSON and bytes of each field, in the order of the RLP; each fork appended some."""
OLDEST = 15
"""Fields that every header has."""

_PLACE = {name: place for place, (name, _) in enumerate(FIELDS)}
_BFT_MIX_HASH = bytes.fromhex("63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365")
"""Of every QBFT and IBFT 2 block: "ctical byzantine fault tolerance"."""
_BFT_PARTS = 5
"""Of their extra data: vanity, validators, vote, round, seals."""
_IBFT_ROUND_SIZE = 4
"""IBFT 2 writes a round with leading zeros, QBFT as a number."""


class HeaderInvalid(ImprimaturError):
    """Bytes or JSON that are no block header."""


@dataclass(frozen=True)
class Header:
    """A block's header: the bytes of its fields, in the order of `FIELDS`."""

    fields: tuple[bytes, ...]

    @cached_property
    def rlp(self) -> bytes:
        """What the block's hash is the hash of."""
        return rlp_codec.wrap(b"".join(map(rlp_codec.encode_bytes, self.fields)))

    @cached_property
    def hash(self) -> bytes:
        """The block's hash, 32 bytes."""
        return keccak256(self.rlp)

    @property
    def parent_hash(self) -> bytes:
        return self.fields[_PLACE["parentHash"]]

    @property
    def state_root(self) -> bytes:
        return self.fields[_PLACE["stateRoot"]]

    @property
    def transactions_root(self) -> bytes:
        return self.fields[_PLACE["transactionsRoot"]]

    @property
    def receipts_root(self) -> bytes:
        return self.fields[_PLACE["receiptsRoot"]]

    @property
    def logs_bloom(self) -> bytes:
        """Filter of 2,048 bits over addresses and topics of the block's logs."""
        return self.fields[_PLACE["logsBloom"]]

    @property
    def number(self) -> int:
        return int.from_bytes(self.fields[_PLACE["number"]], "big")

    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        return int.from_bytes(self.fields[_PLACE["timestamp"]], "big")


def header_of(block: dict[str, Any]) -> Header:
    """The header in a node's JSON of a block. Whether its hash is the block's is for the caller to check.

    Raises:
        HeaderInvalid: a field is missing or isn't hexadecimal.
    """
    try:
        found = [_field(block[name], size) for name, size in FIELDS if block.get(name) is not None]
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise HeaderInvalid(f"The node's block can't be read ({type(error).__name__}: {error}).") from error
    # A gap would move later fields to other places; the hash then can't be the block's, but say it here.
    names = [name for name, _ in FIELDS if block.get(name) is not None]
    if len(names) < OLDEST or names != [name for name, _ in FIELDS[: len(names)]]:
        missing = next(name for name, _ in FIELDS if name not in names)
        raise HeaderInvalid(f"The node's block has no {missing}. Ask a node with complete headers.")
    if found[_PLACE["mixHash"]] == _BFT_MIX_HASH:
        found[_PLACE["extraData"]] = _without_seals(found[_PLACE["extraData"]])
    return Header(tuple(found))


def parse_header(data: bytes) -> Header:
    """The header behind `Header.rlp`.

    Raises:
        HeaderInvalid: not a header, or not in its one valid form.
    """
    try:
        items = rlp_codec.decode_list(data)
        if not OLDEST <= len(items) <= len(FIELDS):
            raise HeaderInvalid(f"A header has {OLDEST} to {len(FIELDS)} fields; this one has {len(items)}.")
        return Header(tuple(_checked(item, *field) for item, field in zip(items, FIELDS, strict=False)))
    except rlp_codec.RlpInvalid as error:
        raise HeaderInvalid(f"The header is malformed: {error}") from error


def _field(hexadecimal: str, size: int | None) -> bytes:
    if size is _NUMBER:
        return rlp_codec.int_bytes(int(hexadecimal, 16))
    return bytes.fromhex(hexadecimal.removeprefix("0x"))


def _checked(item: Decoded, name: str, size: int | None) -> bytes:
    if not isinstance(item, bytes):
        raise HeaderInvalid(f"The header's {name} is a list.")
    if size is _NUMBER:
        rlp_codec.scalar(item)
    elif size not in (_ANY, len(item)):
        raise HeaderInvalid(f"The header's {name} has {len(item)} bytes instead of {size}.")
    return item


def _without_seals(extra: bytes) -> bytes:
    """Extra data of a QBFT or IBFT 2 block as its hash has it: without round and validators' seals.

    As Besu's `QbftExtraDataCodec` and `IbftExtraDataCodec` do it.
    """
    try:
        parts: Sequence[Decoded] = rlp_codec.decode_list(extra)
    except rlp_codec.RlpInvalid:
        # Another engine with the same mark; the caller's check of the hash decides.
        return extra
    if len(parts) != _BFT_PARTS:
        return extra
    round = parts[3]
    kept: list[Decoded] = list(parts[:3])
    if isinstance(round, bytes) and len(round) == _IBFT_ROUND_SIZE:
        return rlp_codec.encode(kept)
    return rlp_codec.encode([*kept, b"", []])
