"""The library's rows, out of the portal's tables."""

from collections.abc import Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import ChainEvent
from imprimatur.chain.events import Row

Value = TypeVar("Value")

COLUMNS = [getattr(ChainEvent, name) for name in Row._fields]
CHUNK = 500
"""Values in one list of a statement: no database minds."""


def rows(session: Session, condition: sa.ColumnElement[bool]) -> list[Row]:
    """Events in chain order."""
    found = sa.select(*COLUMNS).where(condition).order_by(ChainEvent.block_number, ChainEvent.log_index)
    return [Row._make(row) for row in session.execute(found)]


def chunks(values: Sequence[Value]) -> list[Sequence[Value]]:
    """The values in parts that one statement takes."""
    return [values[start : start + CHUNK] for start in range(0, len(values), CHUNK)]
