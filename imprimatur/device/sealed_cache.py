"""Sealed files on the printer's disk: fetched piece by piece, resumed after a break, removed when no
job needs them any more. Only ciphertext is ever kept here."""

import errno
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from imprimatur.device.portal import Portal
from imprimatur.hashing import sha256_file
from imprimatur.manifest.document import Sealing

KEEP_PARTIAL = 24 * 3600.0
"""Seconds for which an unfinished download is kept for a job that is picked again."""
RESERVE = 64 << 20
"""Bytes that stay free on the disk."""
REPORT_EVERY = 0.25
"""Seconds between two reports of progress."""
_Identity = tuple[int, int, int, int]
Progress = Callable[[int, int], None]
"""Called with the bytes that are there and those that there will be."""

_NAME = re.compile(r"([0-9a-f]{64})\.(?:age|part)")


class SealedCache:
    """The sealed files in `folder`, named by the SHA-256 of their bytes. One download at a time.

    Args:
        folder: is made when it is missing; only its owner can look into it.

    Raises:
        OSError
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._hashed: dict[str, _Identity] = {}
        """Files whose bytes had the right SHA-256 as they were written."""

    def path(self, sealing: Sealing) -> Path:
        """Where the whole file is, when it is there."""
        return self._folder / f"{sealing.sha256}.age"

    def has(self, sealing: Sealing) -> bool:
        """Whether a file of the right size is there."""
        return _size(self.path(sealing)) == sealing.size

    def is_sound(self, sealing: Sealing, reading: bool = False) -> bool:
        """Whether the file that is there is the sealed one. A wrong one is removed.

        Args:
            reading: read it all, also when it was hashed as it came and nobody has touched it since.

        Raises:
            OSError: it can't be read.
        """
        path = self.path(sealing)
        if self.has(sealing):
            if not reading and self._hashed.get(sealing.sha256) == _identity(path.stat()):
                return True
            if sha256_file(path) == sealing.sha256:
                return True
        path.unlink(missing_ok=True)
        return False

    def fetch(
        self, portal: Portal, license_id: int, sealing: Sealing, progress: Progress | None = None
    ) -> None:
        """Download what is missing of a license's sealed file. Whether its bytes are right says `is_sound`.

        Raises:
            PortalError: what has arrived is kept, and the next call goes on from there.
            OSError: it can't be written.
        """
        with self._lock:
            if self.has(sealing):
                return
            partial = self._folder / f"{sealing.sha256}.part"
            # The size is the portal's word so far: it mustn't fill the disk of whatever else lives there.
            missing = sealing.size - _size(partial)
            if shutil.disk_usage(self._folder).free < missing + RESERVE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            digest, written = self._receive(portal, license_id, sealing, partial, progress)
            # A power cut may have left zeros at the end of what was there; then it is fetched once more.
            if digest is None and sha256_file(partial) != sealing.sha256:
                partial.unlink()
                digest, written = self._receive(portal, license_id, sealing, partial, progress)
            os.replace(partial, self.path(sealing))
            self._hashed.pop(sealing.sha256, None)
            there = _identity(self.path(sealing).stat())
            # Its new name has changed the time of its last change; the file is the one that was written.
            if digest == sealing.sha256 and there[:-1] == written[:-1]:
                self._hashed[sealing.sha256] = there

    def _receive(
        self, portal: Portal, id: int, sealing: Sealing, partial: Path, progress: Progress | None
    ) -> tuple[str | None, _Identity]:
        """Complete the partial file on the disk; hexadecimal SHA-256 of what has come, None when some of the
        file was there before, and the identity of what was written."""
        start = _size(partial)
        if start >= sealing.size:
            partial.unlink()
            start = 0
        with portal.download(id, sealing, start) as pieces:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                target.truncate(pieces.start)
                target.seek(pieces.start)
                done, reported = pieces.start, float("-inf")
                digest = hashlib.sha256()
                for piece in pieces:
                    target.write(piece)
                    digest.update(piece)
                    done += len(piece)
                    if progress and (time.monotonic() - reported > REPORT_EVERY or done == sealing.size):
                        reported = time.monotonic()
                        progress(done, sealing.size)
                target.flush()
                os.fsync(target.fileno())
                written = _identity(os.fstat(target.fileno()))
            return None if pieces.start else digest.hexdigest(), written

    def sweep(
        self, needed: Collection[str], keep_partial: float = KEEP_PARTIAL, keep_whole: float = 0.0
    ) -> None:
        """Remove what no job needs; `needed` are hexadecimal SHA-256 of sealed files.

        Unfinished downloads stay for `keep_partial` seconds, so that a job picked again can go on with them,
        and whole files for `keep_whole`.
        Nothing is removed during a download: the end of a print doesn't wait for another one's file.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            for path in self._folder.iterdir():
                name = _NAME.fullmatch(path.name)
                if name is None or name[1] in needed:
                    continue
                keep = keep_partial if path.suffix == ".part" else keep_whole
                if time.time() - path.stat().st_mtime >= keep:
                    path.unlink(missing_ok=True)
        finally:
            self._lock.release()


def _identity(status: os.stat_result) -> _Identity:
    """Changes when the file is written to or replaced."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _size(path: Path) -> int:
    """Bytes of a file; 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
