"""A key in an encrypted file: Web3 Secret Storage, version 3."""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from imprimatur.chain import json_depth
from imprimatur.chain.account import load_account
from imprimatur.chain.signers.key import KeySigner
from imprimatur.chain.signers.protocol import SignerUnusable


class KeystoreUnusable(SignerUnusable):
    """The keystore file can't be opened with this password."""


def open_keystore(path: Path, password: str) -> KeySigner:
    """Signer of an encrypted key file.

    Raises:
        KeystoreUnusable: missing, unreadable, of another version, damaged, or another password.
    """
    text = _text(path)
    try:
        keystore = json_depth.parse(text.encode())
        version = _version(keystore)
        # Other versions hold other kinds of keys, and some would even open.
        if version == 3:
            return KeySigner(bytes(load_account().decrypt(keystore, password)))
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, AssertionError) as error:
        raise KeystoreUnusable(
            f"The keystore {path} can't be opened: damaged, or another password."
        ) from error
    raise KeystoreUnusable(
        f"The keystore {path} is of version {version!r:.20}; only version 3 is understood. "
        "Export the key again with a program that writes version 3."
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError as error:
        raise KeystoreUnusable(f"There is no keystore at {path}.") from error
    except OSError as error:
        raise KeystoreUnusable(f"The keystore {path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise KeystoreUnusable(f"{path} isn't a keystore.") from error


def _version(keystore: Any) -> Any:
    """Names are read as `decrypt` reads them: some programs wrote them with capitals."""
    return {name.lower(): value for name, value in keystore.items()}["version"]


def create_keystore(path: Path, password: str) -> KeySigner:
    """Make a new key and store it encrypted, readable by this user only. Never overwrites.

    A crash or a power cut leaves the whole file or none, and after this returned the whole file.

    Raises:
        FileExistsError: there is a file at `path`.
    """
    Account = load_account()
    account = Account.create()
    content = json.dumps(Account.encrypt(account.key, password))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces what another process made just now.
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return KeySigner(bytes(account.key))


def _sync_folder(folder: Path) -> None:
    """Only then the name of a new file survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keystore_address(path: Path) -> str:
    """Checksum address of a keystore, without opening it.

    Raises:
        KeystoreUnusable: missing, unreadable, or not a keystore.
    """
    from eth_utils.address import to_checksum_address

    text = _text(path)
    try:
        return str(to_checksum_address("0x" + json_depth.parse(text.encode())["address"].removeprefix("0x")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeystoreUnusable(f"{path} isn't a keystore.") from error
