"""Where uploaded files lie: one folder, random names, nothing that a web server would serve."""

import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

_PART = ".part"


class FileStore:
    """Files by key. A key is 32 random hexadecimal digits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, key: str) -> Path:
        """Where the bytes are."""
        if len(key) != 32 or not all(c in "0123456789abcdef" for c in key):
            raise ValueError(f"{key!r} isn't a storage key.")
        return self._folder / key

    def write(self, chunks: Iterable[bytes]) -> str:
        """Store a stream, flushed to disk; its key. Leaves nothing when the stream fails half-way."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = secrets.token_hex(16)
        part = self._folder / (key + _PART)
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._folder / key)
        except BaseException:  # a disconnected browser, a full disk, a stopped process: all leave nothing
            part.unlink(missing_ok=True)
            raise
        self._sync_folder()
        return key

    def delete(self, key: str) -> None:
        self.path(key).unlink(missing_ok=True)

    def sweep(self, older_than_s: float = 86_400) -> int:
        """Remove what uploads left that a killed process couldn't clean up; how many."""
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
