"""Files in one folder: random names, readable by the portal's account only, flushed to disk."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.services.storage.interface import STALE_AFTER, FileMissing, checked_key, new_key

CHUNK_SIZE = 1 << 20
"""Bytes read at a time."""
BUFFER_SIZE = 1 << 20
"""Bytes written at a time; a writer holds two of these."""
_PART = ".part"


class LocalFiles:
    """`FileStore` in a folder, made when the first file comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def new(self) -> Iterator["_NewLocalFile"]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = new_key()
        part = self._folder / (key + _PART)
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with (
                os.fdopen(descriptor, "wb", buffering=0) as file,
                ThreadPoolExecutor(1, "storage") as writer,
            ):
                new = _NewLocalFile(key, file, writer)
                yield new
                new.finish()
            part.rename(self._folder / key)
        except BaseException:  # a disconnected browser, a full disk, a stopped process: all leave nothing
            part.unlink(missing_ok=True)
            raise
        self._sync_folder()

    def open(self, key: str) -> "_LocalFile":
        path = self._folder / checked_key(key)
        try:
            return _LocalFile(key, path, path.stat().st_size)
        except FileNotFoundError as error:
            raise FileMissing(key) from error

    def delete(self, key: str) -> None:
        (self._folder / checked_key(key)).unlink(missing_ok=True)

    def sweep(self, older_than_s: float = STALE_AFTER) -> int:
        if not self._folder.exists():
            return 0
        stale = [p for p in self._folder.glob(f"*{_PART}") if time.time() - p.stat().st_mtime > older_than_s]
        for part in stale:
            part.unlink(missing_ok=True)
        return len(stale)

    def _sync_folder(self) -> None:
        """Make the new name outlive a power cut too."""
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _NewLocalFile:
    """Writes in a thread of its own: while the disk takes one buffer, the next one fills."""

    def __init__(self, key: str, file: BinaryIO, writer: ThreadPoolExecutor) -> None:
        self.key = key
        self._file = file
        self._writer = writer
        self._writing: Future[None] | None = None
        self._filling, self._other = bytearray(BUFFER_SIZE), bytearray(BUFFER_SIZE)
        self._filled = 0

    def write(self, data: bytes | memoryview, /) -> int:
        rest = memoryview(data)
        if not self._filled and len(rest) >= BUFFER_SIZE and rest.readonly:
            # Nobody can change it while it is written: no need for a copy.
            self._wait()
            self._writing = self._writer.submit(self._write, rest)
            return len(data)
        while rest:
            end = min(self._filled + len(rest), BUFFER_SIZE)
            taken = end - self._filled
            self._filling[self._filled : end] = rest[:taken]
            self._filled, rest = end, rest[taken:]
            if end == BUFFER_SIZE:
                self._pass_on()
        return len(data)

    def flush(self) -> None:
        """Nothing is promised before the end."""

    def finish(self) -> None:
        """Have all of it on the disk."""
        self._pass_on()
        self._wait()
        os.fsync(self._file.fileno())

    def _pass_on(self) -> None:
        self._wait()
        self._writing = self._writer.submit(self._write, memoryview(self._filling)[: self._filled])
        self._filling, self._other = self._other, self._filling
        self._filled = 0

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _write(self, data: memoryview) -> None:
        while data:
            data = data[self._file.write(data) :]


@dataclass(frozen=True, slots=True)
class _LocalFile:
    key: str
    path: Path
    size: int

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        left = (self.size if stop is None else min(stop, self.size)) - start
        if left <= 0:
            return
        try:
            file = self.path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise FileMissing(self.key) from error
        with file:
            file.seek(start)
            while left > 0 and (chunk := file.read(min(CHUNK_SIZE, left))):
                left -= len(chunk)
                yield chunk
