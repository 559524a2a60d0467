"""Sealing: one pass that encrypts a file to a fresh key and hashes what goes in and what comes out."""

import hashlib
import io
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO

from imprimatur.hashing import Progress
from imprimatur.sealing.age import load_pyrage, recipient
from imprimatur.sealing.keys import key_commitment, new_key, public_key
from imprimatur.sealing.source import read_from

PIECE_SIZE = 1 << 18
"""Bytes read at a time: four of age's chunks."""
GATHERED = 1 << 20
"""Sealed bytes that are hashed and written at a time."""


@dataclass(frozen=True, slots=True)
class SealedFile:
    """What sealing a file yields. Hashes are hexadecimal SHA-256, sizes bytes.

    `file_key` opens the file: it belongs into the key desk's encrypted store and nowhere else.
    """

    file_key: bytes = field(repr=False)
    key_commitment: str
    size: int
    sha256: str
    sealed_size: int
    sealed_sha256: str


class _Source(io.RawIOBase):
    """Hands the plain bytes to pyrage. Remembers the first failure: pyrage would change its type."""

    def __init__(self, source: BinaryIO, progress: Progress | None) -> None:
        super().__init__()
        self._source = source
        self._progress = progress
        self.hash = hashlib.sha256()
        self.size = 0
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = read_from(self._source, len(buffer))
            buffer[: len(data)] = data
            self.hash.update(data)
            self.size += len(data)
            if data and self._progress:
                self._progress(self.size)
        except BaseException as error:
            self.failure = self.failure or error
            raise
        return len(data)


class _Target:
    """Takes the sealed bytes from pyrage, which writes the last of them without looking for failures.

    It hands them on in large pieces and hashes one, beside the work, while the next is sealed: in small ones
    the threads would wait for each other longer than hashing takes.
    """

    def __init__(self, target: BinaryIO, beside: Executor) -> None:
        self._target = target
        self._beside = beside
        self._hash = hashlib.sha256()
        self._hashing: Future[None] | None = None
        self._parts: list[bytes] = []
        self._gathered = 0
        self.size = 0
        self.failure: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            if self.failure:
                raise self.failure
            self._parts.append(bytes(data))
            self._gathered += len(data)
            self.size += len(data)
            if self._gathered >= GATHERED:
                self._hand_on()
        except BaseException as error:
            self.failure = self.failure or error
            raise
        return len(data)

    def flush(self) -> None:
        """Pieces wait until they are large enough."""

    def finish(self) -> str:
        """Hand on the rest; the SHA-256 of all."""
        if self.failure:
            raise self.failure
        self._hand_on()
        self._wait()
        self._target.flush()
        return self._hash.hexdigest()

    def _hand_on(self) -> None:
        piece = b"".join(self._parts)
        self._parts, self._gathered = [], 0
        self._wait()
        self._hashing = self._beside.submit(self._hash.update, piece)
        rest = memoryview(piece)
        while rest:
            written = self._target.write(rest)
            if not written:
                raise OSError("The place for the sealed file took no more bytes.")
            rest = rest[written:]

    def _wait(self) -> None:
        if self._hashing is not None:
            self._hashing.result()


def _signal_in(error: BaseException) -> BaseException | None:
    """What a signal's handler raised where Python had just entered or left our part of the work: pyrage makes
    an error of it that only names it."""
    name, _, value = str(error).partition(": ")
    if name == "KeyboardInterrupt":
        return KeyboardInterrupt()
    if name == "SystemExit":
        return SystemExit(int(value) if value.isdigit() else value)
    return None


def seal(source: BinaryIO, target: BinaryIO, progress: Progress | None = None) -> SealedFile:
    """Encrypt the rest of `source` to a fresh file key and write it to `target`, in one pass.

    Any object whose `read(size)` waits is a source: for an upload, the web framework's request stream.
    `progress` is called with the plain bytes done so far; an exception from it stops the sealing. Neither
    stream is closed. After a failure the target holds a torn file: delete it.

    Raises:
        BlockingIOError: the source has no bytes at the moment, and isn't at its end.
        Exception: whatever `source`, `target` or `progress` raised, as they raised it.
    """
    file_key = new_key()
    with ThreadPoolExecutor(1, "sealing") as beside:
        reader, writer = _Source(source, progress), _Target(target, beside)
        try:
            load_pyrage().encrypt_io(
                io.BufferedReader(reader, PIECE_SIZE), writer, [recipient(public_key(file_key))]
            )
            sealed_sha256 = writer.finish()
        except BaseException as error:
            if failure := reader.failure or writer.failure or _signal_in(error):
                raise failure from None
            raise
    return SealedFile(
        file_key=file_key,
        key_commitment=key_commitment(file_key),
        size=reader.size,
        sha256=reader.hash.hexdigest(),
        sealed_size=writer.size,
        sealed_sha256=sealed_sha256,
    )
