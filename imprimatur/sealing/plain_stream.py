"""Opening a sealed file: a stream of plain bytes that are authenticated before anybody sees them.

pyrage pushes (it reads a whole file and writes a whole file), a printer pulls. So pyrage runs in a thread of
its own that stops whenever it wants more of the sealed file. The reader's thread answers: it takes the plain
bytes made so far, hands the next sealed piece over, and while it hashes or prints the former, the thread
decrypts the latter. The source is only ever touched by the reader's thread, so its errors come out as they
are, and the decrypting thread waits for nothing but its reader: closing ends it at once.
"""

import hashlib
import io
import os
import threading
import weakref
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, BinaryIO

from imprimatur.sealing.age import check_header, failure_of, holds_header, identity, load_pyrage
from imprimatur.sealing.source import read_from

PIECE_SIZE = 1 << 19
"""Bytes of the sealed file decrypted at a time; a stream holds a few pieces. Smaller ones cost more changes
of thread, larger ones don't stay in a core's cache."""


class _Cancelled(Exception):
    """Nobody reads any more."""


@dataclass(frozen=True, slots=True)
class _Step:
    """Plain bytes made since the last step; then the thread waits for a piece, or has ended."""

    plain: bytes
    ended: bool = False
    failure: BaseException | None = None


class _Decryption:
    """pyrage in its thread; towards pyrage it is both files, the sealed and the plain one.

    Only C-implemented primitives are shared between the threads: `end` may be called by the garbage
    collector, in any thread and in the middle of anything.
    """

    def __init__(self, identity: Any) -> None:
        self.steps: SimpleQueue[_Step] = SimpleQueue()
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._identity = identity
        self._sealed = io.BytesIO()
        self._at_end = False
        self._plain: list[bytes] = []
        self.process = os.getpid()
        self._running = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="sealed-file", daemon=True)

    def start(self) -> None:
        self._running.acquire()
        self._thread.start()

    def feed(self, piece: bytes) -> None:
        """Answer a step with the next sealed bytes; none at the end of the file."""
        self._pieces.put(piece)

    def end(self) -> None:
        """Stop decrypting, and wait until it has stopped. A forked process has no such thread."""
        if os.getpid() != self.process:
            return
        self._pieces.put(None)
        if threading.get_ident() != self._thread.ident:
            with self._running:
                pass

    def read(self, size: int) -> bytes:
        """Called by pyrage."""
        if not (data := self._sealed.read(size)) and not self._at_end:
            self.steps.put(_Step(self._take()))
            piece = self._pieces.get()
            if piece is None:
                raise _Cancelled
            self._sealed = io.BytesIO(piece)
            self._at_end = not piece
            data = self._sealed.read(size)
        return data

    def write(self, data: bytes) -> int:
        """Called by pyrage with authenticated bytes."""
        self._plain.append(data)
        return len(data)

    def _take(self) -> bytes:
        plain = b"".join(self._plain)
        self._plain.clear()
        return plain

    def _run(self) -> None:
        failure = None
        try:
            load_pyrage().decrypt_io(self, self, [self._identity])
        except BaseException as error:  # also a panic of the Rust code: the reader must not wait for ever
            failure = error.with_traceback(None)
        self.steps.put(_Step(self._take(), True, failure))
        self._running.release()


class PlainStream(io.RawIOBase):
    """The plain bytes of a sealed file, to be read once from start to end. Made by `open_sealed`.

    `read(size)` gives at most `size` bytes, as raw streams do; `io.BufferedReader` around it gives exactly
    `size`, and lines. Every byte is authenticated before it is handed out, in pieces of 64 KiB; that nothing
    is missing at the end is known at the end, and only then `read` gives `b""`. Until then it raises, and
    after a failure it raises the same again.

    It reads a piece ahead of what it hands out and does not close its source. `close`, at any time and from
    any thread, ends the decryption; so does dropping the last reference.
    """

    def __init__(self, source: BinaryIO, file_key: bytes, hashing: bool = False) -> None:
        super().__init__()
        self._source = source
        self._identity = identity(file_key)
        self._hash = hashlib.sha256() if hashing else None
        self._size = 0
        self._ahead = b""
        self._plain = b""
        self._taken = 0
        self._complete = False
        self._failure: BaseException | None = None
        self._decryption: _Decryption | None = None
        self._end_decryption: Any = None
        self._reading = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of the plain file. Raises ValueError before its end was reached."""
        self._check_complete()
        return self._size

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the plain file. Raises ValueError before its end, or without `hashing`."""
        self._check_complete()
        if self._hash is None:
            raise ValueError("The sealed file was opened without hashing.")
        return self._hash.hexdigest()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the start of `buffer`; the number of bytes, 0 only at the end. Raises as `read`."""
        with memoryview(buffer).cast("B") as view:
            plain = self._take(len(view))
            view[: len(plain)] = plain
        return len(plain)

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` plain bytes, all that are left without a size; `b""` only at the end.

        Raises:
            NotForThisKey: the file was sealed to another key.
            SealedFileDamaged: cut, changed, prolonged, or no sealed file.
            ValueError: the stream is closed.
            BlockingIOError: the source has no bytes at the moment, and isn't at its end.
            Exception: whatever the source raised.
        """
        if size is None or size < 0:
            return self.readall()
        return self._take(size)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self._take(PIECE_SIZE), b""))

    def close(self) -> None:
        super().close()
        self._end()

    def _end(self) -> None:
        if self._end_decryption:
            self._end_decryption()

    def _check_complete(self) -> None:
        if not self._complete or self._taken < len(self._plain):
            raise ValueError("The sealed file hasn't been read to its end.")

    def _check_open(self) -> None:
        if self.closed:
            self._end()
            raise ValueError("The stream of this sealed file is closed.")
        if self._decryption and self._decryption.process != os.getpid():
            raise ValueError("The sealed file was opened before a fork. Open it again in this process.")

    def _take(self, size: int) -> bytes:
        with self._reading:
            self._check_open()
            while self._taken == len(self._plain) and not self._complete:
                if self._failure is not None:
                    raise self._failure.with_traceback(None)
                self._step()
            taken = self._plain[self._taken : self._taken + size]
            self._taken += len(taken)
        return taken

    def _step(self) -> None:
        """Take what the decryption has made, and let it go on before that is hashed and handed out."""
        try:
            decryption = self._decryption or self._begin()
            step = decryption.steps.get()
            self._check_open()
        except Exception as error:
            self._failure = error
            return
        try:
            if not step.ended:
                decryption.feed(self._next_sealed())
        except Exception as error:
            self._failure = error
            self._end()
        except BaseException:
            self.close()
            raise
        if step.ended:
            self._end()
            self._complete = step.failure is None
            self._failure = step.failure and failure_of(step.failure)
        if self._hash:
            self._hash.update(step.plain)
        self._size += len(step.plain)
        self._plain, self._taken = step.plain, 0

    def _begin(self) -> _Decryption:
        """Start decrypting, once the source has shown a header."""
        start = b""
        while not holds_header(start) and (piece := read_from(self._source, PIECE_SIZE)):
            start += piece
        check_header(start)
        self._ahead = start
        decryption = _Decryption(self._identity)
        decryption.start()
        self._decryption = decryption
        # Also when nobody closes the stream: dropped, or still there when the interpreter ends, which would
        # otherwise tear the thread out of the middle of Rust.
        self._end_decryption = weakref.finalize(self, decryption.end)
        return decryption

    def _next_sealed(self) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead or read_from(self._source, PIECE_SIZE)


def open_sealed(source: BinaryIO, file_key: bytes, *, hashing: bool = False) -> PlainStream:
    """The plain bytes of the sealed file `source`, with their SHA-256 at the end if `hashing`.

    Nothing is read before the first `read`. Any object whose `read(size)` waits for bytes is a source; close
    it yourself.

        with path.open("rb") as source, open_sealed(source, file_key, hashing=True) as plain:
            for piece in iter(lambda: plain.read(1 << 16), b""):
                ...

    Raises:
        InvalidKey: `file_key` isn't 32 bytes.
    """
    return PlainStream(source, file_key, hashing)
