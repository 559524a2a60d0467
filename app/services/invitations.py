"""One-time codes by which an owner lets a device in."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from app.models import Invitation, User
from app.services.printers import checked_name
from imprimatur.errors import ImprimaturError

LIFETIME = timedelta(days=7)
KEPT = timedelta(days=30)
"""So long an expired invitation is told from an unknown one."""
MOST_OPEN = 100
"""Of one owner."""
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no letter that looks like a digit, and none that makes words."""
_LOOK_ALIKES = str.maketrans("ILO", "110")
_GROUPS, _GROUP = 5, 5
"""25 characters of 5 bits: nobody guesses it."""


class TooManyInvitations(ImprimaturError):
    """She has to withdraw some first."""

    def __init__(self) -> None:
        super().__init__(f"You have {MOST_OPEN} open invitations. Withdraw some that nobody needs.")


def invite(session: Session, owner: User, printer_name: str, now: datetime) -> tuple[Invitation, str]:
    """An invitation for one device of a printer, and its code, which is kept nowhere.

    Raises:
        NameMissing, TooManyInvitations: nothing was made.
    """
    name = checked_name(printer_name)
    session.execute(
        sa.delete(Invitation).where(
            Invitation.owner_id == owner.id, Invitation.used_at.is_(None), Invitation.expires_at < now - KEPT
        )
    )
    if len(open_invitations(session, owner, now)) >= MOST_OPEN:
        session.rollback()
        raise TooManyInvitations
    code = "-".join("".join(secrets.choice(ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
    invitation = Invitation(
        owner_id=owner.id,
        printer_name=name,
        code_hash=code_hash(code),
        created_at=now,
        expires_at=now + LIFETIME,
    )
    session.add(invitation)
    session.commit()
    return invitation, code


def code_hash(code: str) -> str:
    """What is kept of a code: the SHA-256 of its characters, however it was typed."""
    plain = code.upper().replace("-", "").translate(_LOOK_ALIKES)
    return hashlib.sha256(plain.encode()).hexdigest()


def by_code(session: Session, code: str) -> Invitation | None:
    """The invitation as it stands in the database now."""
    return session.scalar(
        sa.select(Invitation)
        .where(Invitation.code_hash == code_hash(code))
        .options(joinedload(Invitation.owner))
        .execution_options(populate_existing=True)
    )


def open_invitations(session: Session, owner: User, now: datetime) -> Sequence[Invitation]:
    """An owner's invitations that can still be used, newest first."""
    return session.scalars(
        sa.select(Invitation)
        .where(Invitation.owner_id == owner.id, Invitation.used_at.is_(None), Invitation.expires_at > now)
        .order_by(Invitation.id.desc())
    ).all()


def withdraw(session: Session, owner: User, id: int) -> bool:
    """Make an unused invitation void; False when it isn't hers, or a device was faster."""
    done = session.execute(
        sa.delete(Invitation).where(
            Invitation.id == id, Invitation.owner_id == owner.id, Invitation.used_at.is_(None)
        )
    )
    session.commit()
    return bool(done.rowcount)  # type: ignore[attr-defined]


def take(session: Session, invitation: Invitation, device: str, now: datetime) -> bool:
    """Mark it as used with the caller's commit; False when another device was faster, or it's void now."""
    done = session.execute(
        sa.update(Invitation)
        .where(Invitation.id == invitation.id, Invitation.used_at.is_(None), Invitation.expires_at > now)
        .values(used_by=device, used_at=now)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def ticket(portal_url: str, code: str) -> str:
    """What an invitation's QR code says: JSON that a phone shows and no browser opens."""
    return json.dumps({"imprimatur": 1, "portal": portal_url, "invitation": code}, separators=(",", ":"))
