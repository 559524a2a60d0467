"""Who signs: accounts whose key this process may use."""

import json
import os
from pathlib import Path
from typing import Any, Protocol

from imprimatur.chain.account import load_account
from imprimatur.errors import ImprimaturError


class KeystoreUnusable(ImprimaturError):
    """The keystore file can't be opened with this password."""


class Signer(Protocol):
    """An account that can sign."""

    @property
    def address(self) -> str:
        """Checksum address."""

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        """Signed bytes and transaction hash (0x…) of an EIP-1559 transaction."""

    def sign_message(self, message: bytes) -> str:
        """EIP-191 signature (0x and 65 bytes) of a message."""

    def sign_typed_data(
        self, domain: dict[str, Any], types: dict[str, list[dict[str, str]]], message: dict[str, Any]
    ) -> str:
        """EIP-712 signature (0x and 65 bytes) of a message; `types` holds its type and no EIP712Domain."""


class KeySigner:
    """Signs with a secp256k1 key in memory."""

    def __init__(self, key: bytes) -> None:
        self._account = load_account().from_key(key)

    @property
    def address(self) -> str:
        return str(self._account.address)

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        signed = self._account.sign_transaction(transaction)
        return bytes(signed.raw_transaction), "0x" + bytes(signed.hash).hex()

    def sign_message(self, message: bytes) -> str:
        from eth_account.messages import encode_defunct

        return "0x" + bytes(self._account.sign_message(encode_defunct(primitive=message)).signature).hex()

    def sign_typed_data(
        self, domain: dict[str, Any], types: dict[str, list[dict[str, str]]], message: dict[str, Any]
    ) -> str:
        return "0x" + bytes(self._account.sign_typed_data(domain, types, message).signature).hex()

    def __repr__(self) -> str:
        return f"KeySigner({self.address})"


def open_keystore(path: Path, password: str) -> KeySigner:
    """Signer of an encrypted key file (Web3 Secret Storage, version 3).

    Raises:
        KeystoreUnusable: missing, damaged, or another password.
    """
    try:
        return KeySigner(bytes(load_account().decrypt(json.loads(path.read_text()), password)))
    except FileNotFoundError as error:
        raise KeystoreUnusable(f"There is no keystore at {path}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise KeystoreUnusable(
            f"The keystore {path} can't be opened: damaged, or another password."
        ) from error


def create_keystore(path: Path, password: str) -> KeySigner:
    """Make a new key and store it encrypted, readable by this user only. Never overwrites.

    Raises:
        FileExistsError: there is a file at `path`.
    """
    Account = load_account()
    account = Account.create()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(Account.encrypt(account.key, password), file)
        file.flush()
        os.fsync(file.fileno())
    return KeySigner(bytes(account.key))


def keystore_address(path: Path) -> str:
    """Checksum address of a keystore, without opening it.

    Raises:
        KeystoreUnusable: missing, or not a keystore.
    """
    from eth_utils.address import to_checksum_address

    try:
        return str(to_checksum_address("0x" + json.loads(path.read_text())["address"].removeprefix("0x")))
    except FileNotFoundError as error:
        raise KeystoreUnusable(f"There is no keystore at {path}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeystoreUnusable(f"{path} isn't a keystore.") from error
