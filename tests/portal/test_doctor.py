"""`flask doctor`: what a portal's operator is told about the settings, and what each fault looks like."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from portal.stage import DESK, TestChain
from portal.tester_node import TesterNode

from app import create_app
from app.doctor import shown
from app.extensions import db
from app.services import desk_keys
from app.settings import DeskSettings, Settings, WorkerSettings
from imprimatur.chain.outbox.rules import Confirmations, Finalized
from imprimatur.chain.signers import KeySigner, create_keystore
from support.node import ROOT

OK = ("database", "storage", "chain", "key desk", "worker")


@pytest.fixture
def desk_url() -> Iterator[str]:
    """A server whose /healthz says what `status` of the class is."""

    class Desk(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Desk)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def portal(
    app: Flask, options: Settings, node: TesterNode, desk_url: str, operator: KeySigner
) -> Iterator[Flask]:
    """The portal, with a desk that answers and a worker that is alive."""
    told = create_app(replace(options, desk_url=desk_url), provider=node)
    yield told
    with told.app_context():
        db.engine.dispose()


def examined(app: Flask, **environment: str) -> tuple[int, str]:
    """Exit code and text of the command."""
    done = app.test_cli_runner().invoke(args=["doctor"], env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def wrong(output: str) -> list[str]:
    """Which checks failed."""
    return [
        line.split(":")[0].removeprefix("WRONG").strip() for line in output.splitlines() if "WRONG" in line
    ]


def test_a_portal_that_is_well(portal: Flask, chain: TestChain, options: Settings, tmp_path: Path) -> None:
    code, output = examined(portal)
    assert (code, wrong(output)) == (0, []), output
    assert [line.split(":")[0][6:].strip() for line in output.splitlines() if line.startswith("ok")] == [*OK]
    assert f"chain {chain.chain_id}, block" in output
    assert chain.licenses.address in output
    assert not list((tmp_path / "files").iterdir()), "the file that was tried is still there"


def test_everything_that_can_be_wrong(options: Settings, chain: TestChain, tmp_path: Path) -> None:
    """One fault hides no other."""
    (tmp_path / "a-file").touch()
    broken = replace(
        options,
        database_url=f"sqlite:///{tmp_path / 'none' / 'portal.db'}",
        storage_url=(tmp_path / "a-file" / "files").as_uri(),
        desk_url="http://127.0.0.1:1",
    )
    chain.node.down = True
    app = create_app(broken, provider=chain.node)
    code, output = examined(app)
    assert (code, wrong(output)) == (1, [*OK]), output
    assert output.rstrip().endswith("5 of 5 checks failed.")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM alembic_version", "db upgrade"),
        ("UPDATE alembic_version SET version_num = 'feedfacecafe'", "newer version"),
    ],
)
def test_tables_of_another_version(portal: Flask, options: Settings, change: str, said: str) -> None:
    engine = sa.create_engine(options.database_url)
    with engine.begin() as connection:
        connection.execute(sa.text(change))
    engine.dispose()
    code, output = examined(portal)
    assert (code, wrong(output)) == (1, ["database"])
    assert said in output


def test_without_a_desk(options: Settings, chain: TestChain, app: Flask, operator: KeySigner) -> None:
    deskless = create_app(replace(options, desk=None), provider=chain.node)
    code, output = examined(deskless)
    assert (code, wrong(output)) == (1, ["key desk"])
    assert "desk-keys" in output
    with deskless.app_context():
        db.engine.dispose()


def test_the_workers_key(portal: Flask, chain: TestChain, tmp_path: Path) -> None:
    address = create_keystore(tmp_path / "operator.json", "opens sesame").address
    (tmp_path / "password").write_text("opens sesame\n")
    environment = {
        "IMPRIMATUR_OPERATOR_KEYSTORE": str(tmp_path / "operator.json"),
        "IMPRIMATUR_OPERATOR_PASSWORD_FILE": str(tmp_path / "password"),
    }
    code, output = examined(portal, **environment)
    assert (code, wrong(output)) == (1, ["operator's key"]), output
    assert f"{address} has no coins" in output
    assert "sesame" not in output
    chain.fund(address)
    code, output = examined(portal, **environment)
    assert (code, wrong(output)) == (0, []), output
    assert f"{address}, 1 ether" in output
    (tmp_path / "password").write_text("another")
    code, output = examined(portal, **environment)
    assert (code, wrong(output)) == (1, ["operator's key"])
    (tmp_path / "password").unlink()
    code, output = examined(portal, **environment)
    assert code == 1
    assert "IMPRIMATUR_OPERATOR_PASSWORD_FILE" in output


def test_the_desks_keys_and_nodes(portal: Flask, tmp_path: Path) -> None:
    """Those in the folder aren't the ones that this portal seals for."""
    desk_keys.make_keys(tmp_path / "desk")
    code, output = examined(
        portal,
        IMPRIMATUR_DESK_KEYSTORE=str(tmp_path / "desk" / "keystore.json"),
        IMPRIMATUR_DESK_VAULT=str(tmp_path / "desk" / "vault.age"),
        IMPRIMATUR_DESK_PASSWORD_FILE=str(tmp_path / "desk" / "password"),
        IMPRIMATUR_DESK_CHAIN_URL="http://127.0.0.1:1/customer-key",
    )
    assert (code, wrong(output)) == (1, ["desk's keys", "desk's nodes"]), output
    assert "customer-key" not in output


def test_every_field_is_shown_and_no_secret_is(options: Settings, tmp_path: Path) -> None:
    hosted = replace(
        options,
        database_url="postgresql+psycopg://portal:hunter2@db/portal",
        chain_url="https://chain.example/v3/customer-key",
        secret_key=b"hunter2" * 5,
        finality=Confirmations(12),
    )
    told = dict(shown(hosted))
    assert len(told) == len(Settings.__dataclass_fields__)
    assert not [value for value in told.values() if "hunter2" in value or "customer-key" in value], told
    assert told["IMPRIMATUR_DATABASE_URL"] == "postgresql+psycopg://portal:***@db/portal"
    query = replace(options, database_url="postgresql+psycopg://db/portal?password=hunter2")
    assert dict(shown(query))["IMPRIMATUR_DATABASE_URL"] == "postgresql+psycopg://db/portal?…"
    assert told["IMPRIMATUR_CHAIN_URL"] == "https://chain.example/…"
    assert told["IMPRIMATUR_SECRET_KEY_FILE"] == "set"
    assert told["IMPRIMATUR_FINALITY"] == "12 confirmations"
    assert told["IMPRIMATUR_MAX_UPLOAD_MB"] == "1 MB"
    assert told["IMPRIMATUR_DESK_FILE"].startswith(DESK.address)
    assert (
        dict(shown(replace(options, finality=Finalized(), desk=None)))["IMPRIMATUR_FINALITY"] == "finalized"
    )
    worker = WorkerSettings(tmp_path, "hunter2", None, 10**17)
    assert dict(shown(worker)) == {
        "IMPRIMATUR_OPERATOR_KEYSTORE": str(tmp_path),
        "IMPRIMATUR_OPERATOR_PASSWORD_FILE": "set",
        "IMPRIMATUR_MAX_FEE_GWEI": "as usual",
        "IMPRIMATUR_LOW_BALANCE": "100000000000000000 wei",
    }
    desk = DeskSettings(tmp_path, tmp_path, "hunter2", ("http://one:1/key", "http://two:2"), 60)
    assert dict(shown(desk))["IMPRIMATUR_DESK_CHAIN_URL"] == "http://one:1/…, http://two:2"
    assert "hunter2" not in f"{replace(hosted, database_url='')!r} {worker!r} {desk!r}"


def test_every_variable_is_one_that_the_settings_read(options: Settings, tmp_path: Path) -> None:
    """The names are derived from the fields: what is printed must be what `app/settings.py` reads."""
    source = (ROOT / "app" / "settings.py").read_text()
    parts = (options, WorkerSettings(tmp_path, "", None, None), DeskSettings(tmp_path, tmp_path, "", (), 1))
    for part in parts:
        for name, _ in shown(part):
            assert f'"{name}"' in source, name


def test_a_setting_that_cannot_be_meant(tmp_path: Path) -> None:
    """No app can be made with it, so no command either: its sentence and nothing else."""
    environment = {
        **os.environ,
        "IMPRIMATUR_SECRET_KEY_FILE": str(tmp_path / "secret"),
        "IMPRIMATUR_FINALITY": "soon",
    }
    command = [sys.executable, "-m", "flask", "--app", "app", "doctor"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: IMPRIMATUR_FINALITY: 'soon'"), done.stderr
