"""Taking in print files."""

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import PurePath, PureWindowsPath

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import Design, User
from app.services import gcode, unsealed
from app.services.manifests import name_problem
from app.services.sealing import Source, StoredSealed, seal_into
from app.services.storage import FileStore
from imprimatur.errors import ImprimaturError
from imprimatur.manifest.document import MAX_FILE_NAME
from imprimatur.plain_text import is_plain

SUFFIXES = (".gcode", ".gco", ".g")
MAX_NAME = 120
"""Characters of a file name."""
READ_SIZE = 1 << 18
"""Bytes asked of the web server at a time: it copies what it read ahead for each answer."""


class UploadRefused(ImprimaturError):
    """This file isn't taken; nothing of it is kept."""


class WrongKind(UploadRefused):
    """Another kind of file by its name."""


class NotGcode(UploadRefused):
    """Named like G-code, but something else inside."""


class EmptyFile(UploadRefused):
    """No bytes."""


class Interrupted(UploadRefused):
    """Fewer bytes came than were announced: servers don't always tell that the browser went away."""


class NameRefused(UploadRefused):
    """Some system can't have a file of this name."""


class NoDesk(UploadRefused):
    """The key desk has made no keys yet."""

    def __init__(self) -> None:
        super().__init__(
            "The portal's key desk isn't set up yet, so nothing can be sealed for it. "
            "Tell the portal's operator."
        )


class TooLarge(UploadRefused):
    """More bytes than the portal takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The file is larger than {limit / 1_000_000:g} MB.")
        self.limit = limit


def clean_name(name: str) -> str:
    """A file name without folders and without characters that can't be printed or start an option.

    Raises:
        WrongKind: it doesn't end like a G-code file's name.
        NameRefused: it can't stand in a manifest.
    """
    base = PureWindowsPath(PurePath(unicodedata.normalize("NFC", name)).name).name
    shown = "".join(c for c in base if c.isprintable() and is_plain(c) and c not in '<>:"/\\|?*')
    base = unicodedata.normalize("NFC", shown).rstrip(" .").lstrip(" .~-")
    suffix = PurePath(base).suffix
    if suffix.lower() not in SUFFIXES or not PurePath(base).stem.strip("."):
        raise WrongKind(f"Only G-code is taken: {', '.join(SUFFIXES)}.")
    stem = base.removesuffix(suffix)[: MAX_NAME - len(suffix)].encode()[: MAX_FILE_NAME - len(suffix)]
    name = stem.decode(errors="ignore") + suffix
    if problem := name_problem(name):
        raise NameRefused(problem)
    return name


def add_design(
    session: Session,
    store: FileStore,
    recipient: bytes | None,
    owner: User,
    name: str,
    stream: Source,
    limit: int,
    announced: int | None = None,
) -> tuple[Design, bool]:
    """Seal a print file while it comes in, then record it. The same bytes again give the design there is.

    Args:
        recipient: the key desk's public key (X25519, 32 bytes), which alone will open the file.
        limit: most bytes to take, counted while reading.
        announced: how many bytes must come, when it is known.

    Returns:
        The design, and whether it is new.

    Raises:
        UploadRefused: with the reason. Nothing is kept, as after any other failure.
    """
    file_name = clean_name(name)
    if recipient is None:
        raise NoDesk
    incoming = _Incoming(stream, limit, announced)
    sealed = seal_into(store, recipient, incoming)
    try:
        if (known := by_hash(session, owner, sealed.sha256)) is not None:
            _keep_known(session, store, known, sealed)
            return known, False
        design = _design(owner, file_name, sealed, incoming.facts())
        session.add(design)
        session.commit()
    except sa.exc.IntegrityError:
        # The same file came in twice at the same time; the other one was first.
        session.rollback()
        store.delete(sealed.storage_key)
        known = by_hash(session, owner, sealed.sha256)
        if known is None:
            raise
        return known, False
    except BaseException as error:
        session.rollback()
        unsealed.delete_unless_committed(store, sealed, error)
        raise
    return design, True


def _keep_known(session: Session, store: FileStore, known: Design, sealed: StoredSealed) -> None:
    """The design that was there stays; its file as well, unless it lies there unsealed."""
    if known.sealed_size is not None:
        store.delete(sealed.storage_key)
        return
    unsealed.take_over(session, store, known, sealed)
    unsealed.forget_plaintext(session, store, known)


def _design(owner: User, file_name: str, sealed: StoredSealed, facts: gcode.GcodeFacts) -> Design:
    return Design(
        owner_id=owner.id,
        file_name=file_name,
        material=facts.material,
        print_time_s=facts.print_time_s,
        filament_mm=facts.filament_mm,
        filament_g=facts.filament_g,
        layer_height_mm=facts.layer_height_mm,
        slicer=facts.slicer,
        has_thumbnail=facts.thumbnail is not None,
        thumbnail_png=facts.thumbnail,
        **asdict(sealed),
    )


class _Incoming:
    """An upload, stopped as soon as it turns out too large or not to be G-code."""

    def __init__(self, stream: Source, limit: int, announced: int | None) -> None:
        self._stream = stream
        self._limit = limit
        self._announced = announced
        self._excerpt = gcode.Excerpt()
        self._size = 0
        self._checked = False
        self._ahead = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """The next bytes. Raises UploadRefused."""
        if not self._ahead:
            self._ahead = memoryview(self._next())
        taken, self._ahead = bytes(self._ahead[:size]), self._ahead[size:]
        return taken

    def _next(self) -> bytes:
        chunk = self._stream.read(READ_SIZE)
        self._size += len(chunk)
        if self._size > self._limit:
            raise TooLarge(self._limit)
        self._excerpt.add(chunk)
        if not chunk:
            self._check_complete()
        if not self._checked and (self._excerpt.head_is_full or not chunk):
            self._checked = True
            if not gcode.looks_like_gcode(self._excerpt.head):
                raise NotGcode("This isn't a G-code text file.")
        return chunk

    def facts(self) -> gcode.GcodeFacts:
        """What the file, now that it has come, says about itself."""
        return gcode.facts_of(self._excerpt.head, self._excerpt.tail)

    def _check_complete(self) -> None:
        if self._announced is not None and self._size != self._announced:
            raise Interrupted(f"Only {self._size} of {self._announced} bytes came.")
        if self._size == 0:
            raise EmptyFile("The file is empty.")


def by_hash(session: Session, owner: User, sha256: str) -> Design | None:
    return session.scalar(sa.select(Design).where(Design.owner_id == owner.id, Design.sha256 == sha256))


def designs_of(session: Session, owner: User) -> Sequence[Design]:
    """An owner's designs, newest first."""
    return session.scalars(
        sa.select(Design).where(Design.owner_id == owner.id).order_by(Design.id.desc())
    ).all()


def design_of(session: Session, owner: User, design_id: int) -> Design | None:
    """One of her designs, or None when there is none or it isn't hers."""
    return session.scalar(sa.select(Design).where(Design.id == design_id, Design.owner_id == owner.id))
