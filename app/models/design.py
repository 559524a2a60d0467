"""Uploaded print files."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, deferred, mapped_column, relationship

from app.models.base import Base, Digest, Time, now
from app.models.user import User


class Design(Base):
    """A print file, stored sealed, and what its text says about it. `None`: not in the file."""

    __tablename__ = "design"
    __table_args__ = (sa.UniqueConstraint("owner_id", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(sa.ForeignKey("user.id"))
    file_name: Mapped[str] = mapped_column(sa.String(120))
    storage_key: Mapped[str] = mapped_column(sa.String(64), unique=True)
    size: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[Digest]
    material: Mapped[str | None] = mapped_column(sa.String(40))
    print_time_s: Mapped[int | None]
    filament_mm: Mapped[float | None]
    filament_g: Mapped[float | None]
    layer_height_mm: Mapped[float | None]
    slicer: Mapped[str | None] = mapped_column(sa.String(80))
    has_thumbnail: Mapped[bool] = mapped_column(default=False)
    thumbnail_png: Mapped[bytes | None] = deferred(mapped_column(sa.LargeBinary))
    sealed_size: Mapped[int | None] = mapped_column(sa.BigInteger)
    """Bytes of the sealed file. None, as in the four columns below: stored before files were sealed."""
    sealed_sha256: Mapped[Digest | None]
    key_commitment: Mapped[Digest | None]
    wrapped_key: Mapped[bytes | None] = deferred(mapped_column(sa.LargeBinary))
    """The file key, encrypted (age) so that only the key desk can open it."""
    wrapped_for: Mapped[Digest | None]
    """The desk's X25519 public key that it is encrypted to, hexadecimal."""
    plain_key: Mapped[str | None] = mapped_column(sa.String(64))
    """Where the plaintext of an earlier version lies until it is deleted."""
    created_at: Mapped[Time] = mapped_column(default=now)

    owner: Mapped[User] = relationship()
