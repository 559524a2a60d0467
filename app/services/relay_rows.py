"""What taking a message in asks of the database.

Statements are made once: each message needs them, and making them takes longer than answering them.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import Intent, IntentState, License, RelayEntry, RelayState
from app.services.relay_messages import Message
from imprimatur.license_id import format_id

OPEN = (RelayState.WAITING, RelayState.SENT)
LOCK = "relay"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a message meets; it itself isn't counted.

    Attributes:
        is_issued: its license stands on the chain, issued through this portal, which pays for its prints.
        on_their_way: messages of the device.
        waiting: messages that wait for a batch, of all devices.
        same: digest of an open message of the device about the same copy.
        is_known: the message itself came before.
    """

    is_issued: bool
    on_their_way: int
    waiting: int
    same: str | None
    is_known: bool


def _look() -> sa.Select[str, int, int, int, str, int]:
    # Of tables: what mapped classes cost beside them is more than the question.
    entry, intent, license = (row.__table__.c for row in (RelayEntry, Intent, License))
    issued = sa.select(license.id).where(
        license.id == sa.bindparam("license"),
        license.intent_id == intent.id,
        intent.state == IntentState.DONE,
    )
    itself = entry.digest == sa.bindparam("digest")
    waits = entry.state == RelayState.WAITING
    own = sa.and_(~itself, entry.device == sa.bindparam("device"), entry.state.in_(OPEN))
    same = sa.and_(
        own,
        entry.kind == sa.bindparam("kind"),
        entry.license_id == sa.bindparam("license"),
        entry.copy == sa.bindparam("copy"),
    )
    count = sa.select(sa.func.count())
    return sa.select(
        issued.scalar_subquery(),
        count.where(own).scalar_subquery(),
        # Not as one condition: so all that wait are counted in the index of states alone.
        count.where(waits).scalar_subquery(),
        count.where(itself, waits).scalar_subquery(),
        sa.select(sa.func.min(entry.digest)).where(same).scalar_subquery(),
        count.where(itself).scalar_subquery(),
    )


_LOOK = _look()
_BY_DIGEST = (
    sa.select(RelayEntry)
    .where(RelayEntry.digest == sa.bindparam("digest"))
    .execution_options(populate_existing=True)
)
_NOTHING = sa.update(RelayEntry).where(sa.false()).values(id=RelayEntry.id)
_ADVISORY = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(LOCK)))


def look(session: Session, message: Message) -> Seen:
    """What a message meets now; exact inside of `lock`."""
    about = {
        "kind": message.kind,
        "license": format_id(message.license),
        "copy": message.signed.message.copy,
        "device": message.device,
        "digest": message.digest,
    }
    issued, on_their_way, waiting, it_waits, same, known = session.execute(_LOOK, about).one()
    return Seen(issued is not None, on_their_way, waiting - it_waits, same, known > 0)


def by_digest(session: Session, digest: str) -> RelayEntry | None:
    """The entry with this digest as it stands now, whoever sent it."""
    return session.scalar(_BY_DIGEST, {"digest": digest})


def lock(session: Session, writes_next: bool = False) -> None:
    """Until the transaction ends nobody else takes a message in, so that limits are exact.

    `writes_next`: before anything is read, the caller writes.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_ADVISORY)
    elif not writes_next:
        # SQLite has one writer. Whoever writes nothing at all has its lock already.
        session.execute(_NOTHING)
