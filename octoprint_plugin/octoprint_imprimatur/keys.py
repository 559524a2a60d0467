"""The printer's own key: an encrypted keystore and, beside it, the password that opens it.

A printer starts without anybody in front of it, so the password has to lie on the same disk. Both files are
readable by OctoPrint's user only and left out of its backups; whoever can read that user's files can use the
key. `python -m octoprint_imprimatur.keys BASEDIR` makes the key if there is none and prints its address.
"""

import argparse
import os
import secrets
import sys
import threading
from pathlib import Path

from imprimatur.chain.signers import KeySigner, KeystoreUnusable, create_keystore, open_keystore
from imprimatur.errors import ImprimaturError

KEYSTORE = "printer-key.json"
PASSWORD = "printer-key.password"  # noqa: S105 - a file name
PIN = "printer-key.pin"
ENCRYPTION_KEY = "encryption.key"
BACKUP_EXCLUDES = [KEYSTORE, PASSWORD, PIN, ENCRYPTION_KEY]
_creating = threading.Lock()
"""Of two passwords written at once one is replaced, and a key may belong to that one."""


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        # A secret that nobody looks for isn't left out of backups either.
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def open_or_create(folder: Path) -> KeySigner:
    """The printer's signer; the key is made at the first call. Takes about a second (scrypt).

    Raises:
        KeystoreUnusable: the files don't fit each other, or one is missing.
        OSError: they can't be read or written.
    """
    keystore, password = folder / KEYSTORE, folder / PASSWORD
    with _creating:
        if keystore.exists() and not password.exists():
            raise KeystoreUnusable(f"There is a keystore, but {password.name} is missing beside it.")
        if not password.exists():
            # An empty or torn password would lock the key away.
            write_secret(password, secrets.token_urlsafe(32))
        if not keystore.exists():
            return create_keystore(keystore, password.read_text().strip())
    return open_keystore(keystore, password.read_text().strip())


def encryption_key(folder: Path) -> bytes:
    """The public half (32 bytes) of the printer's X25519 key; made once, so that asking again says the same.

    Raises:
        InvalidKey, OSError: the file isn't a key, or can't be read or written.
    """
    from imprimatur.sealing import identity_text, new_key, public_key, secret_from_text

    path = folder / ENCRYPTION_KEY
    if not path.exists():
        write_secret(path, identity_text(new_key()) + "\n")
    return public_key(secret_from_text(path.read_text().strip()))


def data_folder(basedir: Path) -> Path:
    """Where OctoPrint keeps this plugin's data."""
    return basedir / "data" / "imprimatur"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m octoprint_imprimatur.keys",
        description="Print the address of a printer's key; the key is made if there is none.",
    )
    parser.add_argument("basedir", type=Path, help="OctoPrint's base folder")
    folder = data_folder(parser.parse_args(arguments).basedir)
    try:
        print(open_or_create(folder).address)
    except (ImprimaturError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
