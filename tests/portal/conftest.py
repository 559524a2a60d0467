"""A portal on a fresh database, and a chain in this process with a fresh contract."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from jinja2 import BytecodeCache, FileSystemBytecodeCache
from portal.stage import DESK, DESK_SECRET, DESK_SIGNER, GCODE, Party, TestChain, make_party
from portal.tester_node import TesterNode
from sqlalchemy.orm import Session

from app import create_app
from app.extensions import alembic, db
from app.jobs.worker import Worker
from app.models import Design, Printer
from app.models.base import now
from app.services import designs, printers, worker_status
from app.settings import Settings
from imprimatur.address_book import Deployment, store
from imprimatur.chain.print_license import CONTRACT
from imprimatur.chain.signers import KeySigner
from support.keystores import cheap_keystores
from support.node import ROOT, Chain, running_chain
from support.postgres import running_postgres

sys.path.insert(0, str(ROOT / "tools"))

__all__ = ["DESK", "DESK_SECRET", "DESK_SIGNER", "cheap_keystores"]


@pytest.fixture(scope="session", autouse=True)
def built_files() -> None:
    """What the portal serves is copied and compiled, not committed."""
    import translations
    import vendor

    vendor.vendor()
    translations.compile_all()


@pytest.fixture(scope="session")
def node() -> TesterNode:
    return TesterNode()


@pytest.fixture(scope="session")
def deployed(node: TesterNode) -> TestChain:
    return TestChain(node)


@pytest.fixture
def chain(deployed: TestChain) -> TestChain:
    deployed.start_over()
    return deployed


@pytest.fixture(scope="module")
def anvil() -> Iterator[Chain]:
    with running_chain() as chain:
        yield chain


@pytest.fixture
def options(tmp_path: Path, chain: TestChain) -> Settings:
    book = Deployment(chain.chain_id, CONTRACT, chain.licenses.address, chain.licenses.since, "0x" + "0" * 64)
    store(tmp_path / "deployments", book)
    return Settings(
        database_url=f"sqlite:///{tmp_path / 'portal.db'}",
        storage_url=(tmp_path / "files").as_uri(),
        chain_url="http://127.0.0.1:1",
        deployments=tmp_path / "deployments",
        secret_key=b"k" * 32,
        max_upload=1_000_000,
        public_url="http://127.0.0.1:5000",
        desk=DESK,
    )


@pytest.fixture(scope="session")
def template_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A migrated, empty database: migrations run once, not for each test."""
    folder = tmp_path_factory.mktemp("template")
    path = folder / "portal.db"
    app = create_app(
        Settings(f"sqlite:///{path}", folder.as_uri(), "http://127.0.0.1:1", folder, b"k" * 32, 1, "http://x")
    )
    with app.app_context():
        alembic.upgrade()
        with db.engine.connect() as connection:
            connection.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)"))
        db.engine.dispose()
    return path.read_bytes()


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> BytecodeCache:
    """Jinja's own cache: templates are compiled once, not for each test's app."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
def app(
    options: Settings, node: TesterNode, template_database: bytes, compiled_templates: BytecodeCache
) -> Iterator[Flask]:
    Path(sa.make_url(options.database_url).database or "").write_bytes(template_database)
    app = create_app(options, provider=node)
    app.testing = True
    app.jinja_env.bytecode_cache = compiled_templates
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def session(app: Flask) -> Iterator[Session]:
    """A session of the test's own. No app context stays open: requests would share its `g`."""
    with app.app_context():
        maker = db.sessionmaker
    with maker() as session:
        yield session


@pytest.fixture(scope="session")
def password_hash() -> list[str]:
    """argon2 is slow on purpose: hash once."""
    return []


@pytest.fixture
def owner(app: Flask, session: Session, chain: TestChain, password_hash: list[str]) -> Party:
    return make_party(app, session, chain, "Aero Spares", password_hash)


@pytest.fixture
def rival(app: Flask, session: Session, chain: TestChain, password_hash: list[str]) -> Party:
    return make_party(app, session, chain, "Museum Prints", password_hash)


@pytest.fixture
def machine(chain: TestChain) -> KeySigner:
    """A printer's wallet."""
    return chain.account()


@pytest.fixture
def operator(session: Session, chain: TestChain) -> KeySigner:
    """The portal's account, announced as by a worker's start."""
    signer = chain.account()
    worker_status.announce(session, signer.address, now())
    return signer


@pytest.fixture
def worker(app: Flask, operator: KeySigner) -> Worker:
    with app.app_context():
        return Worker(db.sessionmaker, app.extensions["imprimatur"].chain, operator)


@pytest.fixture
def allowed(chain: TestChain, owner: Party, operator: KeySigner) -> None:
    """The owner lets the portal issue."""
    chain.authorize(owner.signer, operator.address)


@pytest.fixture
def printer(session: Session, owner: Party, machine: KeySigner) -> Printer:
    return printers.add_printer(session, owner.user, "MK4", machine.address)


@pytest.fixture
def design(app: Flask, session: Session, owner: Party) -> Design:
    store = app.extensions["imprimatur"].files
    return designs.add_design(
        session, store, DESK.recipient, owner.user, "clip.gcode", io.BytesIO(GCODE), 10**6
    )[0]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of an empty database on a PostgreSQL server of the tests' own."""
    with running_postgres() as url:
        yield url
