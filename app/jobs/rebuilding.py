"""`flask rebuild-index`: read the chain anew, with progress."""

import time

import click
from flask.cli import with_appcontext

from app.extensions import db
from app.runtime import runtime
from app.services.index import Index
from imprimatur.chain.events import Progress
from imprimatur.errors import ImprimaturError

PERIOD = 1.0
"""Seconds between two lines of progress."""


@click.command("rebuild-index")
@with_appcontext
def rebuild_index() -> None:
    """Delete what was read from the chain and read it again. A running worker may go on running."""
    events, told = 0, time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal events, told
        events += progress.rows
        if time.monotonic() - told >= PERIOD and progress.top is not None:
            told = time.monotonic()
            click.echo(f"Block {progress.top.number} of {progress.head}: {events} events.")

    try:
        progress = Index(db.sessionmaker, runtime().chain).rebuild(tell)
    except ImprimaturError as error:
        raise click.ClickException(f"{error} What was read so far is kept; the worker goes on.") from error
    if progress.top is None:
        raise click.ClickException("The chain ends before the contract's first block. Is it the right node?")
    click.echo(f"Read up to block {progress.top.number}: {events} events.")
