"""The library's outbox in the portal's database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session, selectinload, sessionmaker

from app.models import Attempt, Intent, IntentState
from imprimatur.chain.outbox import Call, Sender, Store, Transactions, records
from imprimatur.chain.outbox.records import IN_FLIGHT, SETTLED


def transactions(sessions: sessionmaker[Session]) -> Transactions:
    """Transactions of sessions of their own."""

    @contextmanager
    def transaction() -> Iterator[Store]:
        with sessions.begin() as session:
            yield SqlStore(session)

    return transaction


class SqlStore:
    """The outbox's rows in the open transaction of a session.

    `session` is for what a `Purpose` writes beside a settlement. Intents without a sender are anybody's: the
    worker that signs one makes it its account's.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    def find(self, sender: Sender, key: str) -> records.Intent | None:
        return next(iter(self._select(sender, Intent.key == key)), None)

    def add(self, sender: Sender, key: str, call: Call | None) -> records.Intent:
        dialect = postgresql if self.session.get_bind().dialect.name == "postgresql" else sqlite
        row = {"key": key, "state": IntentState.QUEUED, **_call_columns(call)}
        self.session.execute(
            dialect.insert(Intent).values(row).on_conflict_do_nothing(index_elements=["key"])
        )
        found = self.find(sender, key)
        if found is None:
            raise LookupError(f"The intent {key} belongs to another sender.")
        return found

    def queued(self, sender: Sender, most: int) -> list[records.Intent]:
        # Orders that nobody knows how to send, such as those of a file that isn't sealed, come last: only
        # the first `most` are looked at, and these may wait for ever.
        place = sa.case((Intent.reason.is_not_distinct_from("unexpected"), 1), else_=0)
        return self._select(sender, Intent.state == IntentState.QUEUED, place, Intent.id, most=most)

    def in_flight(self, sender: Sender) -> list[records.Intent]:
        return self._select(sender, Intent.state.in_(IN_FLIGHT), Intent.nonce)

    def settled_from(self, sender: Sender, nonce: int, most: int) -> list[records.Intent]:
        condition = sa.and_(Intent.state.in_(SETTLED), Intent.nonce >= nonce)
        return self._select(sender, condition, Intent.nonce, most=most)

    def next_nonce(self, sender: Sender, at_least: int) -> int:
        self._lock(sender)
        highest = self.session.scalar(
            sa.select(sa.func.max(Attempt.nonce)).where(
                Attempt.sender == sender.address, Attempt.chain_id == sender.chain_id
            )
        )
        return at_least if highest is None else max(at_least, highest + 1)

    def update(self, sender: Sender, after: records.Intent, before: records.Intent) -> bool:
        chain_id, address = (None, None) if after.nonce is None else (sender.chain_id, sender.address)
        done = self.session.execute(
            sa.update(Intent)
            .where(
                Intent.id == after.id,
                Intent.state == before.state,
                Intent.nonce.is_not_distinct_from(before.nonce),
                Intent.transaction_hash.is_not_distinct_from(before.transaction_hash),
            )
            .values(
                state=after.state,
                chain_id=chain_id,
                sender=address,
                nonce=after.nonce,
                tries=after.tries,
                transaction_hash=after.transaction_hash,
                block_number=after.block_number,
                block_hash=after.block_hash,
                reason=after.reason,
                facts=after.facts,
                **_call_columns(after.call),
            )
            .execution_options(synchronize_session=False)
        )
        return bool(getattr(done, "rowcount", 0) == 1)

    def add_attempt(self, sender: Sender, intent: records.Intent, attempt: records.Attempt) -> None:
        self.session.execute(
            sa.insert(Attempt).values(
                intent_id=intent.id,
                chain_id=sender.chain_id,
                sender=sender.address,
                nonce=attempt.nonce,
                raw=attempt.raw,
                hash=attempt.hash,
                max_fee=attempt.max_fee,
                tip=attempt.tip,
                cancels=attempt.cancels,
                signed_at=attempt.signed_at,
                head=attempt.head,
            )
        )

    def cancel(self, sender: Sender, key: str) -> tuple[records.Intent, bool] | None:
        self._lock(sender)
        found = sa.select(Intent).where(Intent.key == key, _whose(sender)).with_for_update()
        row = self.session.scalar(found.execution_options(populate_existing=True))
        if row is None:
            return None
        ended = row.state is IntentState.QUEUED
        if ended:
            row.state = IntentState.CANCELLED
        elif row.state in IN_FLIGHT:
            row.cancelling = True
        self.session.flush()
        return _record(row), ended

    def count(self, sender: Sender) -> dict[IntentState, int]:
        rows = self.session.execute(
            sa.select(Intent.state, sa.func.count()).where(_whose(sender)).group_by(Intent.state)
        )
        return {row[0]: row[1] for row in rows}

    def _lock(self, sender: Sender) -> None:
        """Until the transaction ends nobody else counts this sender's nonces."""
        if self.session.get_bind().dialect.name == "postgresql":
            name = f"{sender.chain_id}:{sender.address}"
            self.session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name))))
        else:
            # SQLite has one writer. Whoever writes nothing at all has its lock already.
            self.session.execute(sa.update(Intent).where(sa.false()).values(id=Intent.id))

    def _select(
        self,
        sender: Sender,
        condition: sa.ColumnElement[bool],
        *order: sa.ColumnElement[Any] | InstrumentedAttribute[Any],
        most: int | None = None,
    ) -> list[records.Intent]:
        rows = self.session.scalars(
            sa.select(Intent)
            .where(condition, _whose(sender))
            .order_by(*order)
            .limit(most)
            .options(selectinload(Intent.attempts))
            .execution_options(populate_existing=True)
        )
        return [_record(row) for row in rows]


def _whose(sender: Sender) -> sa.ColumnElement[bool]:
    mine = sa.and_(Intent.sender == sender.address, Intent.chain_id == sender.chain_id)
    return sa.or_(Intent.sender.is_(None), mine)


def _call_columns(call: Call | None) -> dict[str, str | int | None]:
    if call is None:
        return {"to": None, "data": None, "value": None, "gas": None}
    return {"to": call.to, "data": call.data, "value": str(call.value), "gas": call.gas}


def _record(row: Intent) -> records.Intent:
    call = None if row.to is None else Call(row.to, row.data or "0x", int(row.value or 0), row.gas)
    intent = records.Intent(
        id=row.id,
        key=row.key,
        state=row.state,
        call=call,
        nonce=row.nonce,
        cancelling=row.cancelling,
        tries=row.tries,
        transaction_hash=row.transaction_hash,
        block_number=row.block_number,
        block_hash=row.block_hash,
        reason=row.reason,
        facts=row.facts,
    )
    attempts = tuple(_attempt(attempt) for attempt in row.attempts if attempt.nonce == row.nonce)
    return replace(intent, attempts=attempts)


def _attempt(row: Attempt) -> records.Attempt:
    return records.Attempt(
        hash=row.hash,
        raw=row.raw,
        nonce=row.nonce,
        max_fee=row.max_fee,
        tip=row.tip,
        cancels=row.cancels,
        signed_at=row.signed_at,
        head=row.head,
    )
