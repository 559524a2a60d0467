"""What printers may know and fetch."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload, undefer

from app.models import Design, DeviceNonce, Intent, IntentState, License
from imprimatur.device_auth import MAX_SKEW, DeviceRequest


def is_first(session: Session, request: DeviceRequest, now: int) -> bool:
    """Remember a request's nonce; False when the device used it before: a replay.

    Nonces are forgotten once the request's time alone would refuse it.
    """
    session.execute(sa.delete(DeviceNonce).where(DeviceNonce.seen_at < now - 3 * MAX_SKEW))
    session.add(DeviceNonce(address=request.address, nonce=request.nonce, seen_at=now))
    try:
        session.commit()
    except sa.exc.IntegrityError:
        session.rollback()
        return False
    return True


def licenses_for(session: Session, device: str) -> Sequence[License]:
    """Licenses of a printer wallet that stand on the chain, newest first, with design and owner."""
    return session.scalars(
        _issued_to(device)
        .options(joinedload(License.owner), joinedload(License.design).options(undefer(Design.thumbnail_png)))
        .order_by(License.intent_id.desc())
    ).all()


def license_for(session: Session, device: str, id: str) -> License | None:
    """One of them, or None."""
    return session.scalar(_issued_to(device).where(License.id == id).options(joinedload(License.design)))


def _issued_to(device: str) -> sa.Select[License]:
    return (
        sa.select(License)
        .join(Intent, License.intent_id == Intent.id)
        .where(License.printer_address == device, Intent.state == IntentState.DONE)
    )
