"""Taking in print files."""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import PurePath, PureWindowsPath
from typing import BinaryIO

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import Design, User
from app.services import gcode
from app.services.storage import FileStore
from imprimatur.errors import ImprimaturError
from imprimatur.hashing import HashingReader

SUFFIXES = (".gcode", ".gco", ".g")
MAX_NAME = 120
"""Characters of a file name."""


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


class TooLarge(UploadRefused):
    """More bytes than the portal takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The file is larger than {limit / 1_000_000:g} MB.")
        self.limit = limit


def clean_name(name: str) -> str:
    """A file name without folders and without characters that can't be printed.

    Raises:
        WrongKind: it doesn't end like a G-code file's name.
    """
    base = PureWindowsPath(PurePath(unicodedata.normalize("NFC", name)).name).name
    base = "".join(c for c in base if c.isprintable() and c not in '<>:"/\\|?*').strip(" .")
    suffix = PurePath(base).suffix
    if suffix.lower() not in SUFFIXES or not PurePath(base).stem.strip("."):
        raise WrongKind(f"Only G-code is taken: {', '.join(SUFFIXES)}.")
    return base[: MAX_NAME - len(suffix)].removesuffix(suffix) + suffix if len(base) > MAX_NAME else base


def add_design(
    session: Session,
    store: FileStore,
    owner: User,
    name: str,
    stream: BinaryIO,
    limit: int,
    announced: int | None = None,
) -> tuple[Design, bool]:
    """Store a print file while hashing it, then record it. The same bytes again give the design there is.

    Args:
        limit: most bytes to take, counted while reading.
        announced: how many bytes must come, when it is known.

    Returns:
        The design, and whether it is new.

    Raises:
        UploadRefused: with the reason. Nothing is kept, as after any other failure.
    """
    file_name = clean_name(name)
    reader = HashingReader(stream)
    key = store.write(_checked(reader, limit, announced))
    try:
        known = by_hash(session, owner, reader.digest)
        if known is not None:
            store.delete(key)
            return known, False
        with store.path(key).open("rb") as file:
            facts = gcode.read_facts(file)
        design = Design(
            owner_id=owner.id,
            file_name=file_name,
            storage_key=key,
            size=reader.size,
            sha256=reader.digest,
            material=facts.material,
            print_time_s=facts.print_time_s,
            filament_mm=facts.filament_mm,
            filament_g=facts.filament_g,
            layer_height_mm=facts.layer_height_mm,
            slicer=facts.slicer,
            has_thumbnail=facts.thumbnail is not None,
            thumbnail_png=facts.thumbnail,
        )
        session.add(design)
        session.commit()
    except sa.exc.IntegrityError:
        # The same file came in twice at the same time; the other one was first.
        session.rollback()
        store.delete(key)
        known = by_hash(session, owner, reader.digest)
        if known is None:
            raise
        return known, False
    except BaseException:
        session.rollback()
        store.delete(key)
        raise
    return design, True


def _checked(reader: HashingReader, limit: int, announced: int | None) -> Iterator[bytes]:
    """Chunks of a stream, stopped as soon as it turns out too large or not to be G-code."""
    head = b""
    for chunk in reader:
        if reader.size > limit:
            raise TooLarge(limit)
        if len(head) < gcode.HEAD_BYTES:
            head += chunk[: gcode.HEAD_BYTES]
            if len(head) >= gcode.HEAD_BYTES and not gcode.looks_like_gcode(head):
                raise NotGcode("This isn't a G-code text file.")
        yield chunk
    if announced is not None and reader.size != announced:
        raise Interrupted(f"Only {reader.size} of {announced} bytes came.")
    if reader.size == 0:
        raise EmptyFile("The file is empty.")
    if not gcode.looks_like_gcode(head):
        raise NotGcode("This isn't a G-code text file.")


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
