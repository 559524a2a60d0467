"""People who sign in."""

import sqlalchemy as sa
from flask_security import UserMixin
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Address, Base, Digest, Time, now


class User(Base, UserMixin):
    """An IP owner. Licenses belong to her `account`, whose key the portal never sees."""

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(255), unique=True)
    password: Mapped[str | None] = mapped_column(sa.String(255))
    active: Mapped[bool] = mapped_column(default=True)
    fs_uniquifier: Mapped[str] = mapped_column(sa.String(64), unique=True)
    name: Mapped[str] = mapped_column(sa.String(80))
    account: Mapped[Address] = mapped_column(unique=True)
    log_recipient: Mapped[Digest | None]
    """X25519 public key, hexadecimal, to which printers encrypt the serials of her parts."""
    created_at: Mapped[Time] = mapped_column(default=now)
