"""What devices may know, fetch and tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload, undefer

from app.models import ChainLicense, DeviceNonce, Intent, IntentState, License, Outcome
from app.services import picture
from imprimatur.device_auth import MAX_SKEW, DeviceRequest
from imprimatur.errors import ImprimaturError

MOST_JOBS = 50
"""Licenses on one page."""
# Both databases know it: the first insert wins, and the second says that it did nothing.
_REMEMBER = sa.text(
    "INSERT INTO device_nonce (address, nonce, seen_at) VALUES (:address, :nonce, :seen_at)"
    " ON CONFLICT DO NOTHING"
)


class CursorUnknown(ImprimaturError):
    """The list can't go on behind this license."""

    def __init__(self) -> None:
        super().__init__("There is no such place in the list; read it from its start.")


class OutcomeKnown(ImprimaturError):
    """This device has told another outcome of this copy."""

    def __init__(self, outcome: str) -> None:
        super().__init__(f"You have reported this print as {outcome} before; the first report stands.")
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Page:
    """Some licenses, newest first; `next`: the last one's id when there are more."""

    licenses: Sequence[License]
    next: str | None


def remember_nonce(session: Session, request: DeviceRequest, now: int) -> bool:
    """Remember a request's nonce with the caller's commit; False when the device used it before: a replay.

    Nonces are forgotten once the request's time alone would refuse it. Only requests of devices that somebody
    let in may come here: what strangers send must not fill the table.
    """
    session.execute(sa.delete(DeviceNonce).where(DeviceNonce.seen_at < now - 3 * MAX_SKEW))
    values = {"address": request.address, "nonce": request.nonce, "seen_at": now}
    done = session.execute(_REMEMBER, values)
    return bool(done.rowcount)  # type: ignore[attr-defined]


def is_first(session: Session, request: DeviceRequest, now: int) -> bool:
    """As `remember_nonce`, in a commit of its own."""
    first = remember_nonce(session, request, now)
    session.commit()
    return first


def jobs_page(session: Session, wallet: str, after: str | None, limit: int) -> Page:
    """Licenses of a printer's wallet that stand on the chain, behind the license `after`.

    A license that comes in between doesn't move the others: it stands before the first page.

    Raises:
        CursorUnknown: `after` is no license of this wallet.
    """
    query = _standing().where(_held_by(wallet), License.signed_manifest.is_not(None))
    if after is not None:
        place = session.scalar(sa.select(License.intent_id).where(_held_by(wallet), License.id == after))
        if place is None:
            raise CursorUnknown
        query = query.where(License.intent_id < place)
    found = session.scalars(
        query.options(joinedload(License.owner), joinedload(License.design), undefer(License.signed_manifest))
        .order_by(License.intent_id.desc())
        .limit(limit + 1)
    ).all()
    shown = found[:limit]
    return Page(shown, shown[-1].id if len(found) > limit else None)


def license_for(session: Session, wallet: str, id: str) -> License | None:
    """One of them, or None."""
    mine = _standing().where(License.id == id, _held_by(wallet))
    return session.scalar(mine.options(joinedload(License.design)))


def report_outcome(
    session: Session, device: str, wallet: str, document: dict[str, Any]
) -> tuple[Outcome, bool] | None:
    """Keep how a print ended (definition `outcome`); whether it's news. None: no license of this wallet.

    It may have passed the license on since it printed.

    Raises:
        OutcomeKnown: the device told something else before.
    """
    ever_held = sa.or_(_held_by(wallet), License.printer_address == wallet)
    if session.scalar(_standing().where(License.id == document["id"], ever_held)) is None:
        return None
    told = {
        "outcome": document["outcome"],
        "seconds": document.get("seconds"),
        "telemetry": document.get("telemetry"),
        "reason": document.get("reason"),
        "ended_at": document["endedAt"],
    }
    key = {"license_id": document["id"], "copy": document["copy"], "device": device}
    known = session.get(Outcome, tuple(key.values()))
    if known is None:
        new = Outcome(**key, **told)
        session.add(new)
        try:
            session.commit()
        except sa.exc.IntegrityError:  # the same device, at the same time
            session.rollback()
            known = session.get_one(Outcome, tuple(key.values()))
        else:
            return new, True
    if any(getattr(known, name) != value for name, value in told.items()):
        raise OutcomeKnown(known.outcome)
    return known, False


def remaining(session: Session, licenses: Sequence[License]) -> dict[str, int]:
    """Copies left by license id, of those that the portal's picture of the chain has."""
    return picture.remaining(session, [license.id for license in licenses])


def _standing() -> sa.Select[License]:
    """Licenses on the chain."""
    done = Intent.state == IntentState.DONE
    return sa.select(License).join(Intent, License.intent_id == Intent.id).where(done)


def _held_by(wallet: str) -> sa.ColumnElement[bool]:
    """As the picture of the chain says; as ordered where it has nothing yet."""
    left = sa.and_(ChainLicense.issued_to == wallet, ChainLicense.printer != wallet)
    return sa.or_(
        License.id.in_(sa.select(ChainLicense.id).where(ChainLicense.printer == wallet)),
        sa.and_(
            License.printer_address == wallet,
            License.id.not_in(sa.select(ChainLicense.id).where(left)),
        ),
    )
