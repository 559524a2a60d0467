"""What devices signed and the portal carries to the chain for them."""

from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Address, Base, Hash, Time, now
from app.models.outbox import Intent


class RelayKind(StrEnum):
    """What was signed: EIP-712 type `Use` or `Failure`."""

    USE = "use"
    FAILURE = "failure"


class RelayState(StrEnum):
    """Where a signed message stands. Only the chain's own event decides about a copy."""

    WAITING = "waiting"
    SENT = "sent"
    """Part of a batch that the outbox carries."""
    DONE = "done"
    """Its event stands on the chain, whoever submitted it."""
    REFUSED = "refused"
    """The contract left it out, or would have."""


class RelayEntry(Base):
    """A device-signed use or failure. `digest` is what was signed (EIP-712): the same again is one row."""

    __tablename__ = "relay_entry"
    __table_args__ = (sa.Index(None, "state"), sa.Index(None, "device", "state"), sa.Index(None, "intent_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[Hash] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(sa.String(10))
    license_id: Mapped[Hash]
    copy: Mapped[int]
    device: Mapped[Address]
    message: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    """As it came: `use.v1` or `failure.v1`."""
    deadline: Mapped[int] = mapped_column(sa.BigInteger)
    state: Mapped[str] = mapped_column(sa.String(10), default=RelayState.WAITING)
    reason: Mapped[str | None] = mapped_column(sa.String(40))
    """Name of the contract's error."""
    intent_id: Mapped[int | None] = mapped_column(sa.ForeignKey("intent.id"))
    transaction_hash: Mapped[Hash | None]
    block_number: Mapped[int | None] = mapped_column(sa.BigInteger)
    created_at: Mapped[Time] = mapped_column(default=now)
    updated_at: Mapped[Time] = mapped_column(default=now, onupdate=now)

    intent: Mapped[Intent | None] = relationship()
