"""Files in an object store: each in pieces, and a last object that says it is complete.

    <key>/00000000, <key>/00000001, …   PIECE_SIZE bytes each, the last one what is left
    <key>/end                           "PIECE_SIZE SIZE": written last, so that nobody sees half a file

An object store writes one object whole or not at all, so pieces need nothing more from it. Its own multipart
uploads would leave parts behind a killed writer that no listing of objects shows; pieces are found by
`sweep`. They have no largest size either, and one that failed is sent again from memory.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.services.storage.interface import STALE_AFTER, FileMissing, StorageFailed, checked_key, new_key

PIECE_SIZE = 4 << 20
"""Bytes. A writer holds three pieces in memory: one that fills, one on its way, one copied; a reader one."""
CHUNK_SIZE = 1 << 20
"""Bytes handed out at a time."""
_END = "end"


class ObjectFiles:
    """`FileStore` in one of obstore's stores."""

    def __init__(self, store: Any) -> None:
        self._store = store

    @contextmanager
    def new(self) -> Iterator["_NewObjectFile"]:
        key = new_key()
        try:
            with ThreadPoolExecutor(1, "storage") as sender:
                file = _NewObjectFile(key, self._store, sender)
                yield file
                file.finish()
        except BaseException:
            with suppress(StorageFailed):  # What can't be removed now is found by `sweep`.
                self.delete(key)
            raise

    def open(self, key: str) -> "_ObjectFile":
        import obstore

        with _reading(checked_key(key)):
            end = bytes(obstore.get(self._store, f"{key}/{_END}").bytes())
        piece_size, size = (int(number) for number in end.split())
        return _ObjectFile(self._store, key, piece_size, size)

    def delete(self, key: str) -> None:
        import obstore

        checked_key(key)
        with _failures():
            # Without its end a file isn't there: what a killed process leaves of it is swept.
            _delete(self._store, f"{key}/{_END}")
            for objects in obstore.list(self._store, f"{key}/"):
                for found in objects:
                    _delete(self._store, found["path"])

    def sweep(self, older_than_s: float = STALE_AFTER) -> int:
        import obstore

        newest: dict[str, datetime] = {}
        complete = set()
        with _failures():
            for objects in obstore.list(self._store):
                for found in objects:
                    key, _, name = found["path"].partition("/")
                    newest[key] = max(found["last_modified"], newest.get(key, found["last_modified"]))
                    if name == _END:
                        complete.add(key)
        since = datetime.now(UTC) - timedelta(seconds=older_than_s)
        stale = [key for key, at in newest.items() if key not in complete and at < since]
        for key in stale:
            self.delete(key)
        return len(stale)


class _NewObjectFile:
    def __init__(self, key: str, store: Any, sender: ThreadPoolExecutor) -> None:
        self.key = key
        self._store = store
        self._sender = sender
        self._sending: Future[None] | None = None
        self._piece = bytearray()
        self._pieces = 0
        self._size = 0

    def write(self, data: bytes | memoryview, /) -> int:
        self._piece += data
        self._size += len(data)
        while len(self._piece) >= PIECE_SIZE:
            self._send(bytes(memoryview(self._piece)[:PIECE_SIZE]))
            del self._piece[:PIECE_SIZE]
        return len(data)

    def flush(self) -> None:
        """Pieces are sent when they are full."""

    def finish(self) -> None:
        """Send what is left, then the word that all is there."""
        if self._piece:
            self._send(bytes(self._piece))
        self._wait()
        _put(self._store, self.key, _END, f"{PIECE_SIZE} {self._size}".encode())

    def _send(self, piece: bytes) -> None:
        """Send a piece while the next one fills."""
        self._wait()
        self._sending = self._sender.submit(_put, self._store, self.key, _name(self._pieces), piece)
        self._pieces += 1

    def _wait(self) -> None:
        if self._sending is not None:
            self._sending.result()


@dataclass(frozen=True, slots=True)
class _ObjectFile:
    store: Any
    key: str
    piece_size: int
    size: int

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        import obstore

        stop = self.size if stop is None else min(stop, self.size)
        while start < stop:
            number, offset = divmod(start, self.piece_size)
            length = min(stop - start, self.piece_size - offset)
            # The whole piece: a printer may be slow, and the server would lose patience with an open answer.
            with _reading(self.key):
                name = f"{self.key}/{_name(number)}"
                piece = memoryview(obstore.get_range(self.store, name, start=offset, length=length))
            if len(piece) != length:
                raise StorageFailed(
                    f"The file {self.key} is damaged in the storage: piece {number} is short."
                )
            for at in range(0, length, CHUNK_SIZE):
                yield bytes(piece[at : at + CHUNK_SIZE])
            start += length


def _name(number: int) -> str:
    return f"{number:08d}"


def _put(store: Any, key: str, name: str, data: bytes) -> None:
    import obstore

    with _failures():
        obstore.put(store, f"{key}/{name}", data, use_multipart=False)


def _delete(store: Any, path: str) -> None:
    import obstore

    try:
        obstore.delete(store, path)
    except FileNotFoundError:
        return  # Memory minds; S3 doesn't.


@contextmanager
def _reading(key: str) -> Iterator[None]:
    """obstore's failures as ours, where a missing object is a missing file."""
    try:
        with _failures():
            yield
    except StorageFailed as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise FileMissing(key) from error
        raise


@contextmanager
def _failures() -> Iterator[None]:
    """obstore's failures as ours."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        # Only the first line is for people; what follows is the client's inner life.
        raise StorageFailed(f"The storage failed: {str(error).partition(chr(10))[0][:300]}") from error
