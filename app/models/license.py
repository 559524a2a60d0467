"""Licenses that were ordered through this portal."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, deferred, mapped_column, relationship

from app.models.base import Address, Base, Digest, Hash, Time, now
from app.models.design import Design
from app.models.outbox import Intent
from app.models.user import User


class License(Base):
    """What was ordered. How many copies are left stands on the chain only."""

    __tablename__ = "license"
    __table_args__ = (sa.UniqueConstraint("owner_id", "number"), sa.Index(None, "printer_address"))

    id: Mapped[Hash] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(sa.ForeignKey("user.id"))
    design_id: Mapped[int] = mapped_column(sa.ForeignKey("design.id"))
    intent_id: Mapped[int] = mapped_column(sa.ForeignKey("intent.id"), unique=True)
    number: Mapped[str] = mapped_column(sa.String(64))
    printer_name: Mapped[str] = mapped_column(sa.String(80))
    printer_address: Mapped[Address]
    file_hash: Mapped[Digest]
    copies: Mapped[int]
    valid_until: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Last second of validity (Unix time); 0 for ever."""
    failures_allowed: Mapped[int] = mapped_column(default=0, server_default="0")
    manifest_hash: Mapped[Digest | None]
    """Set before the order is signed; the contract's event repeats it."""
    signed_manifest: Mapped[bytes | None] = deferred(mapped_column(sa.LargeBinary))
    """Canonical bytes of the manifest and the operator's signature."""
    stopped_at: Mapped[Time | None]
    """Since when its owner lets the desk give no key out."""
    created_at: Mapped[Time] = mapped_column(default=now)

    owner: Mapped[User] = relationship()
    design: Mapped[Design] = relationship()
    intent: Mapped[Intent] = relationship()
