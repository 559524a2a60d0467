"""What happened on the chain, for anybody to read."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import License
from imprimatur.chain.interface import DecodedEvent
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeUnreachable, Rpc
from imprimatur.license_id import (
    InvalidLicenseNumber,
    format_id,
    number_from_text,
    number_of,
    owner_of,
    parse_id,
)

PAGE_SIZE = 25
MAX_SEARCH = 80
"""Characters of a search."""
_CACHED_BLOCKS = 4096


class Kind(StrEnum):
    """What an event means, by its name in the contract."""

    ISSUED = "LicenseIssued"
    USED = "LicenseUsed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. `copies`: how many were issued; `copy`: which one was used. `time` in Unix seconds."""

    kind: Kind
    id: str
    number: str | None
    owner: str
    printer: str
    copies: int | None
    copy: int | None
    valid_until: int
    file_hash: str
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
    """Copies of an account's licenses that were issued and used, and the latest entries, newest first."""

    issued: int
    used: int
    latest: Sequence[Entry]


class BlockTimes:
    """When blocks were made. A block's time never changes, so it is kept by the block's hash."""

    def __init__(self, size: int = _CACHED_BLOCKS) -> None:
        self._times: OrderedDict[str, int] = OrderedDict()
        self._size = size
        self._lock = threading.Lock()

    def time_of(self, rpc: Rpc, block_hash: str) -> int:
        """Unix seconds."""
        with self._lock:
            if block_hash in self._times:
                self._times.move_to_end(block_hash)
                return self._times[block_hash]
        block: dict[str, Any] | None = rpc.call("eth_getBlockByHash", [block_hash, False])
        if block is None:
            raise NodeUnreachable("The chain node no longer knows a block that it just told of.")
        time = int(block["timestamp"], 16)
        with self._lock:
            self._times[block_hash] = time
            while len(self._times) > self._size:
                self._times.popitem(last=False)
        return time


class Explorer:
    """Reads the contract's events; the database only adds the texts of license numbers."""

    def __init__(self, block_times: BlockTimes) -> None:
        self._block_times = block_times

    def page(
        self,
        session: Session,
        licenses: PrintLicense,
        search: str = "",
        kind: Kind | None = None,
        number: int = 1,
    ) -> Page:
        """One page of the events that match.

        Args:
            search: a license id, a license number, or a part of one that the portal knows.

        Raises:
            NodeUnreachable, NodeRefused
        """
        names = [kind.value] if kind else [k.value for k in Kind]
        text = search.strip()[:MAX_SEARCH]
        events: Iterable[DecodedEvent]
        if not text:
            events = licenses.events(*names)
        else:
            try:
                events = licenses.events(*names, id=parse_id(text))
            except InvalidLicenseNumber:
                known, hashed = _ids_like(session, text), _number_hash(text)
                events = (
                    e
                    for e in licenses.events(*names)
                    if e.values["id"] in known or number_of(e.values["id"]) == hashed
                )
        found = list(events)
        found.reverse()
        count = max(1, -(-len(found) // PAGE_SIZE))
        number = min(max(1, number), count)
        some = found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
        return Page(self.entries(session, licenses, some), len(found), number, count)

    def of_license(self, session: Session, licenses: PrintLicense, id: int) -> list[Entry]:
        """Everything that happened to one license, oldest first."""
        return self.entries(session, licenses, licenses.events(*Kind, id=id))

    def of_owner(self, session: Session, licenses: PrintLicense, account: str, latest: int) -> Activity:
        """Sums over all events of an account's licenses; only the `latest` ones cost a question each."""
        mine = [e for e in licenses.events(*Kind) if owner_of(e.values["id"]) == account]
        return Activity(
            issued=sum(e.values["copies"] for e in mine if e.name == Kind.ISSUED),
            used=sum(e.name == Kind.USED for e in mine),
            latest=self.entries(session, licenses, mine[-latest:][::-1]),
        )

    def entries(
        self, session: Session, licenses: PrintLicense, events: Iterable[DecodedEvent]
    ) -> list[Entry]:
        """Events with times and license numbers."""
        events = list(events)
        ids = {format_id(e.values["id"]) for e in events}
        rows = session.execute(sa.select(License.id, License.number).where(License.id.in_(ids))).all()
        numbers: dict[str, str] = {row.id: row.number for row in rows}
        return [self._entry(licenses.rpc, event, numbers) for event in events]

    def _entry(self, rpc: Rpc, event: DecodedEvent, numbers: dict[str, str]) -> Entry:
        values, id = event.values, format_id(event.values["id"])
        return Entry(
            kind=Kind(event.name),
            id=id,
            number=numbers.get(id),
            owner=owner_of(values["id"]),
            printer=values["printer"] if event.name == Kind.ISSUED else values["device"],
            copies=values.get("copies"),
            copy=values.get("copy"),
            valid_until=values.get("validUntil", 0),
            file_hash=f"{values['fileHash']:064x}",
            block=event.block_number,
            time=self._block_times.time_of(rpc, event.block_hash),
            transaction=event.transaction_hash,
        )


def _ids_like(session: Session, text: str) -> set[int]:
    rows = session.scalars(
        sa.select(License.id).where(License.number.icontains(text, autoescape=True)).limit(500)
    )
    return {parse_id(id) for id in rows}


def _number_hash(text: str) -> int | None:
    """Finds licenses by their whole number even when the portal never heard of them."""
    try:
        return number_from_text(text)
    except InvalidLicenseNumber:
        return None
