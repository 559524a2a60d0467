"""What the worker has to do on the chain, and the signed transactions by which it does it."""

from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Address, Base, Hash, Time, now


class IntentState(StrEnum):
    """QUEUED → SENT → DONE or FAILED; a failed one may be queued again, a done one sent again
    when the chain lost it."""

    QUEUED = "queued"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"


class Intent(Base):
    """One wish, fulfilled at most once. `key` names it: the same wish twice is one row."""

    __tablename__ = "intent"
    __table_args__ = (sa.Index(None, "state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(80), unique=True)
    state: Mapped[IntentState] = mapped_column(
        sa.Enum(
            IntentState,
            native_enum=False,
            create_constraint=False,
            length=10,
            values_callable=lambda states: [state.value for state in states],
        ),
        default=IntentState.QUEUED,
    )
    reason: Mapped[str | None] = mapped_column(sa.String(40))
    """Why it waits or failed: a code that the pages turn into a sentence."""
    facts: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)
    """Values that the sentence needs."""
    transaction_hash: Mapped[Hash | None]
    block_number: Mapped[int | None] = mapped_column(sa.BigInteger)
    created_at: Mapped[Time] = mapped_column(default=now)
    updated_at: Mapped[Time] = mapped_column(default=now, onupdate=now)

    attempts: Mapped[list["Attempt"]] = relationship(back_populates="intent", order_by="Attempt.id")


class Attempt(Base):
    """A signed transaction. It stands here before anybody else sees it, so a crash can't double it."""

    __tablename__ = "attempt"
    __table_args__ = (sa.UniqueConstraint("sender", "nonce"), sa.Index(None, "open"))

    id: Mapped[int] = mapped_column(primary_key=True)
    intent_id: Mapped[int] = mapped_column(sa.ForeignKey("intent.id"))
    sender: Mapped[Address]
    nonce: Mapped[int] = mapped_column(sa.BigInteger)
    raw: Mapped[bytes] = mapped_column(sa.LargeBinary)
    hash: Mapped[Hash] = mapped_column(unique=True)
    open: Mapped[bool] = mapped_column(default=True)
    """Its outcome is still unknown."""
    created_at: Mapped[Time] = mapped_column(default=now)

    intent: Mapped[Intent] = relationship(back_populates="attempts")
