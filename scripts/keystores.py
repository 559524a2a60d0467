"""Accounts of scripts: keystore files and password files named by the environment, never keys."""

import os
from pathlib import Path

from brownie import accounts

from imprimatur.chain.signers import KeySigner, KeystoreUnusable, open_keystore


def _files(role: str) -> tuple[Path, Path]:
    """Keystore and password file of a role; exits with a sentence when one is missing."""
    names = [f"IMPRIMATUR_{role}_KEYSTORE", f"IMPRIMATUR_{role}_PASSWORD_FILE"]
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise SystemExit(
            f"Set {' and '.join(missing)}: the file of the {role.lower()}'s key and of its password."
        )
    keystore, password_file = (Path(os.environ[name]) for name in names)
    for path in (keystore, password_file):
        if not path.is_file():
            raise SystemExit(f"{path} doesn't exist.")
    return keystore, password_file


def load_account(role: str):
    """The account behind IMPRIMATUR_<role>_KEYSTORE and IMPRIMATUR_<role>_PASSWORD_FILE.

    Exits with a sentence when one is missing.
    """
    keystore, password_file = _files(role)
    try:
        return accounts.load(str(keystore), password=password_file.read_text().strip())
    except ValueError as error:
        raise SystemExit(
            f"{keystore} can't be opened with the password in {password_file}: {error}"
        ) from error


def load_signer(role: str) -> KeySigner:
    """As `load_account`, for a key that only signs messages."""
    keystore, password_file = _files(role)
    try:
        return open_keystore(keystore, password_file.read_text().strip())
    except KeystoreUnusable as error:
        raise SystemExit(str(error)) from error
