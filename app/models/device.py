"""What printers sent."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Address, Base


class DeviceNonce(Base):
    """A nonce that a device used; the same one again is a replay."""

    __tablename__ = "device_nonce"
    __table_args__ = (sa.Index(None, "seen_at"),)

    address: Mapped[Address] = mapped_column(primary_key=True)
    nonce: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    seen_at: Mapped[int] = mapped_column(sa.BigInteger)
    """Unix seconds."""
