"""Fetching the licensed bytes into a file without a name, and making sure that they are the right ones.

Hashed while they pass, and once more from the descriptor before anything is paid. The same descriptor is
printed from, so what was hashed is what is printed, and no named plaintext stays behind.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from imprimatur.hashing import sha256_stream
from octoprint_imprimatur.journal import Job
from octoprint_imprimatur.messages import Refused
from octoprint_imprimatur.portal import Portal

REPORT_EVERY = 0.25
"""Seconds between two reports of progress."""


class _HashingSink:
    """Writes through to a file and hashes what passes."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._sink.write(data)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def _disk_trouble(error: OSError) -> Refused:
    return Refused("disk_trouble", reason=error.strerror or type(error).__name__)


def _compare(found: str, job: Job) -> None:
    if found != job.file_hash:
        raise Refused("wrong_file", found=found[:12])


def fetch(portal: Portal, job: Job, folder: Path, progress: Callable[[float], None]) -> BinaryIO:
    """The bytes of the job's license; `progress` goes from 0 to 1.

    Raises:
        Refused: the portal's reasons, wrong_file or disk_trouble. Nothing is left on the disk.
    """
    reported = 0.0

    def report(done: int, expected: int) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported > REPORT_EVERY or done == expected:
            reported = now
            progress(done / expected)

    try:
        source: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - outlives this call
    except OSError as error:
        raise _disk_trouble(error) from error
    sink = _HashingSink(source)
    try:
        portal.download(job.license_id, sink, report)
        source.flush()
        _compare(sink.digest, job)
    except OSError as error:
        source.close()
        raise _disk_trouble(error) from error
    except BaseException:
        source.close()
        raise
    return source


def verify(source: BinaryIO, job: Job) -> None:
    """Hash once more, from the descriptor.

    Raises:
        Refused: wrong_file, or disk_trouble.
    """
    try:
        source.seek(0)
        found = sha256_stream(source)
    except OSError as error:
        raise _disk_trouble(error) from error
    _compare(found, job)
