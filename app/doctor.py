"""`flask doctor`: the settings as they were understood, and whether what they name is there and works.

Nothing is changed but a file of a few bytes, which is written to the storage and removed again.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import click
import sqlalchemy as sa
from alembic.util.exc import CommandError
from flask.cli import with_appcontext

from app import settings
from app.extensions import alembic, db
from app.models.base import now
from app.runtime import runtime
from app.services import worker_status
from app.services.consumption import Witnesses
from app.services.desk_keys import open_keys, require_identity
from app.settings import DeskIdentity, DeskSettings, Settings, WorkerSettings
from imprimatur.chain import node
from imprimatur.chain.http import HttpPeer
from imprimatur.chain.outbox.rules import Rules
from imprimatur.chain.rpc import HttpRpc, quantity
from imprimatur.chain.signers import open_keystore
from imprimatur.device_auth import origin_of
from imprimatur.errors import ImprimaturError

Check = Callable[[], str]
"""Says what it found, or raises."""

PATIENCE = 5.0
"""Seconds for each server that is asked."""
_VARIABLES = {
    Settings: {"secret_key": "SECRET_KEY_FILE", "max_upload": "MAX_UPLOAD_MB", "desk": "DESK_FILE"},
    WorkerSettings: {
        "keystore": "OPERATOR_KEYSTORE",
        "password": "OPERATOR_PASSWORD_FILE",
        "max_fee": "MAX_FEE_GWEI",
    },
    DeskSettings: {
        "keystore": "DESK_KEYSTORE",
        "vault": "DESK_VAULT",
        "password": "DESK_PASSWORD_FILE",
        "chain_urls": "DESK_CHAIN_URL",
        "per_minute": "DESK_PER_MINUTE",
    },
}
"""Variables that aren't called like the field that they set."""


class _Wrong(ImprimaturError):
    """A check failed; its text says what to do."""


@click.command("doctor")
@with_appcontext
def doctor() -> None:
    """Print the settings and check what they name; ends with code 1 when something is wrong.

    Run it with the environment of web, worker or desk: the keys of the latter two are opened only where their
    variables are set. No secret is shown.
    """
    parts: list[Any] = [runtime().settings]
    checks = list(_COMMON)
    for variable, load, own in (
        ("IMPRIMATUR_OPERATOR_KEYSTORE", settings.load_worker, _worker_checks),
        ("IMPRIMATUR_DESK_KEYSTORE", settings.load_desk, _desk_checks),
    ):
        if os.environ.get(variable):
            part: Any = load()
            parts.append(part)
            checks += own(part)
    for name, value in (pair for part in parts for pair in shown(part)):
        click.echo(f"{name:34} {value}")
    wrong = 0
    for name, check in checks:
        try:
            mark, said = "ok", check()
        except (ImprimaturError, OSError, ValueError, sa.exc.SQLAlchemyError) as error:
            mark, said = "WRONG", str(error).partition("\n")[0]
            wrong += 1
        click.echo(f"{mark:6} {name}: {said}")
    if wrong:
        raise click.ClickException(f"{wrong} of {len(checks)} checks failed.")


def shown(part: Settings | WorkerSettings | DeskSettings) -> Iterator[tuple[str, str]]:
    """Variables and what they were understood as; secrets only as set or not."""
    for field in dataclasses.fields(part):
        variable = _VARIABLES[type(part)].get(field.name, field.name.upper())
        value = getattr(part, field.name)
        yield f"IMPRIMATUR_{variable}", "set" if value and not field.repr else _text(field.name, value)


def _text(name: str, value: Any) -> str:
    if value is None:
        return "as usual" if name != "desk" else "not set"
    if isinstance(value, DeskIdentity):
        return f"{value.address}, files are sealed for {value.recipient.hex()}"
    if hasattr(value, "tag"):
        return value.tag or f"{value.depth} confirmations"
    if isinstance(value, tuple):
        return ", ".join(_text(name, each) for each in value)
    if name == "database_url":
        url = sa.make_url(value)
        # PostgreSQL takes a password there as well.
        return url.set(query={}).render_as_string() + ("?…" if url.query else "")
    if name in ("chain_url", "chain_urls"):
        # Hosted nodes put their customer's key into the path.
        return origin_of(value) + ("/…" if urlsplit(value).path.strip("/") else "")
    if name == "max_upload":
        return f"{value // 1_000_000} MB"
    if name in ("max_fee", "low_balance"):
        return f"{value} wei"
    return str(value)


# --- checks: each says what it found, or raises -----------------------------------------------------------


def _database() -> str:
    with db.engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    try:
        outdated = alembic.needs_upgrade()
    except CommandError as error:
        # It names a migration that isn't there.
        raise _Wrong("its tables are of a newer version. Run that version, or restore a backup.") from error
    if outdated:
        raise _Wrong("its tables aren't those of this version. Run `flask --app app db upgrade`.")
    return f"{db.engine.dialect.name}, tables of this version"


def _storage() -> str:
    files, content = runtime().files, b"written by flask doctor"
    with files.new() as file:
        file.write(content)
    try:
        if b"".join(files.open(file.key).read()) != content:
            raise _Wrong("what was written came back changed. No file is safe there.")
    finally:
        files.delete(file.key)
    return "a file was written, read and removed"


def _chain() -> str:
    licenses = runtime().chain.licenses()
    if licenses.rpc.call("eth_getCode", [licenses.address, "latest"]) in ("0x", ""):
        raise _Wrong(f"there is no contract at {licenses.address}. Is it the right node and address book?")
    chain, head = node.chain_id(licenses.rpc), quantity(licenses.rpc.call("eth_blockNumber", []))
    rule = Rules.for_chain(chain, runtime().settings.finality).finality
    return f"chain {chain}, block {head}, final: {_text('', rule)}; PrintLicense at {licenses.address}"


def _desk() -> str:
    options = runtime().settings
    if options.desk is None:
        raise _Wrong(
            "IMPRIMATUR_DESK_FILE isn't set: nothing can be sealed. Run `flask --app app desk-keys`."
        )
    url = f"{options.desk_url}/healthz"
    answer = HttpPeer(url, PATIENCE, PATIENCE, 1 << 16).ask(None, time.monotonic() + PATIENCE)
    if answer.status != 200:
        raise _Wrong(f"{url} says HTTP {answer.status}: its database or a node is down. Look at its log.")
    return f"{options.desk_url} is well"


def _worker() -> str:
    if not worker_status.is_alive(db.session, now()):
        raise _Wrong("it gives no sign of life. Start `flask --app app worker`, once.")
    return "alive"


_COMMON: list[tuple[str, Check]] = [
    ("database", _database),
    ("storage", _storage),
    ("chain", _chain),
    ("key desk", _desk),
    ("worker", _worker),
]


def _worker_checks(own: WorkerSettings) -> list[tuple[str, Check]]:
    """What only the worker needs."""

    def operator() -> str:
        address = open_keystore(own.keystore, own.password).address
        balance = quantity(runtime().chain.licenses().rpc.call("eth_getBalance", [address, "latest"]))
        if not balance:
            raise _Wrong(f"{address} has no coins to pay transactions with. Send it some.")
        return f"{address}, {balance / 10**18:.6g} ether"

    return [("operator's key", operator)]


def _desk_checks(own: DeskSettings) -> list[tuple[str, Check]]:
    """What only the key desk needs."""
    options = runtime().settings

    def keys() -> str:
        require_identity(open_keys(own), options.desk)
        return "signing key and vault open, and are the ones that files are sealed for"

    def nodes() -> str:
        rpcs = [HttpRpc(url, PATIENCE, connect_timeout=PATIENCE, deadline=PATIENCE) for url in own.chain_urls]
        witnesses = Witnesses(rpcs, options.deployments, options.finality)
        witnesses.check()
        return f"{len(rpcs)} of {len(rpcs)} answer, on chain {witnesses.place().chain_id}"

    return [("desk's keys", keys), ("desk's nodes", nodes)]
