"""Designs that an earlier version of the portal stored in the clear: sealing them, forgetting the plaintext.

    storage_key = plain                      → as it was
    storage_key = sealed, plain_key = plain  → committed together with all that the sealed file needs
    storage_key = sealed                     → the plaintext is deleted

A process that dies between two steps leaves what the next run needs to go on.
"""

from collections.abc import Iterator
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import Design
from app.services.sealing import ChunkSource, StoredSealed, seal_into
from app.services.storage import FileStore
from imprimatur.errors import ImprimaturError


class StoredFileChanged(ImprimaturError):
    """The stored plaintext isn't what was uploaded."""


def seal_all(
    session: Session, store: FileStore, recipient: bytes
) -> Iterator[tuple[Design, ImprimaturError | None]]:
    """Seal every design that isn't yet, each in commits of its own; what was wrong with it, if anything.

    Raises:
        StorageFailed, OSError: the storage can't be used; what is done stays done.
    """
    leftovers = sa.or_(Design.sealed_size.is_(None), Design.plain_key.is_not(None))
    for design in session.scalars(sa.select(Design).where(leftovers).order_by(Design.id)).all():
        try:
            if design.sealed_size is None:
                _seal(session, store, recipient, design)
            forget_plaintext(session, store, design)
        except ImprimaturError as error:
            session.rollback()
            yield design, error
        else:
            yield design, None


def take_over(session: Session, store: FileStore, design: Design, sealed: StoredSealed) -> None:
    """Give a design its sealed file, unless it got another one meanwhile: then this one goes."""
    try:
        unsealed = sa.and_(Design.id == design.id, Design.sealed_size.is_(None))
        values = {"plain_key": Design.storage_key, **asdict(sealed)}
        taken = session.scalar(sa.update(Design).where(unsealed).values(values).returning(Design.id))
        session.commit()
    except BaseException as error:
        session.rollback()
        delete_unless_committed(store, sealed, error)
        raise
    session.refresh(design)
    if taken is None:
        store.delete(sealed.storage_key)


def delete_unless_committed(store: FileStore, sealed: StoredSealed, error: BaseException) -> None:
    """Delete the sealed file of a commit that failed.

    When the connection was lost, nobody knows whether the database has the row: then the file stays, since
    a file without a row can be opened by nobody, and a row without its file can never be printed.
    """
    if not (isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated):
        store.delete(sealed.storage_key)


def forget_plaintext(session: Session, store: FileStore, design: Design) -> None:
    """Delete the plaintext of a design that is sealed now."""
    if design.plain_key is not None:
        store.delete(design.plain_key)
        design.plain_key = None
        session.commit()


def _seal(session: Session, store: FileStore, recipient: bytes, design: Design) -> None:
    sealed = seal_into(store, recipient, ChunkSource(store.open(design.storage_key).read()))
    if sealed.sha256 != design.sha256:
        store.delete(sealed.storage_key)
        raise StoredFileChanged(
            f"The stored file has the SHA-256 {sealed.sha256}, not {design.sha256}. "
            "Restore it from a backup, or upload it again."
        )
    take_over(session, store, design, sealed)
