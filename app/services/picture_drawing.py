"""Keeping the picture of licenses, prints and devices as the events say, in the commit that writes them.

What an event means is the audit's knowledge (`imprimatur.audit.replay`); here it is given the part of the
state that new events can change, and what it made of it is written back. After a reorganisation the licenses
that had events in replaced blocks are drawn anew from those that are left.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import ChainBinding, ChainEvent, ChainLicense, ChainUse
from app.services.event_rows import chunks, rows
from imprimatur.audit import Copy, LicenseHistory, Replay
from imprimatur.audit.history import Place
from imprimatur.chain.events import Row
from imprimatur.chain.orders import Terms

ABOUT_A_COPY = {"PrintFailed": "copy", "CopiesGranted": "forCopy"}
"""Events that change a copy consumed before, and the value that names it."""

NUMBER_DIGITS = 24
"""At the end of an id."""

Drawn = dict[str, ChainLicense]
DrawnCopies = dict[tuple[str, int], ChainUse]


def follow(session: Session, new: Sequence[Row]) -> None:
    """Draw what new events say, which follow all that are drawn. They are whole blocks, in chain order."""
    licenses = _licenses_in(session, new)
    copies = _copies_in(session, new)
    replay = Replay()
    for row in licenses.values():
        own = [copy for (id, _), copy in copies.items() if id == row.id]
        replay.licenses[row.id] = _history(row, own)
    _draw(session, _replayed(replay, new), new, licenses, copies)
    _follow_bindings(session, new)


def licenses_above(session: Session, block: int) -> list[str]:
    """Those with events in blocks above this one."""
    found = session.scalars(
        sa.select(ChainEvent.license)
        .where(ChainEvent.block_number > block, ChainEvent.license.is_not(None))
        .distinct()
    )
    return sorted(id for id in found if id is not None)


def redraw(session: Session, ids: Sequence[str], block: int) -> None:
    """Draw licenses by the events that are left, and take back what happened to devices above `block`."""
    for some in chunks(ids):
        session.execute(sa.delete(ChainUse).where(ChainUse.license_id.in_(some)))
        session.execute(sa.delete(ChainLicense).where(ChainLicense.id.in_(some)))
        # Serials and joint transfers don't name a license; they stand in the transaction of what does.
        theirs = sa.select(ChainEvent.transaction_hash).where(ChainEvent.license.in_(some))
        nameless = sa.and_(ChainEvent.license.is_(None), ChainEvent.transaction_hash.in_(theirs))
        left = rows(session, sa.or_(ChainEvent.license.in_(some), nameless))
        _draw(session, _replayed(Replay(), left), left, {}, {})
    session.execute(sa.delete(ChainBinding).where(ChainBinding.bound_block > block))
    unbound = sa.update(ChainBinding).where(ChainBinding.unbound_block > block)
    session.execute(unbound.values(unbound_block=None, unbound_at=None))


# --- what is there ------------------------------------------------------------------------------------------


def _licenses_in(session: Session, new: Iterable[Row]) -> Drawn:
    ids: dict[str, None] = {}
    for row in new:
        if row.license is not None:
            ids[row.license] = None
        elif row.name == "TransferBatch":
            ids |= dict.fromkeys(row.values["ids"])
    found: Drawn = {}
    for some in chunks(list(ids)):
        query = sa.select(ChainLicense).where(ChainLicense.id.in_(some))
        found |= {row.id: row for row in session.scalars(query)}
    return found


def _copies_in(session: Session, new: Iterable[Row]) -> DrawnCopies:
    keys = {
        (row.license, row.values[ABOUT_A_COPY[row.name]]): None for row in new if row.name in ABOUT_A_COPY
    }
    found: DrawnCopies = {}
    for some in chunks(list(keys)):
        query = sa.select(ChainUse).where(sa.tuple_(ChainUse.license_id, ChainUse.copy).in_(some))
        found |= {(row.license_id, row.copy): row for row in session.scalars(query)}
    return found


def _history(row: ChainLicense, copies: Iterable[ChainUse]) -> LicenseHistory:
    """A license as it is drawn, with those of its copies that matter."""
    history = LicenseHistory(
        id=row.id,
        owner=row.owner,
        issued=Place(row.block_number, "", row.timestamp, row.transaction_hash),
        issued_to=row.issued_to,
        printer=row.printer,
        file_hash=row.file_hash,
        manifest_hash=row.manifest_hash,
        issued_copies=row.issued,
        valid_until=row.valid_until,
        flags=Terms(row.flags),
        failures_allowed=row.failures_allowed,
        sender=row.sender,
        granted=row.granted,
        forfeited=row.forfeited,
        used=row.used,
        failed=row.failed,
        tokens=row.remaining,
        token_holder=row.printer,
        window=row.failed_window,
        copies=[_copy(copy) for copy in copies],
    )
    history.revoked = _place(row.revoked_block, row.revoked_at, row.revoked_transaction)
    return history


def _copy(row: ChainUse) -> Copy:
    return Copy(
        number=row.copy,
        place=Place(row.block_number, "", row.timestamp, row.transaction_hash),
        device=row.device,
        wallet=row.wallet,
        file_hash=row.file_hash,
        key_recipient=row.key_recipient,
        attestors=[],
        sender=row.sender,
        commitment=row.commitment,
        failed=_place(row.failed_block, row.failed_at, row.failed_transaction),
        failure_evidence=row.failure_evidence,
        replaced=row.replaced,
    )


def _place(block: int | None, time: int | None, transaction: str | None) -> Place | None:
    """An event's place, if it happened. The tables don't keep its block's hash: the events do."""
    return (
        None if block is None or time is None or transaction is None else Place(block, "", time, transaction)
    )


# --- what becomes of it -------------------------------------------------------------------------------------


def _replayed(replay: Replay, some: Iterable[Row]) -> Replay:
    for row in some:
        replay.apply(row)
    return replay


def _draw(
    session: Session, replay: Replay, some: Iterable[Row], licenses: Drawn, copies: DrawnCopies
) -> None:
    """Write what a replay ended with over what was drawn before, or beside it."""
    serials = {
        (row.license, row.values["copy"]): row.values["encryptedSerial"]
        for row in some
        if row.name == "PrintLogged"
    }
    for id, history in replay.licenses.items():
        _write(session, licenses.get(id), ChainLicense, {"id": id, **_license_columns(history)})
        for copy in history.copies:
            columns = {"license_id": id, "copy": copy.number, **_copy_columns(copy)}
            if (id, copy.number) in serials:
                columns["encrypted_serial"] = serials[id, copy.number]
            _write(session, copies.get((id, copy.number)), ChainUse, columns)
    session.flush()


def _write(
    session: Session,
    row: ChainLicense | ChainUse | None,
    kind: type[ChainLicense | ChainUse],
    columns: dict[str, Any],
) -> None:
    if row is None:
        session.add(kind(**columns))
        return
    for name, value in columns.items():
        setattr(row, name, value)


def _license_columns(history: LicenseHistory) -> dict[str, Any]:
    revoked = history.revoked
    return {
        "owner": history.owner,
        "number": history.id[-NUMBER_DIGITS:],
        "issued_to": history.issued_to,
        "printer": history.printer,
        "file_hash": history.file_hash,
        "manifest_hash": history.manifest_hash,
        "issued": history.issued_copies,
        "granted": history.granted,
        "failed": history.failed,
        "used": history.used,
        "forfeited": history.forfeited,
        "remaining": history.tokens,
        "valid_until": history.valid_until,
        "flags": int(history.flags),
        "failures_allowed": history.failures_allowed,
        "failed_window": history.window,
        "sender": history.sender,
        "block_number": history.issued.block,
        "timestamp": history.issued.time,
        "transaction_hash": history.issued.transaction,
        "revoked_block": None if revoked is None else revoked.block,
        "revoked_at": None if revoked is None else revoked.time,
        "revoked_transaction": None if revoked is None else revoked.transaction,
    }


def _copy_columns(copy: Copy) -> dict[str, Any]:
    failed = copy.failed
    return {
        "device": copy.device,
        "wallet": copy.wallet,
        "file_hash": copy.file_hash,
        "key_recipient": copy.key_recipient,
        "sender": copy.sender,
        "block_number": copy.place.block,
        "timestamp": copy.place.time,
        "transaction_hash": copy.place.transaction,
        "commitment": copy.commitment,
        "replaced": copy.replaced,
        "failed_block": None if failed is None else failed.block,
        "failed_at": None if failed is None else failed.time,
        "failed_transaction": None if failed is None else failed.transaction,
        "failure_evidence": copy.failure_evidence,
    }


def _follow_bindings(session: Session, new: Iterable[Row]) -> None:
    for row in new:
        if row.name == "DeviceBound":
            session.add(
                ChainBinding(
                    device=row.values["device"],
                    wallet=row.values["wallet"],
                    bound_block=row.block_number,
                    bound_index=row.log_index,
                    bound_at=row.timestamp,
                )
            )
        elif row.name == "DeviceUnbound":
            session.flush()
            session.execute(
                sa.update(ChainBinding)
                .where(ChainBinding.device == row.values["device"], ChainBinding.unbound_block.is_(None))
                .values(unbound_block=row.block_number, unbound_at=row.timestamp)
            )
    session.flush()
