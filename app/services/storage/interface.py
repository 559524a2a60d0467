"""What the portal asks of a place for files, whatever stands behind it."""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from imprimatur.errors import ImprimaturError

KEY_DIGITS = 32
STALE_AFTER = 86_400
"""Seconds after which an unfinished file's writer is taken for dead."""


class FileMissing(ImprimaturError):
    """There is no such file in the storage."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The file {key} isn't in the storage. Restore it from a backup, or upload it again."
        )
        self.key = key


class StorageFailed(ImprimaturError):
    """The storage can't be reached, or refuses. Its state is unknown; asking again later is safe."""


class NewFile(Protocol):
    """A file that is being written. Nobody sees it before all of it is there."""

    key: str

    def write(self, data: bytes | memoryview, /) -> int:
        """Take all of `data`; the number of its bytes. Raises StorageFailed, OSError."""

    def flush(self) -> None: ...


class StoredFile(Protocol):
    """A complete file."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `stop` (or the end) in chunks of at most 1 MiB.

        Nothing is opened before the first chunk is asked for, or held after the last. Bounds beyond the end
        give what there is.

        Raises:
            FileMissing: deleted meanwhile.
            StorageFailed, OSError: it can't be read.
        """


class FileStore(Protocol):
    """Files by key: 32 random hexadecimal digits. A file never changes."""

    def new(self) -> AbstractContextManager[NewFile]:
        """A file to write. It is there once the context ends well; any exception leaves nothing.

        Raises:
            StorageFailed, OSError: it can't be kept.
        """

    def open(self, key: str) -> StoredFile:
        """A file.

        Raises:
            FileMissing: there is none with this key.
            StorageFailed, OSError: nobody knows.
            ValueError: this isn't a key.
        """

    def delete(self, key: str) -> None:
        """Remove a file; none is as good.

        Raises:
            StorageFailed, OSError: nobody knows.
            ValueError: this isn't a key.
        """

    def sweep(self, older_than_s: float = STALE_AFTER) -> int:
        """Remove what writers left that were killed; how many files. Raises StorageFailed, OSError."""


def new_key() -> str:
    return secrets.token_hex(KEY_DIGITS // 2)


def checked_key(key: str) -> str:
    """The key itself. Raises ValueError when it isn't one."""
    if len(key) != KEY_DIGITS or not all(c in "0123456789abcdef" for c in key):
        raise ValueError(f"{key!r} isn't a storage key.")
    return key
