"""The worker's sign of life."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import Intent, IntentState, WorkerStatus
from imprimatur.chain.outbox.records import IN_FLIGHT

ALIVE_FOR = timedelta(seconds=15)
"""A worker that was silent for longer counts as stopped."""


def announce(session: Session, operator: str, at: datetime) -> None:
    """A worker starts, with this account."""
    status = session.get(WorkerStatus, 1)
    if status is None:
        status = WorkerStatus(id=1)
        session.add(status)
    status.operator, status.started_at, status.heartbeat_at, status.problem = operator, at, at, None
    session.commit()


def beat(session: Session, at: datetime, problem: str | None = None) -> None:
    """It is alive. A `problem` that stops all work is written to everything that waits."""
    session.execute(sa.update(WorkerStatus).values(heartbeat_at=at, problem=problem))
    if problem is not None:
        waiting = Intent.state.in_((IntentState.QUEUED, *IN_FLIGHT))
        session.execute(sa.update(Intent).where(waiting).values(reason=problem, facts=None))
    session.commit()


def is_alive(session: Session, at: datetime) -> bool:
    status = session.scalar(sa.select(WorkerStatus))
    return status is not None and at - status.heartbeat_at < ALIVE_FOR
