"""The printer's own key: an encrypted keystore and, beside it, the password that opens it.

A printer starts without anybody in front of it, so the password has to lie on the same disk. Both files are
readable by OctoPrint's user only and left out of its backups; whoever can read that user's files can use the
key. `python -m octoprint_imprimatur.keys BASEDIR` makes the key if there is none and prints its address.
"""

import argparse
import os
import secrets
import sys
from pathlib import Path

from imprimatur.chain.signers import KeySigner, KeystoreUnusable, create_keystore, open_keystore
from imprimatur.errors import ImprimaturError

KEYSTORE = "printer-key.json"
PASSWORD = "printer-key.password"  # noqa: S105 - a file name
BACKUP_EXCLUDES = [KEYSTORE, PASSWORD]


def _create_password(path: Path) -> None:
    """Write a new password, completely or not at all: an empty file would lock the key away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def open_or_create(folder: Path) -> KeySigner:
    """The printer's signer; the key is made at the first call. Takes about a second (scrypt).

    Raises:
        KeystoreUnusable: the files don't fit each other, or one is missing.
        OSError: they can't be read or written.
    """
    keystore, password = folder / KEYSTORE, folder / PASSWORD
    if keystore.exists() and not password.exists():
        raise KeystoreUnusable(f"There is a keystore, but {password.name} is missing beside it.")
    if not password.exists():
        _create_password(password)
    if not keystore.exists():
        return create_keystore(keystore, password.read_text().strip())
    return open_keystore(keystore, password.read_text().strip())


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
