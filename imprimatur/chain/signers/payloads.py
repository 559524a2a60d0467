"""What exactly is signed, as bytes: for keys that only sign, in a token or behind a server.

The Keccak-256 of these bytes is what the curve signs. A signature is checked by whose it is: the address
that is recovered from it must be the one that was meant.
"""

from dataclasses import dataclass
from typing import Any

from imprimatur.chain.account import load_account
from imprimatur.chain.keccak import keccak256
from imprimatur.chain.rlp_codec import Decoded, RlpInvalid, decode_list, encode, int_bytes
from imprimatur.chain.signers.protocol import SignerUnusable

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Number of points on secp256k1 (SEC 2, 2.4.1)."""
EIP_1559 = b"\x02"
"""Type byte of a transaction with a base fee and a tip."""


class NotOurSignature(SignerUnusable):
    """The key that was asked to sign isn't the one of our address, or it signed something else."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A point's x as `r`, `s` in the lower half, and whether the point's y is odd."""

    r: int
    s: int
    odd: int

    @property
    def hex(self) -> str:
        """0x and 65 bytes r, s, v with v 27 or 28."""
        return f"0x{self.r:064x}{self.s:064x}{27 + self.odd:02x}"


def message_payload(message: bytes) -> bytes:
    """What `Signer.sign_message` signs (EIP-191, version 0x45)."""
    return b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message


def transaction_payload(transaction: dict[str, Any]) -> bytes:
    """What `Signer.sign_transaction` signs (EIP-1559)."""
    return EIP_1559 + encode(_fields(transaction))


def signed_transaction(transaction: dict[str, Any], signature: Signature) -> tuple[bytes, str]:
    """The bytes to send, and the transaction's hash (0x…)."""
    ending = [int_bytes(number) for number in (signature.odd, signature.r, signature.s)]
    raw = EIP_1559 + encode([*_fields(transaction), *ending])
    return raw, "0x" + keccak256(raw).hex()


def _fields(transaction: dict[str, Any]) -> list[Any]:
    if transaction.get("type") != 2 or transaction.get("accessList"):
        raise ValueError("Only EIP-1559 transactions without an access list are signed here.")
    numbers = ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas")
    return [
        *(int_bytes(transaction[name]) for name in numbers),
        bytes.fromhex(transaction["to"].removeprefix("0x")),
        int_bytes(transaction["value"]),
        bytes.fromhex(transaction["data"].removeprefix("0x")),
        [],
    ]


def signature_in(raw: bytes, transaction: dict[str, Any]) -> Signature:
    """The signature at the end of a signed transaction that must be this one, in every byte.

    Raises:
        NotOurSignature: it's another transaction; with the fields that differ.
    """
    expected = _fields(transaction)
    try:
        found: list[Decoded] = decode_list(raw[1:]) if raw[:1] == EIP_1559 else []
    except RlpInvalid:
        found = []
    ending = found[len(expected) :]
    if len(ending) != 3 or not all(isinstance(number, bytes) and len(number) <= 32 for number in ending):
        raise NotOurSignature("The signer returned something that isn't an EIP-1559 transaction.")
    names = ("chain id", "nonce", "tip", "fee", "gas", "recipient", "value", "data", "access list")
    pairs = zip(names, expected, found[: len(expected)], strict=True)
    if differing := [name for name, wanted, got in pairs if wanted != got]:
        raise NotOurSignature(f"The signer returned another transaction than asked: {', '.join(differing)}.")
    odd, r, s = (int.from_bytes(number, "big") for number in ending if isinstance(number, bytes))
    return Signature(r, s, odd)


def complete(digest: bytes, r: int, s: int, address: str) -> Signature:
    """The signature of `digest` with s in the lower half and the y that leads to `address`.

    Raises:
        NotOurSignature: neither y leads there.
    """
    # A signature with -s holds as well (EIP-2); contracts and nodes take the smaller s only.
    low = min(s, ORDER - s)
    for odd in (0, 1):
        signature = Signature(r, low, odd)
        if _signed_by(digest, signature) == address:
            return signature
    raise NotOurSignature(f"The signature isn't by {address}: another key, or it signed something else.")


def check(digest: bytes, signature: Signature, address: str) -> Signature:
    """The signature, when it is by `address` and has its s in the lower half.

    Raises:
        NotOurSignature: it isn't.
    """
    if 2 * signature.s > ORDER or _signed_by(digest, signature) != address:
        raise NotOurSignature(f"The signature isn't by {address}: another key, or it signed something else.")
    return signature


def _signed_by(digest: bytes, signature: Signature) -> str | None:
    """Checksum address of the key that signed; None when the numbers are no signature."""
    load_account()
    from eth_keys.datatypes import Signature as Recoverable
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    try:
        recoverable = Recoverable(vrs=(signature.odd, signature.r, signature.s))
        return str(recoverable.recover_public_key_from_msg_hash(digest).to_checksum_address())
    except (BadSignature, ValidationError):
        return None


def address_of(point: bytes) -> str:
    """Checksum address of a public key: 64 bytes x and y, or 65 with 0x04 before them."""
    from eth_utils.address import to_checksum_address

    if len(point) == 65 and point[0] == 4:
        point = point[1:]
    if len(point) != 64:
        raise ValueError("An uncompressed public key has 64 bytes, or 65 that start with 0x04.")
    return str(to_checksum_address(keccak256(point)[12:]))
