"""`imprimatur hash`: the SHA-256 that licenses name files by."""

import sys
from pathlib import Path

import click

from imprimatur.cli.options import json_option
from imprimatur.cli.progress import progress
from imprimatur.cli.result import Result, in_lines
from imprimatur.hashing import HashingReader

STDIN = Path("-")


@click.command(short_help="SHA-256 of files.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@json_option
def hash(files: tuple[Path, ...]) -> Result:
    """SHA-256 of files, as licenses name them; - is the standard input."""
    found = [_hashed(path) for path in files]
    lines = [f"{sha256}  {path}" for path, sha256, _ in found]
    members = [{"file": str(path), "sha256": sha256, "size": size} for path, sha256, size in found]
    return Result({"files": members}, in_lines(lines))


def _hashed(path: Path) -> tuple[Path, str, int]:
    if path == STDIN:
        reader = HashingReader(sys.stdin.buffer)
        for _ in reader:
            pass
        return path, reader.digest, reader.size
    with path.open("rb") as stream, progress(path.name, path.stat().st_size) as done:
        reader = HashingReader(stream, done)
        for _ in reader:
            pass
    return path, reader.digest, reader.size
