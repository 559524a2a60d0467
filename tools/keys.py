"""Make a keystore with a password file beside it, or read the one that is there; print its address.

    python tools/keys.py FOLDER/owner.json

The password is random and goes into FOLDER/owner.password; both files are readable by this user only.
"""

import os
import secrets
import sys
from pathlib import Path

from imprimatur.chain.signers import create_keystore, keystore_address


def ensure_keystore(keystore: Path) -> str:
    """Address of the key in `keystore`, which is made together with its password when missing."""
    if not keystore.exists():
        keystore.parent.mkdir(parents=True, exist_ok=True)
        password = keystore.with_suffix(".password")
        # A password without a keystore is left from an interrupted run: it opens nothing.
        password.unlink(missing_ok=True)
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        text = secrets.token_urlsafe(32)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        create_keystore(keystore, text)
    return keystore_address(keystore)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(ensure_keystore(Path(argument)))
