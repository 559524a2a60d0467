"""What the key desk answered, and what devices told about their prints."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Address, Base, Digest, Hash, Time, now


class KeyAudit(Base):
    """One answer of the key desk. A key leaves only after its row is committed; rows are never changed."""

    __tablename__ = "key_audit"
    __table_args__ = (sa.Index(None, "device", "at"), sa.Index(None, "license_id", "copy"))

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[Time] = mapped_column(default=now)
    license_id: Mapped[Hash]
    copy: Mapped[int]
    device: Mapped[Address]
    key_recipient: Mapped[Digest]
    released: Mapped[bool]
    reason: Mapped[str | None] = mapped_column(sa.String(40))
    """Why the key was refused: a code."""
    answer_hash: Mapped[Digest]
    """SHA-256 of the answer, which the desk has signed."""


class Outcome(Base):
    """How a print ended, as its device told. The chain knows of consumption and failure only."""

    __tablename__ = "outcome"

    license_id: Mapped[Hash] = mapped_column(primary_key=True)
    copy: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    device: Mapped[Address] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(sa.String(10))
    seconds: Mapped[int | None]
    telemetry: Mapped[Digest | None]
    """SHA-256 of what the machine recorded."""
    reason: Mapped[str | None] = mapped_column(sa.String(200))
    ended_at: Mapped[int] = mapped_column(sa.BigInteger)
    """Unix seconds, by the device's clock."""
    reported_at: Mapped[Time] = mapped_column(default=now)
