"""The owner's stop: no key of a license leaves the desk any more, and what she then owes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from app.models import ChainUse, KeyAudit, License
from app.services import stop_lock
from imprimatur.key_answer import Refusal


@dataclass(frozen=True, slots=True)
class OwedCopy:
    """A copy that `device` consumed and got no key for, because of the stop; `since`: its last attempt."""

    copy: int
    device: str
    since: datetime


def stop(session: Session, license: License, now: datetime) -> None:
    """From this commit on, no key of the license leaves. Twice is the same as once."""
    stop_lock.await_answers(session)
    _set(session, License.id == license.id, License.stopped_at.is_(None), stopped_at=now)


def resume(session: Session, license: License) -> None:
    """Consumed copies get their keys again. Twice is the same as once."""
    _set(session, License.id == license.id, stopped_at=None)


def _set(session: Session, *rows: sa.ColumnElement[bool], stopped_at: datetime | None) -> None:
    session.execute(sa.update(License).where(*rows).values(stopped_at=stopped_at))
    session.commit()


def owed_copies(session: Session, license: License) -> Sequence[OwedCopy]:
    """Copies whose key the stop withheld and that weren't made good since.

    That is: by the key after all, by a failure that was given back, or by a copy granted in their place.

    The desk says "stopped" only of copies that final blocks show as consumed. What was given back is read
    from the portal's picture of the chain; until that has seen it, a copy stays in the list.
    """
    withheld, released = aliased(KeyAudit), aliased(KeyAudit)
    made_good = (
        sa.exists().where(
            released.license_id == withheld.license_id,
            released.copy == withheld.copy,
            released.released,
        ),
        sa.exists().where(
            ChainUse.license_id == withheld.license_id,
            ChainUse.copy == withheld.copy,
            sa.or_(ChainUse.replaced, ChainUse.failed_block.is_not(None)),
        ),
    )
    rows = session.execute(
        sa.select(withheld.copy, withheld.device, sa.func.max(withheld.at))
        .where(withheld.license_id == license.id, withheld.reason == Refusal.STOPPED, ~sa.or_(*made_good))
        .group_by(withheld.copy, withheld.device)
        .order_by(withheld.copy)
    )
    return [OwedCopy(*row) for row in rows]
