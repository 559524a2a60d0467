"""The portal on a real PostgreSQL: migrations, an order from click to chain."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from flask import Flask
from portal.stage import GCODE, TestChain, make_party
from portal.tester_node import TesterNode

from app import create_app
from app.extensions import alembic, db
from app.jobs.worker import Worker
from app.models import Base, Intent, IntentState, License, Printer
from app.models.base import now
from app.services import worker_status
from app.settings import Settings


@pytest.fixture
def portal(options: Settings, node: TesterNode, postgres: str) -> Iterator[Flask]:
    app = create_app(replace(options, database_url=postgres), provider=node)
    app.testing = True
    with app.app_context():
        Base.metadata.drop_all(db.engine)
        with db.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
        alembic.upgrade()
    yield app
    with app.app_context():
        db.engine.dispose()


def test_models_and_migrations_agree(portal: Flask) -> None:
    with portal.app_context():
        assert alembic.compare_metadata() == []
        alembic.downgrade("base")
        alembic.upgrade()
        assert alembic.compare_metadata() == []


def test_an_order_from_click_to_chain(portal: Flask, chain: TestChain, password_hash: list[str]) -> None:
    operator, machine = chain.account(), chain.account()
    with portal.app_context():
        sessions = db.sessionmaker
        worker = Worker(sessions, portal.extensions["imprimatur"].chain, operator)
    with sessions() as session:
        worker_status.announce(session, operator.address, now())
        owner = make_party(portal, session, chain, "Aero Spares", password_hash)
        assert owner.upload(GCODE).status_code in (200, 201)
        session.add(Printer(owner_id=owner.user.id, name="P1", address=machine.address))
        session.commit()
        chain.authorize(owner.signer, operator.address)
        fields = {"design": 1, "printer": 1, "number": "AS-1", "copies": 2}
        answer = owner.post("/licenses", **fields)
        assert answer.status_code == 303
        assert owner.post("/licenses", **fields).location == answer.location
        while worker.step():
            pass
        intent = session.scalars(sa.select(Intent)).one()
        license = session.scalars(sa.select(License)).one()
        assert (intent.state, intent.reason) == (IntentState.DONE, None)
        on_chain = chain.licenses.license_of(int(license.id, 16))
        assert on_chain is not None
        assert (on_chain.remaining, on_chain.printer) == (2, machine.address)
        page = owner.client.get(answer.location).get_data(as_text=True)
        assert "AS-1" in page
        # PostgreSQL takes no zero byte in a text.
        assert owner.client.get("/explorer?q=AS-1").status_code == 200
        assert owner.client.get("/explorer?q=AS%00").status_code == 200
        assert owner.client.get("/licenses/%00").status_code == 404
        assert owner.post("/licenses/%00/stop").status_code == 404
