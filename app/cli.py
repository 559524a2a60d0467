"""Commands of the platform operator: `flask --app app …`."""

import sys

import click
from flask import Flask
from flask.cli import with_appcontext
from flask_security import hash_password

from app import settings
from app.extensions import db
from app.jobs.worker import Worker, run_until_signalled
from app.runtime import runtime
from app.services import accounts, printers
from app.services.outbox import Limits
from imprimatur.chain.signers import open_keystore
from imprimatur.errors import ImprimaturError

MIN_PASSWORD = 8
"""Characters."""


def init_app(app: Flask) -> None:
    for command in (add_owner, add_printer, worker):
        app.cli.add_command(command)


@click.command("add-owner")
@click.argument("email")
@click.option("--name", required=True, help="As licensees and auditors see it.")
@click.option("--account", required=True, help="Her Ethereum address; licenses will belong to it.")
@with_appcontext
def add_owner(email: str, name: str, account: str) -> None:
    """Add an owner, or update the one with this e-mail address. The password is read from stdin."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < MIN_PASSWORD:
        raise click.ClickException(f"A password has at least {MIN_PASSWORD} characters.")
    try:
        user, new = accounts.add_owner(db.session, email, name, account, hash_password(password))
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


@click.command("worker")
@with_appcontext
def worker() -> None:
    """Carry queued orders to the chain until SIGTERM. The only process that opens the operator's key."""
    try:
        own = settings.load_worker()
        signer = open_keystore(own.keystore, own.password)
    except ImprimaturError as error:
        raise click.ClickException(str(error)) from error
    limits = Limits(own.finality, own.max_fee, own.low_balance)
    runtime().files.sweep()
    run_until_signalled(Worker(db.sessionmaker, runtime().chain, signer, limits))
