"""Ordering licenses. The order is queued here; the worker carries it to the chain."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from app.models import Design, Intent, IntentState, License, Printer, User
from app.services.accounts import Permission, permission_of
from app.services.contracts import Contracts
from app.services.manifests import NotSealed
from imprimatur.chain.print_license import FOR_EVER, Order
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import (
    format_id,
    license_id,
    normalize_number,
    number_from_text,
    owner_of,
    parse_id,
)

MAX_COPIES = 65_535
MAX_FAILURES = 63
"""What the contract can count."""
LAST_DAY = date(2105, 12, 31)
"""The contract keeps the end of validity in 32 bits."""


class OrderRefused(ImprimaturError):
    """The order can't be queued."""


class NumberTaken(OrderRefused):
    """She has another license with this number."""

    def __init__(self, number: str) -> None:
        super().__init__(f"You have another license with the number {number}.")
        self.number = number


class CopiesOutOfRange(OrderRefused):
    """Not between 1 and 65,535 copies."""


class FailuresOutOfRange(OrderRefused):
    """Not between 0 and 63 failed prints."""


class DesignNotSealed(OrderRefused):
    """Its file was stored by a version of the portal that didn't seal files, so no key desk can guard it."""

    def __init__(self, design: Design) -> None:
        super().__init__(str(NotSealed(design.file_name)))
        self.file_name = design.file_name


class DayOutOfRange(OrderRefused):
    """In the past, or farther away than the contract can count."""


class PortalNotAllowed(OrderRefused):
    """The owner doesn't let the portal issue for her."""

    def __init__(self, permission: Permission) -> None:
        super().__init__("The portal isn't allowed to issue licenses for this account.")
        self.permission = permission


@dataclass(frozen=True, slots=True)
class Terms:
    """What an owner orders. `number` as she typed it; `last_day` of validity in UTC, or None for ever.

    `failures_allowed`: failed prints that she gives back, each once, without being asked.
    """

    number: str
    design: Design
    printer: Printer
    copies: int
    last_day: date | None = None
    failures_allowed: int = 0


def order_license(session: Session, contracts: Contracts, owner: User, terms: Terms, today: date) -> License:
    """Queue a license. The same order twice is one license.

    Raises:
        OrderRefused, InvalidLicenseNumber: with the reason; nothing is queued.
    """
    number = normalize_number(terms.number)
    if not 1 <= terms.copies <= MAX_COPIES:
        raise CopiesOutOfRange(f"A license has 1 to {MAX_COPIES} copies.")
    if terms.last_day is not None and not today <= terms.last_day <= LAST_DAY:
        raise DayOutOfRange("The last day of validity is in the past or too far away.")
    if not 0 <= terms.failures_allowed <= MAX_FAILURES:
        raise FailuresOutOfRange(f"A license gives back 0 to {MAX_FAILURES} failed prints.")
    key = format_id(license_id(owner.account, number_from_text(number)))
    if (known := _known(session, owner, key, number)) is not None:
        return _same_order(known, key, terms)
    if terms.design.sealed_size is None:
        raise DesignNotSealed(terms.design)
    permission = permission_of(session, contracts, owner)
    if not permission.may_queue:
        raise PortalNotAllowed(permission)
    intent = Intent(key=f"issue:{key}", state=IntentState.QUEUED)
    license = License(
        id=key,
        owner_id=owner.id,
        design_id=terms.design.id,
        number=number,
        printer_name=terms.printer.name,
        printer_address=terms.printer.address,
        file_hash=terms.design.sha256,
        copies=terms.copies,
        valid_until=end_of_day(terms.last_day),
        failures_allowed=terms.failures_allowed,
        intent=intent,
    )
    session.add(license)
    try:
        session.commit()
    except sa.exc.IntegrityError:
        # A double click: the other request was first.
        session.rollback()
        known = _known(session, owner, key, number)
        if known is None:
            raise
        return _same_order(known, key, terms)
    return license


def _known(session: Session, owner: User, key: str, number: str) -> License | None:
    """The license with this id, or with her number and the id of an account that she had before."""
    return session.get(License, key) or session.scalar(
        sa.select(License).where(License.owner_id == owner.id, License.number == number)
    )


def _same_order(known: License, key: str, terms: Terms) -> License:
    wanted = (
        key,
        terms.design.id,
        terms.printer.address,
        terms.copies,
        end_of_day(terms.last_day),
        terms.failures_allowed,
    )
    there = (
        known.id,
        known.design_id,
        known.printer_address,
        known.copies,
        known.valid_until,
        known.failures_allowed,
    )
    if there != wanted:
        raise NumberTaken(known.number)
    return known


def order_again(session: Session, contracts: Contracts, owner: User, license: License) -> None:
    """Queue a failed order once more.

    Raises:
        PortalNotAllowed: still, or again.
        DesignNotSealed: the order is older than sealing.
    """
    if license.design.sealed_size is None:
        raise DesignNotSealed(license.design)
    permission = permission_of(session, contracts, owner)
    if not permission.may_queue:
        raise PortalNotAllowed(permission)
    # Conditional, so that two clicks, or a click and the worker, can't undo each other.
    session.execute(
        sa.update(Intent)
        .where(Intent.id == license.intent_id, Intent.state == IntentState.FAILED)
        .values(state=IntentState.QUEUED, sender=None, nonce=None, tries=0, reason=None, facts=None)
    )
    session.commit()


def end_of_day(day: date | None) -> int:
    """The last second (Unix time) of a day in UTC; `FOR_EVER` without a day."""
    return FOR_EVER if day is None else int(datetime.combine(day, time(23, 59, 59), UTC).timestamp())


def order_for_contract(license: License, deadline: int) -> Order:
    """The order as the contract takes it. `deadline`: last second at which it may be executed.

    Raises:
        ValueError: nothing was stated about its file yet.
    """
    if license.manifest_hash is None:
        raise ValueError(f"The license {license.number} has no manifest.")
    return Order(
        owner=owner_of(parse_id(license.id)),
        number=number_from_text(license.number),
        printer=license.printer_address,
        file_hash=license.file_hash,
        copies=license.copies,
        valid_until=license.valid_until,
        failures_allowed=license.failures_allowed,
        manifest_hash=bytes.fromhex(license.manifest_hash),
        deadline=deadline,
    )


def suggest_number(session: Session, owner: User, year: int) -> str:
    """The next free number in the owner's own series, such as `AS-2026-0007` for Aero Spares."""
    initials = "".join(word[0] for word in re.findall(r"[^\W\d_]\w*", owner.name))[:3].upper() or "L"
    prefix = f"{initials}-{year}-"
    numbers = session.scalars(
        sa.select(License.number).where(
            License.owner_id == owner.id, License.number.startswith(prefix, autoescape=True)
        )
    )
    tails = [n.removeprefix(prefix) for n in numbers]
    highest = max((int(t) for t in tails if t.isascii() and t.isdecimal()), default=0)
    return f"{prefix}{highest + 1:04d}"


def licenses_of(session: Session, owner: User) -> Sequence[License]:
    """An owner's licenses, newest first, with their intents and designs."""
    return session.scalars(
        sa.select(License)
        .where(License.owner_id == owner.id)
        .order_by(License.intent_id.desc())
        .options(joinedload(License.intent), joinedload(License.design))
    ).all()


def license_of(session: Session, owner: User, id: str) -> License | None:
    """One of her licenses, or None when there is none or it isn't hers."""
    return session.scalar(sa.select(License).where(License.id == id, License.owner_id == owner.id))
