"""Which comes first: an answer of the key desk, or the owner's stop.

The desk looks for a stop and commits its audit row in one transaction. SQLite has one writer, so a stop is
committed before the look or after the row. On PostgreSQL it could come between: there answers share a lock,
and a stop takes it alone. It is an advisory one: the desk's role needs no right to write what it reads.
"""

import sqlalchemy as sa
from sqlalchemy.orm import Session

_NAME = sa.func.hashtext("delivery stop")
_SHARED = sa.select(sa.func.pg_advisory_xact_lock_shared(_NAME))
_ALONE = sa.select(sa.func.pg_advisory_xact_lock(_NAME))


def hold_off(connection: sa.Connection) -> None:
    """No stop is committed from now on until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(_SHARED)


def await_answers(session: Session) -> None:
    """Wait for answers that are being written; further ones see what this transaction commits."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_ALONE)
