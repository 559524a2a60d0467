"""`imprimatur seal` and `imprimatur open`: files that only a key opens."""

from pathlib import Path

import click

from imprimatur.cli.failure import CommandFailed
from imprimatur.cli.new_files import PRIVATE, new_file, require_free
from imprimatur.cli.options import FILE, Hash, json_option
from imprimatur.cli.progress import progress
from imprimatur.cli.result import Result, in_lines
from imprimatur.errors import ImprimaturError

LARGEST_KEY_FILE = 64 * 1024
"""Bytes."""
PIECE = 1 << 18
"""Bytes read at a time."""


class OtherFile(ImprimaturError):
    """The opened file isn't the expected one."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"The sealed file holds another file: its SHA-256 is {found}, not {expected}.")
        self.expected = expected
        self.found = found


@click.command(short_help="Encrypt a file to a fresh key.")
@click.argument("file", type=FILE)
@click.option("-o", "--output", required=True, type=FILE, help="The sealed file to write.")
@click.option(
    "--key-out", required=True, type=FILE, help="Where the key goes that opens it (only you can read it)."
)
@json_option
def seal(file: Path, output: Path, key_out: Path) -> Result:
    """Encrypt a file to a fresh key (age v1), hashing it on the way. Whoever has the key opens the file."""
    from imprimatur.sealing import identity_text, public_key, recipient_text
    from imprimatur.sealing import seal as seal_stream

    if output.absolute() == key_out.absolute():
        raise click.UsageError("The sealed file and its key can't be the same file.")
    require_free(key_out)
    with file.open("rb") as source, new_file(output) as target:
        with progress("sealing", file.stat().st_size) as done:
            sealed = seal_stream(source, target, done)
        # The key first: a key without a file harms nobody.
        with new_file(key_out, PRIVATE) as key:
            public = recipient_text(public_key(sealed.file_key))
            text = f"# public key: {public}\n{identity_text(sealed.file_key)}\n"
            key.write(text.encode())
    members = {
        "output": str(output),
        "keyFile": str(key_out),
        "fileHash": sealed.sha256,
        "size": sealed.size,
        "sealedHash": sealed.sealed_sha256,
        "sealedSize": sealed.sealed_size,
        "keyCommitment": sealed.key_commitment,
    }
    lines = [
        f"file hash       {sealed.sha256}  ({sealed.size} bytes)",
        f"sealed hash     {sealed.sealed_sha256}  ({sealed.sealed_size} bytes)",
        f"key commitment  {sealed.key_commitment}",
        f"Sealed as {output}. Keep {key_out} secret: without it nobody opens the file.",
    ]
    return Result(members, in_lines(lines))


@click.command(short_help="Decrypt a sealed file.")
@click.argument("sealed", type=FILE)
@click.option(
    "--key", "key_file", required=True, type=FILE, help="File with the key (of seal, or an age identity)."
)
@click.option(
    "-o", "--output", required=True, type=FILE, help="The plain file to write; only you can read it."
)
@click.option("--expect", type=Hash(), help="SHA-256 that the plain file must have, as its license says.")
@json_option
def open(sealed: Path, key_file: Path, output: Path, expect: bytes | None) -> Result:
    """Decrypt a sealed file. It appears only when all of it proved to be unchanged."""
    from imprimatur.sealing import key_commitment, open_sealed

    file_key = read_key(key_file)
    with sealed.open("rb") as source, new_file(output, PRIVATE) as target:
        with (
            progress("opening", sealed.stat().st_size) as done,
            open_sealed(source, file_key, hashing=True) as plain,
        ):
            while piece := plain.read(PIECE):
                target.write(piece)
                done(source.tell())
            digest, size = plain.digest, plain.size
        if expect is not None and digest != expect.hex():
            raise OtherFile(expect.hex(), digest)
    commitment = key_commitment(file_key)
    members = {"output": str(output), "fileHash": digest, "size": size, "keyCommitment": commitment}
    return Result(members, in_lines([f"file hash  {digest}  ({size} bytes)", f"Opened as {output}."]))


def read_key(path: Path) -> bytes:
    """The key (32 bytes) in a file of `seal` or of age-keygen.

    Raises:
        CommandFailed: there isn't exactly one.
        InvalidKey: it is damaged, or of another kind.
    """
    from imprimatur.sealing import secret_from_text

    with path.open("rb") as file:
        data = file.read(LARGEST_KEY_FILE + 1)
    lines = [line.strip() for line in data.decode("ascii", "replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if len(data) > LARGEST_KEY_FILE or len(keys) != 1:
        raise CommandFailed(f"{path} isn't a key file: it has to hold exactly one AGE-SECRET-KEY-1… line.")
    return secret_from_text(keys[0])
