"""A key in this process's memory."""

from imprimatur.chain.account import load_account
from imprimatur.chain.adapters import AccountSigner


class KeySigner(AccountSigner):
    """Signs with a secp256k1 key in memory (32 bytes)."""

    def __init__(self, key: bytes) -> None:
        super().__init__(load_account().from_key(key))
