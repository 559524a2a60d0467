"""The portal's picture of the chain: what pages show without asking a node.

The worker draws it from the contracts' events (`index`, `picture_drawing`); here it is read. It says up to
which block it goes, and everything in it is as of that block or a later one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.models import ChainBinding, ChainClaim, ChainLicense, ChainUse
from app.services import event_store
from app.services.event_rows import chunks
from imprimatur.audit.checks import Conservation
from imprimatur.chain.print_license import CONTRACT

FRESH_FOR = timedelta(seconds=30)
"""A picture that nobody compared with the chain for longer may be old."""
LAG = 20
"""Blocks that the picture may be behind before pages say so: it is about to have them."""


class Freshness(StrEnum):
    """How far the picture can be relied on to be the newest."""

    EMPTY = "empty"
    """Nothing has been read yet."""
    CURRENT = "current"
    BEHIND = "behind"
    """It is being read: the chain is many blocks farther."""
    OLD = "old"
    """Nobody has looked for a while: the worker is stopped, or gets no answer."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Up to where the picture goes.

    Attributes:
        block: the newest block in it, or None.
        missing: blocks that the chain had more when somebody last looked.
        looked_at: when that was (UTC, naive).
        contract: address of the contract that it is of.
    """

    freshness: Freshness
    block: int | None
    missing: int = 0
    looked_at: datetime | None = None
    contract: str | None = None


def standing(session: Session, now: datetime) -> Standing:
    """Up to where the picture goes, at the time `now` (UTC, naive)."""
    top = event_store.top(session)
    claim = session.scalar(sa.select(ChainClaim))
    if top is None or claim is None:
        return Standing(Freshness.EMPTY, None)
    looked_at = claim.looked_at
    missing = max(0, (claim.head or 0) - top.number)
    if looked_at is None or now - looked_at > FRESH_FOR:
        freshness = Freshness.OLD
    else:
        freshness = Freshness.BEHIND if missing > LAG else Freshness.CURRENT
    contracts = {name: address for name, address, _first in json.loads(claim.what)["contracts"]}
    return Standing(freshness, top.number, missing, looked_at, contracts[CONTRACT])


def license(session: Session, id: str) -> ChainLicense | None:
    """A license (id as `format_id` writes it) as it stands on the chain; None when the picture lacks it."""
    return session.get(ChainLicense, id, populate_existing=True)


def licenses(session: Session, ids: Sequence[str]) -> dict[str, ChainLicense]:
    """Those of the licenses that are in the picture, by id."""
    found: dict[str, ChainLicense] = {}
    for some in chunks(ids):
        query = sa.select(ChainLicense).where(ChainLicense.id.in_(some))
        found |= {row.id: row for row in session.scalars(query.execution_options(populate_existing=True))}
    return found


def remaining(session: Session, ids: Sequence[str]) -> dict[str, int]:
    """Copies left, by license id, of those that are in the picture."""
    found: dict[str, int] = {}
    for some in chunks(ids):
        query = sa.select(ChainLicense.id, ChainLicense.remaining).where(ChainLicense.id.in_(some))
        found |= {row.id: row.remaining for row in session.execute(query)}
    return found


def uses(session: Session, id: str) -> Sequence[ChainUse]:
    """A license's consumed copies, in order."""
    query = sa.select(ChainUse).where(ChainUse.license_id == id).order_by(ChainUse.copy)
    return session.scalars(query).all()


def wallet_of(session: Session, device: str) -> str | None:
    """The wallet that a device acts for by the registry, if any."""
    bound = sa.and_(ChainBinding.device == device, ChainBinding.unbound_block.is_(None))
    newest = ChainBinding.bound_block.desc(), ChainBinding.bound_index.desc()
    return session.scalar(sa.select(ChainBinding.wallet).where(bound).order_by(*newest).limit(1))


def conservation(session: Session, owner: str | None = None) -> Conservation:
    """The sum over all licenses, or an owner's: no copy is lost or made.

    `remaining` is counted from the ERC-1155 events and the others from the license's own, so the two sides
    check each other.
    """

    def total(column: InstrumentedAttribute[int]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(column), 0)

    query = sa.select(
        total(ChainLicense.issued),
        total(ChainLicense.granted),
        total(ChainLicense.failed),
        total(ChainLicense.used),
        total(ChainLicense.remaining),
        total(ChainLicense.forfeited),
    )
    if owner is not None:
        query = query.where(ChainLicense.owner == owner)
    return Conservation(*(int(value) for value in session.execute(query).one()))


def unbalanced(session: Session, most: int) -> Sequence[str]:
    """Ids of licenses whose copies don't add up: what the contract can't have done."""
    made = ChainLicense.issued + ChainLicense.granted + ChainLicense.failed
    gone = ChainLicense.used + ChainLicense.remaining + ChainLicense.forfeited
    return session.scalars(
        sa.select(ChainLicense.id).where(made != gone).order_by(ChainLicense.id).limit(most)
    ).all()
