"""What the views need beside the database, made once per app."""

from dataclasses import dataclass

from flask import current_app

from app.chain import ChainConnection
from app.services.storage import FileStore
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Runtime:
    """The portal's own parts."""

    settings: Settings
    chain: ChainConnection
    files: FileStore


def runtime() -> Runtime:
    """The parts of the app that serves this request."""
    found: Runtime = current_app.extensions["imprimatur"]
    return found
