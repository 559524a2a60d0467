"""What the worker has to do on the chain, and the signed transactions by which it does it."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Address, Base, Hash, Time, now
from imprimatur.chain.outbox.records import State as IntentState


class Intent(Base):
    """One wish, fulfilled at most once. `key` names it: the same wish twice is one row.

    Columns as in `imprimatur.chain.outbox.records.Intent`. Who sends it is known from signing on.
    """

    __tablename__ = "intent"
    __table_args__ = (sa.Index(None, "state"), sa.Index(None, "chain_id", "sender", "nonce", unique=True))

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
    chain_id: Mapped[int | None] = mapped_column(sa.BigInteger)
    sender: Mapped[Address | None]
    nonce: Mapped[int | None] = mapped_column(sa.BigInteger)
    to: Mapped[Address | None]
    data: Mapped[str | None] = mapped_column(sa.Text)
    value: Mapped[str | None] = mapped_column(sa.String(78))
    """Wei, in decimal: more than a database's integers hold."""
    gas: Mapped[int | None] = mapped_column(sa.BigInteger)
    cancelling: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    tries: Mapped[int] = mapped_column(default=0, server_default="0")
    reason: Mapped[str | None] = mapped_column(sa.String(40))
    """Why it waits or failed: a code that the pages turn into a sentence."""
    facts: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)
    """Values that the sentence needs."""
    transaction_hash: Mapped[Hash | None]
    block_number: Mapped[int | None] = mapped_column(sa.BigInteger)
    block_hash: Mapped[Hash | None]
    created_at: Mapped[Time] = mapped_column(default=now)
    updated_at: Mapped[Time] = mapped_column(default=now, onupdate=now)

    attempts: Mapped[list["Attempt"]] = relationship(back_populates="intent", order_by="Attempt.id")


class Attempt(Base):
    """A signed transaction. It stands here before anybody else sees it, so a crash can't double it."""

    __tablename__ = "attempt"
    __table_args__ = (sa.Index(None, "chain_id", "sender", "nonce"), sa.Index(None, "intent_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    intent_id: Mapped[int] = mapped_column(sa.ForeignKey("intent.id"))
    chain_id: Mapped[int] = mapped_column(sa.BigInteger)
    sender: Mapped[Address]
    nonce: Mapped[int] = mapped_column(sa.BigInteger)
    raw: Mapped[bytes] = mapped_column(sa.LargeBinary)
    hash: Mapped[Hash] = mapped_column(unique=True)
    max_fee: Mapped[int] = mapped_column(sa.BigInteger)
    tip: Mapped[int] = mapped_column(sa.BigInteger)
    cancels: Mapped[bool]
    signed_at: Mapped[float] = mapped_column(sa.Double)
    """Unix seconds."""
    head: Mapped[int] = mapped_column(sa.BigInteger)

    intent: Mapped[Intent] = relationship(back_populates="attempts")
