"""A key in an encrypted file: Web3 Secret Storage, version 3."""

import json
import os
from pathlib import Path

from imprimatur.chain.account import load_account
from imprimatur.chain.signers.key import KeySigner
from imprimatur.chain.signers.protocol import SignerUnusable


class KeystoreUnusable(SignerUnusable):
    """The keystore file can't be opened with this password."""


def open_keystore(path: Path, password: str) -> KeySigner:
    """Signer of an encrypted key file.

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
