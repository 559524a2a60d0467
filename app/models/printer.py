"""Printers that an owner issues licenses to."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Address, Base, Time, now


class Printer(Base):
    """A printer wallet under the name its owner gave it."""

    __tablename__ = "printer"
    __table_args__ = (sa.UniqueConstraint("owner_id", "address"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(sa.ForeignKey("user.id"))
    name: Mapped[str] = mapped_column(sa.String(80))
    address: Mapped[Address]
    created_at: Mapped[Time] = mapped_column(default=now)
