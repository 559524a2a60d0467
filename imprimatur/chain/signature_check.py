"""Whose an EIP-712 signature is."""

from typing import Any

from imprimatur.chain.keccak import keccak256
from imprimatur.chain.signers.payloads import NotOurSignature, Signature, check
from imprimatur.chain.signers.typed_payload import typed_data_payload
from imprimatur.chain.typed_data import Domain, Types


def typed_data_digest(domain: Domain, types: Types, message: dict[str, Any]) -> bytes:
    """The 32 bytes that are signed, and that a contract account is asked about (ERC-1271)."""
    return keccak256(typed_data_payload(domain, types, message))


def is_signed_by(
    address: str, signature: bytes, domain: Domain, types: Types, message: dict[str, Any]
) -> bool:
    """Whether `signature` is r, s, v of the key of `address` (with checksum) over this message.

    Only the form with s in the lower half and v 27 or 28 counts: else one statement had several signatures.
    """
    if len(signature) != 65 or signature[64] not in (27, 28):
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    try:
        check(typed_data_digest(domain, types, message), Signature(r, s, signature[64] - 27), address)
    except NotOurSignature:
        return False
    return True
