"""SHA-256 of files and streams, in constant memory, with progress."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

CHUNK_SIZE = 1 << 20
"""Bytes read at a time."""

Progress = Callable[[int], None]
"""Called with the number of bytes done so far."""


class HashingReader:
    """Passes chunks of a stream through and hashes what passed.

    `digest` is the lower-case hexadecimal SHA-256 (64 characters) and `size` the bytes of everything
    iterated so far.
    """

    def __init__(self, stream: BinaryIO, progress: Progress | None = None) -> None:
        self._stream = stream
        self._progress = progress
        self._hash = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._read():
            self._hash.update(chunk)
            self.size += len(chunk)
            if self._progress:
                self._progress(self.size)
            yield chunk

    def _read(self) -> bytes:
        chunk: bytes | None = self._stream.read(CHUNK_SIZE)
        if chunk is None:
            raise BlockingIOError("The source gives no bytes now. Read from one that waits for them.")
        return chunk

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def sha256_stream(stream: BinaryIO, progress: Progress | None = None) -> str:
    """Hexadecimal SHA-256 of the rest of `stream`."""
    reader = HashingReader(stream, progress)
    for _ in reader:
        pass
    return reader.digest


def sha256_file(path: Path, progress: Progress | None = None) -> str:
    """Hexadecimal SHA-256 of the file at `path`.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as stream:
        return sha256_stream(stream, progress)
