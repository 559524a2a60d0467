"""A key in this process's memory."""

from typing import Any

from imprimatur.chain.account import load_account
from imprimatur.chain.adapters import AccountSigner
from imprimatur.chain.keccak import keccak256
from imprimatur.chain.signers.protocol import Types
from imprimatur.chain.signers.typed_payload import typed_data_payload


class KeySigner(AccountSigner):
    """Signs with a secp256k1 key in memory (32 bytes)."""

    def __init__(self, key: bytes) -> None:
        super().__init__(load_account().from_key(key))

    def sign_typed_data(self, domain: dict[str, Any], types: Types, message: dict[str, Any]) -> str:
        digest = keccak256(typed_data_payload(domain, types, message))
        return "0x" + bytes(self._account.unsafe_sign_hash(digest).signature).hex()
