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
    """

    is_issued: bool
    on_their_way: int
    waiting: int
    same: str | None


def _look() -> sa.Select[str, int, int, str]:
    issued = sa.select(License.id).join(Intent, License.intent_id == Intent.id)
    issued = issued.where(License.id == sa.bindparam("license"), Intent.state == IntentState.DONE)
    other = RelayEntry.digest != sa.bindparam("digest")
    own = sa.and_(other, RelayEntry.device == sa.bindparam("device"), RelayEntry.state.in_(OPEN))
    same = sa.and_(
        own,
        RelayEntry.kind == sa.bindparam("kind"),
        RelayEntry.license_id == sa.bindparam("license"),
        RelayEntry.copy == sa.bindparam("copy"),
    )
    count = sa.select(sa.func.count())
    return sa.select(
        issued.scalar_subquery(),
        count.where(own).scalar_subquery(),
        count.where(other, RelayEntry.state == RelayState.WAITING).scalar_subquery(),
        sa.select(sa.func.min(RelayEntry.digest)).where(same).scalar_subquery(),
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
    issued, on_their_way, waiting, same = session.execute(_LOOK, about).one()
    return Seen(issued is not None, on_their_way, waiting, same)


def by_digest(session: Session, digest: str) -> RelayEntry | None:
    """The entry with this digest as it stands now, whoever sent it."""
    return session.scalar(_BY_DIGEST, {"digest": digest})


def lock(session: Session) -> None:
    """Until the transaction ends nobody else takes a message in, so that limits are exact."""
    # SQLite has one writer. Whoever writes nothing at all has its lock already.
    session.execute(_ADVISORY if session.get_bind().dialect.name == "postgresql" else _NOTHING)
