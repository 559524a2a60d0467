"""Files that the command line writes: whole or not at all, and never over something that is there."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from imprimatur.cli import stopping

PUBLIC = 0o666
"""What the process's umask leaves of it."""
PRIVATE = 0o600


def require_free(path: Path) -> None:
    """Before long work: that nothing is at `path`.

    Raises:
        FileExistsError, or another OSError when the folder can't be used.
    """
    if os.path.lexists(path):
        raise FileExistsError(17, "File exists", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(2, "The folder doesn't exist", str(path.parent))


@contextmanager
def reserved(path: Path) -> Iterator[Path]:
    """A name beside `path` for a file to be made. It becomes `path` when the block ends well, and is removed
    otherwise.

    Raises:
        FileExistsError: there is something at `path`.
        KeyboardInterrupt: the command was stopped meanwhile.
    """
    require_free(path)
    partial = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        stopping.check()
        _publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path, mode: int = PUBLIC) -> Iterator[BinaryIO]:
    """A file to write. It appears at `path` when the block ends well, with all its bytes on the disk.

    Raises:
        FileExistsError: there is something at `path`.
    """
    with reserved(path) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())


def _publish(partial: Path, path: Path) -> None:
    try:
        # Unlike a rename, a link fails when somebody else made the file meanwhile.
        os.link(partial, path)
    except FileExistsError:
        raise FileExistsError(17, "File exists", str(path)) from None
    except OSError:
        # A file system without links.
        require_free(path)
        partial.rename(path)
    with suppress(OSError):
        # So that the name survives a power cut too; not every file system can.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
