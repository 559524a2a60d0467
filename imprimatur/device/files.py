"""The bytes of a job: fetched while nothing is paid, opened when the copy is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from imprimatur.device.carrying import LONG_POLL, portal_trouble
from imprimatur.device.checked_file import CheckedFile
from imprimatur.device.errors import PortalRefused
from imprimatur.device.job import FINAL, Job, State
from imprimatur.device.journal import Journal
from imprimatur.device.portal import Portal
from imprimatur.device.reasons import Refused, Waiting, why
from imprimatur.device.sealed_cache import Progress, SealedCache
from imprimatur.hashing import sha256_file
from imprimatur.manifest.document import Sealing
from imprimatur.sealing import PlainStream, SealedFileUnusable

PIECE = 1 << 18
"""Bytes of a first pass read at once."""


class _OwnStream(PlainStream):
    """A stream whose source nobody else has."""

    def __init__(self, source: BinaryIO, file_key: bytes) -> None:
        super().__init__(source, file_key)
        self._own = source

    def close(self) -> None:
        super().close()
        self._own.close()


class Files:
    """Sealed files in `folder`, and operators' own files where they are."""

    def __init__(self, journal: Journal, portal: Portal | None, folder: Path) -> None:
        self._journal = journal
        self._portal = portal
        self._cache = SealedCache(folder)

    def fetch(self, job: Job, progress: Progress | None) -> None:
        """Download the sealed file, as far as it isn't there.

        Raises:
            Waiting: nothing of what has arrived is lost.
            Refused: the portal refuses.
        """
        if (sealing := job.sealing) is None:
            return
        if self._portal is None:
            raise Refused(why("not_sealed"))
        try:
            with portal_trouble(), disk_trouble():
                self._cache.fetch(self._portal, job.license_id, sealing, progress)
        except PortalRefused as error:
            raise Refused(why("delivery_refused", detail=error.detail or error.code)) from error

    def check(self, job: Job) -> None:
        """What is on the disk is what was sealed, or the licensed file itself. Reads it all, but for a sealed
        file that was hashed as it came and that nobody has touched since.

        Raises:
            Refused: it isn't. What was downloaded is removed.
        """
        if (sealing := job.sealing) is not None:
            with disk_trouble():
                if not self._cache.is_sound(sealing):
                    raise Refused(why("wrong_sealed_file"))
            return
        try:
            found = sha256_file(Path(job.file or ""))
        except OSError as error:
            raise Refused(why("unreadable_file", trouble=error.strerror or type(error).__name__)) from error
        if found != job.file_hash:
            raise Refused(why("other_file"))

    def open(self, job: Job, file_key: bytes | None, progress: Progress | None) -> BinaryIO:
        """The plain bytes, all of which a first pass has seen.

        Raises:
            Waiting: the sealed file is gone and can't be fetched at the moment, the operator's own isn't the
                licensed one any more, or the disk doesn't help.
            Refused: `wrong_content` when the key opens another file than the licensed one.
        """
        if (sealing := job.sealing) is None or file_key is None:
            return self._open_own(job)
        with disk_trouble():
            # Plain bytes that are the licensed ones need no look at the sealed ones.
            if self._cache.has(sealing) and (stream := self._open_sealed(job, sealing, file_key)):
                return stream
            # Who sealed it is blamed only for bytes that are read from the disk now.
            sound = self._cache.is_sound(sealing, reading=True)
        if not sound:
            self._fetch_again(job, sealing, progress)
            with disk_trouble():
                if stream := self._open_sealed(job, sealing, file_key):
                    return stream
                sound = self._cache.is_sound(sealing, reading=True)
        if not sound:
            raise _pending(job, "the disk doesn't keep it as it came")
        raise Refused(why("wrong_content", copy=job.copy))

    def _fetch_again(self, job: Job, sealing: Sealing, progress: Progress | None) -> None:
        """The copy is paid: whatever goes wrong here is waited for. Raises Waiting."""
        try:
            self.fetch(job, progress)
            with disk_trouble():
                if self._cache.is_sound(sealing):
                    return
            trouble = "the portal delivers another one"
        except Refused as refused:
            # Its sentence says that no copy was used.
            trouble = str(refused.reason.facts.get("detail", refused.reason.code))
        raise _pending(job, trouble)

    def _open_sealed(self, job: Job, sealing: Sealing, file_key: bytes) -> BinaryIO | None:
        """The plain bytes, None when they aren't those of the licensed file."""
        source = self._cache.path(sealing).open("rb")
        try:
            if not _is_licensed_file(job, source, file_key):
                source.close()
                return None
            # The same descriptor: whoever replaces the file's name replaces nothing here, and every byte is
            # authenticated once more.
            source.seek(0)
            return cast("BinaryIO", _OwnStream(source, file_key))
        except BaseException:
            source.close()
            raise

    def _open_own(self, job: Job) -> BinaryIO:
        try:
            stream = CheckedFile(Path(job.file or ""))
        except OSError as error:
            raise _pending(job, error.strerror or type(error).__name__) from error
        if stream.digest != job.file_hash:
            stream.close()
            raise _pending(job, "it was changed; put the licensed one back")
        return cast("BinaryIO", stream)

    def sweep(self, keep_whole: float = 0.0) -> None:
        """Remove the sealed files of jobs that are over, unless they are younger than `keep_whole` s."""
        open_jobs = self._journal.in_states(*(state for state in State if state not in FINAL))
        needed = {job.sealing.sha256 for job in open_jobs if job.sealing is not None}
        self._cache.sweep(needed, keep_whole=keep_whole)


def _pending(job: Job, trouble: str) -> Waiting:
    """The copy is paid: whatever is wrong with its file can be put right."""
    return Waiting(why("file_pending", copy=job.copy, trouble=trouble), LONG_POLL)


def _is_licensed_file(job: Job, source: BinaryIO, file_key: bytes) -> bool:
    """First pass: decrypt in memory and hash, nothing else."""
    with PlainStream(source, file_key, hashing=True) as plain:
        try:
            while plain.read(PIECE):
                pass
        except SealedFileUnusable:
            return False
        return plain.digest == job.file_hash


@contextmanager
def disk_trouble() -> Iterator[None]:
    """Where the disk is used: a full or failing one is waited for. Raises Waiting."""
    try:
        yield
    except OSError as error:
        raise Waiting(
            why("disk_trouble", trouble=error.strerror or type(error).__name__), LONG_POLL
        ) from error
