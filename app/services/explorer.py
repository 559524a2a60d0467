"""What happened on the chain, for anybody to read: events as the portal's index has them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import ChainEvent, ChainLicense, ChainUse, License
from app.services import picture
from app.services.event_rows import COLUMNS
from imprimatur.audit.checks import Conservation
from imprimatur.chain.events import Row
from imprimatur.chain.events.layout import checksummed
from imprimatur.license_id import (
    InvalidLicenseNumber,
    format_id,
    number_from_text,
    owner_of,
    parse_id,
)
from imprimatur.plain_text import is_plain

PAGE_SIZE = 25
MAX_SEARCH = 80
"""Characters of a search."""
MOST_KNOWN = 500
"""Licenses that a part of a number finds."""
_ACCOUNT = re.compile("0x[0-9a-fA-F]{40}")


class Kind(StrEnum):
    """What an event means, by its name in the contract."""

    ISSUED = "LicenseIssued"
    USED = "LicenseUsed"
    FAILED = "PrintFailed"
    GRANTED = "CopiesGranted"
    REVOKED = "LicenseRevoked"
    TRANSFERRED = "LicenseTransferred"


_ACTOR = {Kind.ISSUED: "printer", Kind.USED: "device", Kind.TRANSFERRED: "to"}
_COPIES = {Kind.ISSUED: "copies", Kind.GRANTED: "copies", Kind.REVOKED: "forfeited"}
_COPY = {Kind.USED: "copy", Kind.FAILED: "copy"}
"""Values of the events that entries show."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event.

    Attributes:
        number: as its owner wrote it, if the portal knows it.
        printer: the wallet that got the license, or the device that used a copy; None for other events.
        copies: how many were issued, granted or forfeited.
        copy: which one was used, or failed.
        time: of its block, Unix seconds.
    """

    kind: Kind
    id: str
    number: str | None
    owner: str
    printer: str | None
    copies: int | None
    copy: int | None
    block: int
    time: int
    transaction: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of many, newest first."""

    entries: Sequence[Entry]
    total: int
    number: int
    count: int


@dataclass(frozen=True, slots=True)
class Activity:
    """Copies of an account's licenses by where they came from and went, and its latest entries first."""

    copies: Conservation
    latest: Sequence[Entry]


def page(session: Session, search: str = "", kind: Kind | None = None, number: int = 1) -> Page:
    """One page of the events that match.

    Args:
        search: a license id, a license number or a part of one that the portal knows, the address of an
            owner, wallet or device, a transaction's hash, or the SHA-256 of a file.
    """
    condition: sa.ColumnElement[bool] = ChainEvent.name.in_([kind] if kind else list(Kind))
    if text := search.strip()[:MAX_SEARCH]:
        condition &= _matching(session, text)
    total = session.scalar(sa.select(sa.func.count()).select_from(ChainEvent).where(condition)) or 0
    count = max(1, -(-total // PAGE_SIZE))
    number = min(max(1, number), count)
    found = _newest(session, condition, PAGE_SIZE, skipped=(number - 1) * PAGE_SIZE)
    return Page(entries(session, found), total, number, count)


def of_license(session: Session, id: str, most: int) -> list[Entry]:
    """What happened to one license, oldest first: the newest `most` events."""
    condition = sa.and_(ChainEvent.license == id, ChainEvent.name.in_(list(Kind)))
    return entries(session, reversed(_newest(session, condition, most)))


def of_owner(session: Session, account: str, latest: int) -> Activity:
    """What happened to an account's licenses."""
    mine = sa.select(ChainLicense.id).where(ChainLicense.owner == account)
    condition = sa.and_(ChainEvent.license.in_(mine), ChainEvent.name.in_(list(Kind)))
    newest = _newest(session, condition, latest)
    return Activity(picture.conservation(session, account), entries(session, newest))


def entries(session: Session, some: Iterable[Row]) -> list[Entry]:
    """Events with the texts of license numbers."""
    some = list(some)
    ids = {row.license for row in some}
    known = session.execute(sa.select(License.id, License.number).where(License.id.in_(ids)))
    numbers: dict[str, str] = {row.id: row.number for row in known}
    return [_entry(row, row.license, numbers) for row in some if row.license is not None]


def _entry(row: Row, id: str, numbers: dict[str, str]) -> Entry:
    kind, values = Kind(row.name), row.values
    return Entry(
        kind=kind,
        id=id,
        number=numbers.get(id),
        owner=owner_of(int(id, 16)),
        printer=values[_ACTOR[kind]] if kind in _ACTOR else None,
        copies=values[_COPIES[kind]] if kind in _COPIES else None,
        copy=values[_COPY[kind]] if kind in _COPY else None,
        block=row.block_number,
        time=row.timestamp,
        transaction=row.transaction_hash,
    )


def _newest(
    session: Session, condition: sa.ColumnElement[bool], most: int, skipped: int = 0
) -> Sequence[Row]:
    query = (
        sa.select(*COLUMNS)
        .where(condition)
        .order_by(ChainEvent.block_number.desc(), ChainEvent.log_index.desc())
        .limit(most)
        .offset(skipped)
    )
    return [Row._make(found) for found in session.execute(query)]


def _matching(session: Session, text: str) -> sa.ColumnElement[bool]:
    """Events that somebody means by a text."""
    if _ACCOUNT.fullmatch(text):
        return ChainEvent.license.in_(_licenses_of(checksummed(text[2:].lower())))
    try:
        word = format_id(parse_id(text))
    except InvalidLicenseNumber:
        return ChainEvent.license.in_(_numbered(session, text))
    # 32 bytes are an id, a transaction or a file.
    file = ChainEvent.license.in_(_licenses_for(word.removeprefix("0x")))
    return sa.or_(ChainEvent.license == word, ChainEvent.transaction_hash == word, file)


def _licenses_of(account: str) -> sa.CompoundSelect[str]:
    """Ids of licenses that an account owns, holds or got, or under which a device printed."""
    mine = sa.or_(
        ChainLicense.owner == account, ChainLicense.printer == account, ChainLicense.issued_to == account
    )
    printed = sa.select(ChainUse.license_id).where(ChainUse.device == account)
    return sa.union(sa.select(ChainLicense.id).where(mine), printed)


def _licenses_for(digest: str) -> sa.CompoundSelect[str]:
    """Ids of licenses for a file, or under which it was printed as another one that the owner approved."""
    issued = sa.select(ChainLicense.id).where(ChainLicense.file_hash == digest)
    return sa.union(issued, sa.select(ChainUse.license_id).where(ChainUse.file_hash == digest))


def _numbered(session: Session, text: str) -> list[str]:
    """Ids of licenses with a number; whole numbers are found even when the portal never heard of them."""
    if not is_plain(text):
        return []  # No number has such characters, and not every database takes them.
    like = sa.select(License.id).where(License.number.icontains(text, autoescape=True)).limit(MOST_KNOWN)
    found = set(session.scalars(like))
    try:
        whole = f"{number_from_text(text):024x}"
    except InvalidLicenseNumber:
        return sorted(found)
    query = sa.select(ChainLicense.id).where(ChainLicense.number == whole).limit(MOST_KNOWN)
    return sorted(found | set(session.scalars(query)))
