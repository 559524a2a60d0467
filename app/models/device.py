"""Printers' devices: who may ask in the name of which wallet, and what they sent."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Address, Base, Digest, Time, now
from app.models.printer import Printer
from app.models.user import User


class Invitation(Base):
    """Lets one device enrol for one printer of an owner, once. Only the hash of its code is kept."""

    __tablename__ = "invitation"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(sa.ForeignKey("user.id"))
    printer_name: Mapped[str] = mapped_column(sa.String(80))
    code_hash: Mapped[Digest] = mapped_column(unique=True)
    created_at: Mapped[Time] = mapped_column(default=now)
    expires_at: Mapped[Time]
    used_by: Mapped[Address | None]
    """The device that enrolled with it."""
    used_at: Mapped[Time | None]

    owner: Mapped[User] = relationship()


class Device(Base):
    """A key that acts for a printer's wallet, or is that wallet itself."""

    __tablename__ = "device"
    __table_args__ = (sa.Index(None, "wallet"),)

    address: Mapped[Address] = mapped_column(primary_key=True)
    wallet: Mapped[Address]
    printer_id: Mapped[int] = mapped_column(sa.ForeignKey("printer.id"))
    encryption_key: Mapped[Digest]
    """X25519 public key of the device, hexadecimal."""
    enrolled_at: Mapped[Time] = mapped_column(default=now)
    disabled_at: Mapped[Time | None]
    """Since when the portal no longer listens to it."""

    printer: Mapped[Printer] = relationship()


class DeviceNonce(Base):
    """A nonce that a device used; the same one again is a replay."""

    __tablename__ = "device_nonce"
    __table_args__ = (sa.Index(None, "seen_at"),)

    address: Mapped[Address] = mapped_column(primary_key=True)
    nonce: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    seen_at: Mapped[int] = mapped_column(sa.BigInteger)
    """Unix seconds."""
