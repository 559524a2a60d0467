"""Settings, commands, migrations, health, and who reads the operator's key."""

import html
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from portal.stage import PASSWORD, Party, TestChain
from sqlalchemy.orm import Session

from app import settings
from app.extensions import alembic, db
from app.models import Printer, User
from app.services.relay_limits import RelayLimits
from app.settings import SettingInvalid, Settings
from imprimatur.chain.signers import KeySigner, create_keystore
from imprimatur.device_auth import authorization
from support.node import ROOT


def test_models_and_migrations_agree(app: Flask) -> None:
    with app.app_context():
        assert alembic.compare_metadata() == []
        alembic.downgrade("base")
        alembic.upgrade()
        assert alembic.compare_metadata() == []


def test_sqlite_is_configured(app: Flask) -> None:
    with app.app_context(), db.engine.connect() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    assert pragma == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 15_000}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMPRIMATUR_DATABASE_URL", "portal.db"),
        ("IMPRIMATUR_CHAIN_URL", "localhost:8545"),
        ("IMPRIMATUR_CHAIN_URL", "file:///etc/passwd"),
        ("IMPRIMATUR_PUBLIC_URL", "portal.example"),
        ("IMPRIMATUR_MAX_UPLOAD_MB", "1 GB"),
        ("IMPRIMATUR_MAX_UPLOAD_MB", "0"),
        ("IMPRIMATUR_SECRET_KEY_FILE", "/proc/none/secret"),
        ("IMPRIMATUR_FINALITY", "soon"),
        ("IMPRIMATUR_DESK_URL", "desk.example"),
        ("IMPRIMATUR_DESK_FILE", "/proc/none/desk.json"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, name: str, value: str) -> None:
    environment = {"IMPRIMATUR_SECRET_KEY_FILE": str(tmp_path / "secret"), name: value}
    with pytest.raises(SettingInvalid, match=name):
        settings.load(environment)


def test_the_secret_is_made_once(tmp_path: Path) -> None:
    environment = {"IMPRIMATUR_SECRET_KEY_FILE": str(tmp_path / "deep" / "secret")}
    first = settings.load(environment)
    assert len(first.secret_key) == 64
    assert settings.load(environment).secret_key == first.secret_key
    assert (tmp_path / "deep" / "secret").stat().st_mode & 0o077 == 0
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["secret"]
    (tmp_path / "deep" / "secret").write_text("short")
    with pytest.raises(SettingInvalid, match="fewer than 32 bytes"):
        settings.load(environment)


def test_the_worker_names_what_it_misses(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="IMPRIMATUR_OPERATOR_KEYSTORE"):
        settings.load_worker({})
    with pytest.raises(SettingInvalid, match="IMPRIMATUR_OPERATOR_PASSWORD_FILE"):
        settings.load_worker(
            {"IMPRIMATUR_OPERATOR_KEYSTORE": "x", "IMPRIMATUR_OPERATOR_PASSWORD_FILE": str(tmp_path / "none")}
        )


def worker_environment(tmp_path: Path, **more: str) -> dict[str, str]:
    (tmp_path / "password").write_text("opens sesame\n")
    return {
        "IMPRIMATUR_OPERATOR_KEYSTORE": "operator.json",
        "IMPRIMATUR_OPERATOR_PASSWORD_FILE": str(tmp_path / "password"),
        **more,
    }


def test_the_workers_password_is_in_no_text(tmp_path: Path) -> None:
    worker = settings.load_worker(worker_environment(tmp_path))
    assert worker.password == "opens sesame"
    assert "sesame" not in f"{worker!r} {worker}"


@pytest.mark.parametrize(
    ("text", "gwei", "ether"),
    [
        ("", None, None),
        ("1", 10**9, 10**18),
        ("0.5", 5 * 10**8, 5 * 10**17),
        ("123456789012.123456789", 123456789012123456789, 123456789012123456789 * 10**9),
        ("0.000000001", 1, 10**9),
    ],
)
def test_money_is_exact(tmp_path: Path, text: str, gwei: int | None, ether: int | None) -> None:
    more = {"IMPRIMATUR_MAX_FEE_GWEI": text, "IMPRIMATUR_LOW_BALANCE": text}
    worker = settings.load_worker(worker_environment(tmp_path, **more))
    assert (worker.max_fee, worker.low_balance) == (gwei, ether)
    unset = settings.load_worker(worker_environment(tmp_path))
    assert (unset.max_fee, unset.low_balance) == (None, None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            (name, text)
            for name in ("IMPRIMATUR_MAX_FEE_GWEI", "IMPRIMATUR_LOW_BALANCE")
            for text in (
                "-1",
                "+1",
                "1e3",
                ".5",
                "1.",
                "1,5",
                "1 ",
                "NaN",
                "inf",
                "0x1",
                "1_0",
                "१",
                "1" * 13,
            )
        ),
        ("IMPRIMATUR_MAX_FEE_GWEI", "0"),
        ("IMPRIMATUR_MAX_FEE_GWEI", "0.0"),
        ("IMPRIMATUR_MAX_FEE_GWEI", "0.0000000001"),
        ("IMPRIMATUR_LOW_BALANCE", "0." + "0" * 18 + "1"),
    ],
)
def test_what_is_no_money_is_named(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(SettingInvalid, match=name):
        settings.load_worker(worker_environment(tmp_path, **{name: text}))


def test_no_low_balance_is_a_setting_as_well(tmp_path: Path) -> None:
    assert settings.load_worker(worker_environment(tmp_path, IMPRIMATUR_LOW_BALANCE="0")).low_balance == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"address": "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf", "recipient": "00"}',
        '{"address": "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf", "recipient": "' + "00" * 32 + '"}',
        '{"address": "0x7e5F4552091A69125d5DfCb7b8C2659029395Bdf", "recipient": "' + "09" * 32 + '"}',
        '{"address": 7, "recipient": 7}',
    ],
)
def test_a_file_that_no_desk_made_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "desk.json").write_text(text)
    environment = {
        "IMPRIMATUR_SECRET_KEY_FILE": str(tmp_path / "secret"),
        "IMPRIMATUR_DESK_FILE": str(tmp_path / "desk.json"),
    }
    with pytest.raises(SettingInvalid, match="IMPRIMATUR_DESK_FILE"):
        settings.load(environment)


def desk_environment(tmp_path: Path, **more: str) -> dict[str, str]:
    (tmp_path / "password").write_text("opens sesame\n")
    return {
        "IMPRIMATUR_DESK_KEYSTORE": "desk.json",
        "IMPRIMATUR_DESK_VAULT": "vault.age",
        "IMPRIMATUR_DESK_PASSWORD_FILE": str(tmp_path / "password"),
        **more,
    }


def test_the_desks_settings(tmp_path: Path) -> None:
    plain = settings.load_desk(desk_environment(tmp_path, IMPRIMATUR_CHAIN_URL="http://one:1/"))
    assert (plain.chain_urls, plain.per_minute) == (("http://one:1",), 60)
    assert "sesame" not in f"{plain!r} {plain}"
    more = {"IMPRIMATUR_DESK_CHAIN_URL": "http://one:1, https://two:2", "IMPRIMATUR_DESK_PER_MINUTE": "5"}
    both = settings.load_desk(desk_environment(tmp_path, **more))
    assert (both.chain_urls, both.per_minute) == (("http://one:1", "https://two:2"), 5)


RELAY = {
    "IMPRIMATUR_RELAY_WAITING": "50",
    "IMPRIMATUR_RELAY_PER_DEVICE": "3",
    "IMPRIMATUR_RELAY_BATCH": "20",
    "IMPRIMATUR_RELAY_GATHER": "1.25",
}


def test_the_relays_limits(tmp_path: Path) -> None:
    environment = {"IMPRIMATUR_SECRET_KEY_FILE": str(tmp_path / "secret")}
    assert settings.load(environment).relay == RelayLimits()
    assert settings.load(environment | RELAY).relay == RelayLimits(50, 3, 20, 1.25)
    assert settings.load(environment | {"IMPRIMATUR_RELAY_GATHER": "0"}).relay.gather == 0


@pytest.mark.parametrize("name", RELAY)
@pytest.mark.parametrize("text", ["-1", "1e1", "x", " 1", "1000001", "nan"])
def test_what_is_no_limit_is_named(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(SettingInvalid, match=name):
        settings.load({"IMPRIMATUR_SECRET_KEY_FILE": str(tmp_path / "secret"), name: text})


@pytest.mark.parametrize("name", [name for name in RELAY if name != "IMPRIMATUR_RELAY_GATHER"])
@pytest.mark.parametrize("text", ["0", "1.5"])
def test_a_relay_takes_at_least_one(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(SettingInvalid, match=name):
        settings.load({"IMPRIMATUR_SECRET_KEY_FILE": str(tmp_path / "secret"), name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("IMPRIMATUR_DESK_KEYSTORE", ""),
        ("IMPRIMATUR_DESK_VAULT", ""),
        ("IMPRIMATUR_DESK_PASSWORD_FILE", "/proc/none/password"),
        ("IMPRIMATUR_DESK_CHAIN_URL", "http://one:1,two:2"),
        ("IMPRIMATUR_DESK_CHAIN_URL", ","),
        ("IMPRIMATUR_DESK_PER_MINUTE", "0"),
        ("IMPRIMATUR_DESK_PER_MINUTE", "many"),
    ],
)
def test_the_desk_names_what_is_wrong(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(SettingInvalid, match=name):
        settings.load_desk(desk_environment(tmp_path, **{name: text}))


def test_the_web_never_reads_the_operators_key(tmp_path: Path, chain: TestChain) -> None:
    """Every file that a web process opens is recorded: the keystore and its password aren't among them."""
    keystore, password = tmp_path / "operator.json", tmp_path / "password"
    create_keystore(keystore, "pw")
    password.write_text("pw")
    script = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from app import create_app
from app.extensions import alembic
app = create_app()
with app.app_context():
    alembic.upgrade()
client = app.test_client()
for url in ("/", "/login", "/explorer", "/healthz", "/api/v1/device/jobs"):
    client.get(url)
assert any(path.endswith("secret") for path in opened), "the hook works"
sys.exit(any("operator.json" in path or path.endswith("password") for path in opened))
"""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "IMPRIMATUR_DATABASE_URL": f"sqlite:///{tmp_path / 'p.db'}",
        "IMPRIMATUR_SECRET_KEY_FILE": str(tmp_path / "secret"),
        "IMPRIMATUR_CHAIN_URL": "http://127.0.0.1:1",
        "IMPRIMATUR_OPERATOR_KEYSTORE": str(keystore),
        "IMPRIMATUR_OPERATOR_PASSWORD_FILE": str(password),
    }
    assert subprocess.run([sys.executable, "-c", script], env=environment, timeout=60).returncode == 0


def test_commands_can_be_repeated(app: Flask, session: Session, machine: KeySigner) -> None:
    run = app.test_cli_runner()
    add = ["add-owner", "Aero@Example.com", "--name", "Aero Spares", "--account", machine.address.lower()]
    first, second = run.invoke(args=add, input=PASSWORD + "\n"), run.invoke(args=add, input=PASSWORD + "\n")
    assert first.output == f"Added aero@example.com with the account {machine.address}.\n"
    assert second.output.startswith("Updated")
    assert session.query(User).count() == 1
    printer = ["add-printer", "aero@example.com", "MK4", machine.address]
    assert run.invoke(args=printer).output.startswith("Added MK4")
    again = run.invoke(args=printer)
    assert (again.exit_code, again.output) == (0, "The wallet is already there as MK4.\n")
    assert session.query(Printer).count() == 1


@pytest.mark.parametrize(
    ("arguments", "password", "words"),
    [
        (["add-owner", "a@b.c", "--name", "A", "--account", "0x12"], PASSWORD, "40 hexadecimal digits"),
        (
            ["add-owner", "ab.c", "--name", "A", "--account", "0x" + "1" * 40],
            PASSWORD,
            "isn't an e-mail address",
        ),
        (["add-owner", "a@b.c", "--name", "A", "--account", "0x" + "1" * 40], "short", "at least 8"),
        (["add-printer", "no@b.c", "A", "0x" + "1" * 40], "", "There is no owner"),
        (["worker"], "", "IMPRIMATUR_OPERATOR_KEYSTORE"),
    ],
)
def test_commands_say_what_is_wrong(app: Flask, arguments: list[str], password: str, words: str) -> None:
    result = app.test_cli_runner().invoke(args=arguments, input=password + "\n")
    assert result.exit_code == 1
    assert words in result.output


def test_health(app: Flask, chain: TestChain, operator: KeySigner) -> None:
    answer = app.test_client().get("/healthz")
    assert (answer.status_code, answer.get_json()) == (200, {"database": "ok", "chain": "ok", "worker": "ok"})
    chain.node.down = True
    answer = app.test_client().get("/healthz")
    assert (answer.status_code, answer.get_json()["chain"]) == (503, "down")


def test_a_database_that_fails(app: Flask, session: Session, owner: Party, machine: KeySigner) -> None:
    """Locked, full or away: that passes, and who asks is told so, in a page that needs no database."""
    assert owner.client.get("/").status_code == 200
    session.execute(sa.text("ALTER TABLE user RENAME TO user_"))
    session.execute(sa.text("ALTER TABLE device RENAME TO device_"))
    session.commit()
    page = owner.client.get("/")
    assert (page.status_code, page.mimetype) == (503, "text/html")
    assert "doesn't answer right now" in html.unescape(page.get_data(as_text=True))
    url = "/api/v1/device/jobs"
    header = authorization(machine, "GET", "http://127.0.0.1:5000", url)
    answer = app.test_client().get(url, headers={"Authorization": header})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.get_json()["type"] == "urn:imprimatur:problem:unavailable"
    assert "device" not in answer.get_json()["detail"], "what failed stands in the log only"


def test_a_torn_address_book(app: Flask, options: Settings, chain: TestChain) -> None:
    (options.deployments / f"{chain.chain_id}.json").write_text("{")
    answer = app.test_client().get("/healthz")
    assert (answer.status_code, answer.get_json()["chain"]) == (503, "no_contract")
    assert app.test_client().get("/api/v1/portal").status_code == 503


def test_health_without_anything(tmp_path: Path, chain: TestChain) -> None:
    from app import create_app

    empty = Settings(
        f"sqlite:///{tmp_path / 'none.db'}",
        tmp_path.as_uri(),
        "http://127.0.0.1:1",
        tmp_path,
        b"k" * 32,
        1,
        "http://x",
    )
    app = create_app(empty, provider=chain.node)
    answer = app.test_client().get("/healthz")
    assert answer.status_code == 503
    assert answer.get_json() == {"database": "down", "chain": "no_contract", "worker": "unknown"}
    with app.app_context():
        db.engine.dispose()


def start_worker(tmp_path: Path) -> tuple[subprocess.Popen[str], KeySigner]:
    """In a process of its own, on the database p.db."""
    signer = create_keystore(tmp_path / "operator.json", "pw")
    (tmp_path / "password").write_text("pw\n")
    environment = {
        **os.environ,
        "IMPRIMATUR_DATABASE_URL": f"sqlite:///{tmp_path / 'p.db'}",
        "IMPRIMATUR_SECRET_KEY_FILE": str(tmp_path / "secret"),
        "IMPRIMATUR_STORAGE_URL": (tmp_path / "files").as_uri(),
        "IMPRIMATUR_CHAIN_URL": "http://127.0.0.1:1",
        "IMPRIMATUR_OPERATOR_KEYSTORE": str(tmp_path / "operator.json"),
        "IMPRIMATUR_OPERATOR_PASSWORD_FILE": str(tmp_path / "password"),
    }
    command = [sys.executable, "-m", "flask", "--app", "app", "worker"]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True), signer


def test_the_worker_survives_a_broken_database_and_stops_cleanly(tmp_path: Path) -> None:
    """It has no tables: no pass and no sign of life succeeds, and only SIGTERM ends the worker."""
    (tmp_path / "p.db").touch()
    process, _signer = start_worker(tmp_path)
    assert process.stderr
    first = [json.loads(process.stderr.readline()) for _ in range(2)]
    assert [line["message"] for line in first] == ["worker_started", "sign_of_life_failed"]
    assert "no such table" in first[1]["exception"]
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, logged = process.communicate(timeout=10)
    assert process.returncode == 0, logged
    assert json.loads(logged.splitlines()[-1])["message"] == "worker_stopped"


def test_the_worker_stops_cleanly(tmp_path: Path, template_database: bytes) -> None:
    """SIGTERM ends it with 0, although the node never answered; its account is known by then."""
    (tmp_path / "p.db").write_bytes(template_database)
    process, signer = start_worker(tmp_path)
    row = None
    deadline = time.monotonic() + 30
    while (row is None or row[1] is None) and time.monotonic() < deadline:
        time.sleep(0.1)
        connection = sqlite3.connect(tmp_path / "p.db")
        row = connection.execute("SELECT operator, problem FROM worker_status").fetchone()
        connection.close()
    process.send_signal(signal.SIGTERM)
    _, logged = process.communicate(timeout=10)
    assert process.returncode == 0, logged
    assert row == (signer.address, "node_unreachable")
    messages = [json.loads(line)["message"] for line in logged.splitlines()]
    assert messages[0] == "worker_started"
    assert messages[-1] == "worker_stopped"
