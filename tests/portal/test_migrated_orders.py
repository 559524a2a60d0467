"""An order that was under way when the portal was upgraded goes on from the bytes that were signed before."""

import pytest
import sqlalchemy as sa
from flask import Flask
from portal.stage import Party, TestChain, refreshed
from sqlalchemy.orm import Session

from app.extensions import alembic
from app.jobs.worker import Worker
from app.models import Attempt, Design, IntentState, License, Printer
from app.models.base import now
from app.services import issuing
from app.services.issuing import Terms
from app.services.outbox import Orders, order_outbox
from imprimatur.chain.signers import KeySigner


class Stop(Exception):
    """A crash."""


def test_orders_under_way(
    app: Flask,
    session: Session,
    chain: TestChain,
    worker: Worker,
    operator: KeySigner,
    owner: Party,
    design: Design,
    printer: Printer,
    allowed: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_manifest(_orders: Orders, license: License) -> License:
        """As the earlier version signed it."""
        license.manifest_hash = "0" * 64
        return license

    monkeypatch.setattr(Orders, "_stated", without_manifest)
    connection = app.extensions["imprimatur"].chain
    license = issuing.order_license(
        session, connection, owner.user, Terms("AS-1", design, printer, 3), now().date()
    )

    def stop(name: str) -> None:
        if name == "committed":
            raise Stop

    with pytest.raises(Stop):
        order_outbox(worker._sessions, chain.licenses, operator, checkpoint=stop).step()
    signed = session.scalars(sa.select(Attempt)).one()
    before = (signed.raw, signed.nonce, signed.max_fee, signed.tip, signed.chain_id)
    call = refreshed(session, license).intent.data
    session.close()
    with app.app_context():
        alembic.downgrade("0001")
        alembic.upgrade()
    while worker.step():
        pass
    done = refreshed(session, license).intent
    assert (done.state, done.cancelling, done.data) == (IntentState.DONE, False, call)
    kept = session.scalars(sa.select(Attempt)).one()
    assert (kept.raw, kept.nonce, kept.max_fee, kept.tip, kept.chain_id) == before
