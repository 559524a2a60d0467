"""Tokens of SoftHSM 2 (Debian's packages softhsm2, libsofthsm2) in a folder of their own."""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from imprimatur.chain.signers import Token

PIN = "71384"
FOLDERS = (
    "/usr/lib/softhsm",
    *(f"/usr/lib/{machine}-linux-gnu/softhsm" for machine in ("x86_64", "aarch64")),
    "/usr/lib/arm-linux-gnueabihf/softhsm",
)


def module() -> Path:
    """The PKCS #11 module. Its absence is an error: a signer that isn't tested isn't offered."""
    for folder in FOLDERS:
        path = Path(folder) / "libsofthsm2.so"
        if path.is_file():
            return path
    raise FileNotFoundError(f"SoftHSM 2 is in none of {', '.join(FOLDERS)}: apt install softhsm2")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where this process's tokens are, until it ends. The module looks for it when it is loaded."""
    folder = tempfile.TemporaryDirectory(prefix="softhsm")
    (Path(folder.name) / "tokens").mkdir()
    config = Path(folder.name) / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder.name}/tokens\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(config)
    return folder


def new_token(label: str) -> Token:
    """A fresh token with the user PIN `PIN`. Sessions of tokens made before are lost, as if pulled out."""
    import pkcs11

    _folder()
    tool = shutil.which("softhsm2-util")
    if tool is None:
        raise FileNotFoundError("softhsm2-util isn't there: apt install softhsm2")
    command = [tool, "--init-token", "--free", "--label", label, "--so-pin", "93021", "--pin", PIN]
    subprocess.run(command, check=True, capture_output=True)
    # The module sees tokens of other programs only when it starts.
    pkcs11.lib(str(module())).reinitialize()
    return Token(module(), label, PIN)
