"""Sealed files on the printer's disk: fetched piece by piece, resumed after a break, removed when no
job needs them any more. Only ciphertext is ever kept here."""

import errno
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

    def path(self, sealing: Sealing) -> Path:
        """Where the whole file is, when it is there."""
        return self._folder / f"{sealing.sha256}.age"

    def has(self, sealing: Sealing) -> bool:
        """Whether a file of the right size is there."""
        return _size(self.path(sealing)) == sealing.size

    def is_sound(self, sealing: Sealing) -> bool:
        """Whether the file that is there is the sealed one: reads it all. A wrong one is removed.

        Raises:
            OSError: it can't be read.
        """
        if self.has(sealing) and sha256_file(self.path(sealing)) == sealing.sha256:
            return True
        self.path(sealing).unlink(missing_ok=True)
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
            resumed = self._receive(portal, license_id, sealing, partial, progress)
            # A power cut may have left zeros at the end of what was there; then it is fetched once more.
            if resumed and sha256_file(partial) != sealing.sha256:
                partial.unlink()
                self._receive(portal, license_id, sealing, partial, progress)
            os.replace(partial, self.path(sealing))

    def _receive(
        self, portal: Portal, id: int, sealing: Sealing, partial: Path, progress: Progress | None
    ) -> bool:
        """Complete the partial file on the disk; whether some of it was there before."""
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
                for piece in pieces:
                    target.write(piece)
                    done += len(piece)
                    if progress and (time.monotonic() - reported > REPORT_EVERY or done == sealing.size):
                        reported = time.monotonic()
                        progress(done, sealing.size)
                target.flush()
                os.fsync(target.fileno())
            return pieces.start > 0

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


def _size(path: Path) -> int:
    """Bytes of a file; 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
