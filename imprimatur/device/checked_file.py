"""An operator's own file: hashed once from its start to its end, and handed out only as it was then."""

import hashlib
import io
from pathlib import Path
from typing import Any, BinaryIO

from imprimatur.errors import ImprimaturError

PIECE_SIZE = 1 << 18
"""Bytes. Of each piece 32 bytes are remembered: 4 MB for a file of 32 GB."""


class FileChanged(ImprimaturError):
    """The file was changed between the check and the print. Nothing of the change was handed out."""


class CheckedFile(io.RawIOBase):
    """The bytes of the file at `path` as they were when this object was made.

    `digest` is their hexadecimal SHA-256 and `size` their number. To be read once from start to end; reading
    raises FileChanged at the first piece that has changed, before anything of it is handed out.

    Raises:
        OSError: the file can't be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._source: BinaryIO = path.open("rb", buffering=0)
        self._marks: list[bytes] = []
        self._piece = b""
        self._taken = 0
        self.size = 0
        try:
            whole = hashlib.sha256()
            while piece := self._next():
                whole.update(piece)
                self._marks.append(hashlib.sha256(piece).digest())
                self.size += len(piece)
            self.digest = whole.hexdigest()
            self._source.seek(0)
        except BaseException:
            self.close()
            raise
        self._left = iter(self._marks)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer).cast("B") as view:
            if self._taken == len(self._piece):
                self._piece, self._taken = self._checked(), 0
            found = self._piece[self._taken : self._taken + len(view)]
            view[: len(found)] = found
            self._taken += len(found)
            return len(found)

    def close(self) -> None:
        self._source.close()
        super().close()

    def _next(self) -> bytes:
        """The next piece, whole but at the end: unbuffered files may give less."""
        piece = b""
        while len(piece) < PIECE_SIZE and (more := self._source.read(PIECE_SIZE - len(piece))):
            piece += more
        return piece

    def _checked(self) -> bytes:
        piece = self._next()
        expected = next(self._left, None)
        if expected != (hashlib.sha256(piece).digest() if piece else None):
            raise FileChanged("The file was changed while it was printed. The print can't go on.")
        return piece
