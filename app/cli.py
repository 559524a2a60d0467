"""Commands of the platform operator: `flask --app app …`."""

import os
import sys
from pathlib import Path

import click
import structlog
from flask import Flask
from flask.cli import with_appcontext
from flask_security import hash_password

from app import settings
from app.doctor import doctor
from app.extensions import db
from app.jobs.rebuilding import rebuild_index
from app.jobs.worker import Worker, run_until_signalled
from app.runtime import runtime
from app.services import accounts, designs, desk_keys, printers, unsealed
from app.services.outbox import Limits
from app.services.storage import FileStore
from imprimatur.chain.signers import open_keystore
from imprimatur.errors import ImprimaturError

MIN_PASSWORD = 8
"""Characters."""

log = structlog.get_logger()


def init_app(app: Flask) -> None:
    for command in (add_owner, add_printer, doctor, make_desk_keys, rebuild_index, seal_files, worker):
        app.cli.add_command(command)


@click.command("add-owner")
@click.argument("email")
@click.option("--name", required=True, help="As licensees and auditors see it.")
@click.option("--account", required=True, help="Her Ethereum address; licenses will belong to it.")
@click.option("--log-key", help="Her public key (age1…), to which printers encrypt the serials of her parts.")
@with_appcontext
def add_owner(email: str, name: str, account: str, log_key: str | None) -> None:
    """Add an owner, or update the one with this e-mail address. The password is read from stdin."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < MIN_PASSWORD:
        raise click.ClickException(f"A password has at least {MIN_PASSWORD} characters.")
    try:
        user, new = accounts.add_owner(db.session, email, name, account, hash_password(password), log_key)
    except ImprimaturError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{'Added' if new else 'Updated'} {user.email} with the account {user.account}.")


@click.command("add-printer")
@click.argument("email")
@click.argument("name")
@click.argument("address")
@with_appcontext
def add_printer(email: str, name: str, address: str) -> None:
    """Add the printer wallet ADDRESS under NAME to the list of the owner EMAIL. Twice is the same as once."""
    owner = accounts.by_email(db.session, email)
    if owner is None:
        raise click.ClickException(f"There is no owner {email}.")
    try:
        printer = printers.add_printer(db.session, owner, name, address)
    except printers.PrinterKnown as known:
        click.echo(f"The wallet is already there as {known.name}.")
        return
    except ImprimaturError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Added {printer.name} with the wallet {printer.address}.")


@click.command("desk-keys")
@click.argument("folder", type=click.Path(path_type=Path))
def make_desk_keys(folder: Path) -> None:
    """Make the key desk's keys in FOLDER; prints what the portal may know of them.

    The password comes from the file in IMPRIMATUR_DESK_PASSWORD_FILE; without one it is random and kept in
    FOLDER. Keep a copy of the folder: without it no sealed file can be opened any more.
    """
    try:
        file = os.environ.get("IMPRIMATUR_DESK_PASSWORD_FILE")
        identity = desk_keys.make_keys(folder, Path(file).read_text().strip() if file else None)
    except ImprimaturError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    click.echo(f"address   {identity.address}")
    click.echo(f"recipient {identity.recipient.hex()}")


@click.command("seal-files")
@with_appcontext
def seal_files() -> None:
    """Seal what earlier versions stored in the clear, and delete the plaintext. Twice is the same as once."""
    desk = runtime().settings.desk
    if desk is None:
        raise click.ClickException(str(designs.NoDesk()))
    failed = 0
    try:
        for design, error in unsealed.seal_all(db.session, runtime().files, desk.recipient):
            failed += error is not None
            click.echo(f"{design.file_name} (design {design.id}): {error or 'sealed'}")
    except (ImprimaturError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if failed:
        raise click.ClickException(f"{failed} not sealed.")
    click.echo("Every design is sealed.")


def _sweep(files: FileStore) -> None:
    """Once per start. What a storage that fails now keeps is swept at the next one."""
    try:
        files.sweep()
    except (ImprimaturError, OSError) as error:
        log.warning("sweep_failed", error=str(error))


@click.command("worker")
@with_appcontext
def worker() -> None:
    """Carry queued orders to the chain until SIGTERM. The only process that opens the operator's key."""
    try:
        own = settings.load_worker()
        signer = open_keystore(own.keystore, own.password)
    except ImprimaturError as error:
        raise click.ClickException(str(error)) from error
    options = runtime().settings
    limits = Limits(options.finality, own.max_fee, own.low_balance)
    _sweep(runtime().files)
    run_until_signalled(Worker(db.sessionmaker, runtime().chain, signer, limits, options.relay))
