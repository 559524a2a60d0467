"""Reading signed transactions as strictly as a node does before it lets them into its pool."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from imprimatur.chain.rpc import NodeRefused

REFUSED = -32000
"""The code under which geth refuses a transaction."""
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""A larger s is the malleable twin of a signature (EIP-2)."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed EIP-1559 transaction. Addresses in lower case, fees in wei per gas."""

    raw: bytes
    hash: str
    sender: str
    chain_id: int
    nonce: int
    tip: int
    fee: int
    gas: int
    to: str
    value: int
    data: bytes

    @property
    def cost(self) -> int:
        """Wei that the sender must hold."""
        return self.gas * self.fee + self.value


def keccak(data: bytes) -> bytes:
    """Keccak-256."""
    from Crypto.Hash import keccak

    return keccak.new(digest_bits=256, data=data).digest()


@lru_cache(maxsize=10_000)
def _read(raw: bytes) -> Signed | str:
    import rlp
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature, ValidationError

    if raw[:1] != b"\x02":
        return "transaction type not supported"
    try:
        fields: list[Any] = rlp.decode(raw[1:])
        chain_id, nonce, tip, fee, gas = (int.from_bytes(field, "big") for field in fields[:5])
        to, value, data, access = fields[5:9]
        odd, r, s = (int.from_bytes(field, "big") for field in fields[9:12])
    except (rlp.DecodingError, ValueError, TypeError) as error:
        return f"rlp: {error}"
    if len(fields) != 12 or len(to) != 20 or access:
        return "rlp: not a plain EIP-1559 transaction"
    if odd > 1 or not 0 < s <= HALF_ORDER or r == 0:
        return "invalid transaction v, r, s values"
    digest = keccak(b"\x02" + rlp.encode(fields[:9]))
    try:
        key = Signature(vrs=(odd, r, s)).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError):
        return "invalid transaction v, r, s values"
    sender = "0x" + keccak(key.to_bytes())[12:].hex()
    own_hash = "0x" + keccak(raw).hex()
    amount = int.from_bytes(value, "big")
    return Signed(raw, own_hash, sender, chain_id, nonce, tip, fee, gas, "0x" + to.hex(), amount, data)


def read(raw: bytes) -> Signed:
    """The transaction in signed bytes.

    Raises:
        NodeRefused: in geth's words; also for a signature whose s isn't the low one.
    """
    found = _read(raw)
    if isinstance(found, str):
        raise NodeRefused(REFUSED, found)
    return found


def replaces(new: Signed, old: Signed) -> bool:
    """Whether a pool takes `new` for `old` of the same nonce: 10 % more of both fees (geth's price bump)."""
    return 10 * new.fee >= 11 * old.fee and 10 * new.tip >= 11 * old.tip
