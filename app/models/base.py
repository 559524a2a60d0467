"""Base class and column types of every table."""

from datetime import UTC, datetime
from typing import Annotated

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, mapped_column

Address = Annotated[str, mapped_column(sa.String(42))]
"""Ethereum address with checksum."""
Digest = Annotated[str, mapped_column(sa.String(64))]
"""Lower-case hexadecimal SHA-256."""
Hash = Annotated[str, mapped_column(sa.String(66))]
"""0x and 64 hexadecimal digits: a license id or a transaction hash."""
Time = Annotated[datetime, mapped_column(sa.DateTime)]
"""UTC, without time zone: SQLite keeps none."""


def now() -> datetime:
    """The current time as the tables store it."""
    return datetime.now(UTC).replace(tzinfo=None)


class Base(DeclarativeBase):
    """Named constraints, so that migrations can change them on every database."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
