"""The worker as the web pages know it."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Address, Base, Time


class WorkerStatus(Base):
    """One row: the account the worker signs with, and when it was last alive."""

    __tablename__ = "worker_status"

    id: Mapped[int] = mapped_column(primary_key=True)
    operator: Mapped[Address]
    started_at: Mapped[Time]
    heartbeat_at: Mapped[Time]
    problem: Mapped[str | None] = mapped_column(sa.String(200))
    """Why it can't work right now."""
