"""The two secrets of a key desk: the key that signs its answers, and the one that opens file keys.

They lie encrypted with one password in a folder of the desk's own; `public.json` is for everybody else.
"""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from app.settings import DeskIdentity, DeskSettings
from imprimatur.chain.signers import Signer, create_keystore, open_keystore
from imprimatur.errors import ImprimaturError
from imprimatur.sealing import InvalidKey, identity_text, new_key, public_key, secret_from_text
from imprimatur.sealing.age import load_pyrage

KEYSTORE, VAULT, PUBLIC, PASSWORD = "keystore.json", "vault.age", "public.json", "password"


class DeskKeysExist(ImprimaturError):
    """There is something in the folder already that new keys would replace."""


class DeskKeysUnusable(ImprimaturError):
    """The desk's keys can't be opened, or aren't the ones that the portal seals for."""


@dataclass(frozen=True, slots=True, repr=False)
class DeskKeys:
    """Open: `signer` signs answers, `vault` (X25519 secret, 32 bytes) opens file keys."""

    signer: Signer
    vault: bytes

    @property
    def identity(self) -> DeskIdentity:
        """What everybody may know of them."""
        return DeskIdentity(self.signer.address, public_key(self.vault))


def make_keys(folder: Path, password: str | None = None) -> DeskIdentity:
    """Make both keys. `public.json` is written last: with it, all is there.

    Args:
        password: None: a random one, kept beside the keys for a desk that starts unattended.

    Raises:
        DeskKeysExist: nothing is overwritten.
        DeskKeysUnusable: the password is empty.
    """
    pyrage = load_pyrage()
    if password == "":
        raise DeskKeysUnusable("The desk's password is empty. Put one into the file, or set none.")
    names = (KEYSTORE, VAULT, PUBLIC, *([PASSWORD] if password is None else []))
    if found := [name for name in names if (folder / name).exists()]:
        raise DeskKeysExist(
            f"{folder} already holds {', '.join(found)}. What was sealed for these keys opens with nothing "
            "else, so they are never overwritten. Choose another folder."
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if password is None:
        password = secrets.token_urlsafe(32)
        _write(folder / PASSWORD, password.encode())
    keys = DeskKeys(create_keystore(folder / KEYSTORE, password), new_key())
    _write(folder / VAULT, pyrage.passphrase.encrypt(identity_text(keys.vault).encode(), password))
    identity = keys.identity
    public = {"address": identity.address, "recipient": identity.recipient.hex()}
    _write(folder / PUBLIC, json.dumps(public, indent=2).encode() + b"\n", 0o644)
    return identity


def _write(path: Path, content: bytes, mode: int = 0o600) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def open_keys(own: DeskSettings) -> DeskKeys:
    """The desk's keys.

    Raises:
        DeskKeysUnusable, KeystoreUnusable: missing, damaged, or another password.
    """
    vault = _opened_vault(own.vault, own.password)
    return DeskKeys(open_keystore(own.keystore, own.password), vault)


def require_identity(keys: DeskKeys, identity: DeskIdentity | None) -> None:
    """Raises DeskKeysUnusable when these keys aren't the ones that the portal tells of and seals for."""
    if identity is None:
        raise DeskKeysUnusable(
            "IMPRIMATUR_DESK_FILE isn't set, so the desk can't tell whether its keys are the right ones."
        )
    if keys.identity != identity:
        raise DeskKeysUnusable(
            f"The desk's signing key is that of {keys.signer.address}; IMPRIMATUR_DESK_FILE tells of another "
            "key or another vault. Set all three files to what one `flask desk-keys` made."
        )


def _opened_vault(path: Path, password: str) -> bytes:
    pyrage = load_pyrage()
    try:
        return secret_from_text(pyrage.passphrase.decrypt(path.read_bytes(), password).decode())
    except OSError as error:
        raise DeskKeysUnusable(f"The desk's vault {path} can't be read: {error.strerror}.") from error
    except (pyrage.DecryptError, InvalidKey, ValueError) as error:
        if "Excessive work" in str(error):
            # age measures how long the password would take here, and gives up at 16 times its second.
            raise DeskKeysUnusable(
                f"The desk's vault {path} was not opened: this machine is much slower, or busier, than that "
                "which made it. Nothing is damaged. Start the desk again when the machine is idle."
            ) from error
        raise DeskKeysUnusable(
            f"The desk's vault {path} can't be opened: damaged, or another password."
        ) from error
