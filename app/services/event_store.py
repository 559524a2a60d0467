"""The library's index in the portal's database, and the picture beside it in the same commits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, sessionmaker

from app.models import ChainBinding, ChainBlock, ChainClaim, ChainEvent, ChainLicense, ChainUse
from app.services import picture_drawing
from imprimatur.chain.events import Block, CursorMoved, OtherIndex, Row

TABLES = (ChainEvent, ChainBlock, ChainClaim, ChainLicense, ChainUse, ChainBinding)
"""All that comes from the chain alone."""
ONLY = 1
"""Key of the claim's row."""


class SqlEventStore:
    """An `imprimatur.chain.events.EventStore` on SQLite or PostgreSQL.

    Whoever writes holds the claim's row until the commit, so the newest block that was expected is still the
    newest when rows are written: two indexers by mistake take turns or are refused, and mix nothing.
    """

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions

    @contextmanager
    def _writing(self) -> Iterator[tuple[Session, bool]]:
        """A session, and whether there is a claim."""
        with self._sessions.begin() as session:
            # PostgreSQL locks the row, SQLite the database, in both cases before anything is read.
            own = sa.update(ChainClaim).where(ChainClaim.id == ONLY).values(what=ChainClaim.what)
            yield session, session.scalar(own.returning(ChainClaim.id)) is not None

    def claim(self, what: str) -> None:
        with self._writing() as (session, _):
            dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
            new = dialect.insert(ChainClaim).values(id=ONLY, what=what)
            session.execute(new.on_conflict_do_nothing(index_elements=["id"]))
            found = session.scalars(sa.select(ChainClaim.what)).one()
        if found != what:
            raise OtherIndex(found, what)

    def top(self) -> Block | None:
        with self._sessions() as session:
            return top(session)

    def blocks(self) -> list[Block]:
        query = sa.select(ChainBlock.number, ChainBlock.hash).order_by(ChainBlock.number.desc())
        with self._sessions() as session:
            return [Block._make(row) for row in session.execute(query)]

    def apply(self, rows: Sequence[Row], blocks: Sequence[Block], after: Block | None, keep: int) -> None:
        with self._writing() as (session, claimed):
            _expect(session, after, claimed)
            if rows:
                session.execute(sa.insert(ChainEvent), [row._asdict() for row in rows])
            session.execute(sa.insert(ChainBlock), [block._asdict() for block in blocks[-keep:]])
            session.execute(sa.delete(ChainBlock).where(ChainBlock.number <= blocks[-1].number - keep))
            picture_drawing.follow(session, rows)

    def rollback(self, to: Block | None, top: Block) -> None:
        newest = -1 if to is None else to.number
        with self._writing() as (session, claimed):
            _expect(session, top, claimed)
            touched = picture_drawing.licenses_above(session, newest)
            session.execute(sa.delete(ChainEvent).where(ChainEvent.block_number > newest))
            session.execute(sa.delete(ChainBlock).where(ChainBlock.number > newest))
            picture_drawing.redraw(session, touched, newest)

    def claimed(self) -> tuple[str, str | None] | None:
        """What it is of, and the hash of that chain's block 0 if it was noted; None when it is of nothing."""
        with self._sessions() as session:
            found = session.execute(sa.select(ChainClaim.what, ChainClaim.genesis)).first()
            return None if found is None else (found.what, found.genesis)

    def note(self, **columns: Any) -> None:
        """Write what else is known beside the claim: `genesis`, `head`, `looked_at`."""
        with self._sessions.begin() as session:
            session.execute(sa.update(ChainClaim).where(ChainClaim.id == ONLY).values(columns))

    def wipe(self) -> None:
        """Delete all that comes from the chain."""
        with self._writing() as (session, _):
            for table in TABLES:
                session.execute(sa.delete(table))


def top(session: Session) -> Block | None:
    """The newest block that was read; None before the first."""
    query = sa.select(ChainBlock.number, ChainBlock.hash).order_by(ChainBlock.number.desc()).limit(1)
    found = session.execute(query).first()
    return None if found is None else Block._make(found)


def _expect(session: Session, after: Block | None, claimed: bool) -> None:
    """Without a claim somebody has deleted all, and the next one may be of something else."""
    found = top(session)
    if found != after or not claimed:
        raise CursorMoved(after, found)
