"""Puts the parts together: settings and key → connection; journal, flow, catalog and machine around it."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imprimatur.chain.signers import KeySigner
from octoprint_imprimatur import keys
from octoprint_imprimatur.api import job_json
from octoprint_imprimatur.catalog import Catalog
from octoprint_imprimatur.connection import Address, Connection, connect
from octoprint_imprimatur.flow import Flow
from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.journal import Job, Journal
from octoprint_imprimatur.machine import OctoPrintMachine
from octoprint_imprimatur.messages import Refused

SETTLE_EVERY = 5.0
"""Seconds between two looks at a transaction that isn't settled."""
OPEN_WITHIN = 10.0
"""Seconds that a request waits for the key at start-up."""
_log = logging.getLogger("octoprint.plugins.imprimatur.desk")


class Keys:
    """The printer's key, opened once in the background because that takes a second."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signer: KeySigner | None = None
        self._trouble: str | None = None
        self._opened = threading.Event()

    def open(self) -> None:
        try:
            self._signer = keys.open_or_create(self._folder)
        except Exception as error:
            _log.exception("The printer's key can't be opened.")
            self._trouble = str(error)
        finally:
            self._opened.set()

    @property
    def address(self) -> str | None:
        """Checksum address, None while or when there is no key."""
        return self._signer.address if self._signer else None

    def signer(self) -> KeySigner:
        """The signer; waits a while for the key to be opened.

        Raises:
            Refused: key_not_ready, key_unusable.
        """
        self._opened.wait(OPEN_WITHIN)
        if self._signer is not None:
            return self._signer
        if self._trouble is not None:
            raise Refused("key_unusable", reason=self._trouble)
        raise Refused("key_not_ready")


class Desk:
    """Everything that lives from OctoPrint's start-up to its end.

    Args:
        settings: the plugin's settings as they are now.
        push: sends a message to the browsers.
    """

    def __init__(
        self,
        folder: Path,
        printer: Any,
        files: Any,
        gate: Gate,
        settings: Callable[[], Mapping[str, Any]],
        push: Callable[[dict[str, Any]], None],
    ) -> None:
        self.settings = settings
        self._push = push
        self._stopping = threading.Event()
        self.keys = Keys(folder)
        self.journal = Journal(folder / "journal.db")
        self.machine = OctoPrintMachine(printer, files, gate)
        self.flow = Flow(self.journal, self.connect, self.machine, folder, self._job_changed)
        self.catalog = Catalog(self.connect, lambda: self._push({"type": "licenses"}))
        self._progress: dict[str, float | None] = {}
        self.machine.report_to(self.flow)
        gate.watch_with(self.flow)

    def start(self) -> None:
        """Put the last run in order, then open the key and read the list in the background."""
        self.machine.remove_stubs(self.journal.recent())
        self.flow.recover()
        threading.Thread(target=self._work, name="imprimatur-desk", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _work(self) -> None:
        self.keys.open()
        self.catalog.refresh()
        while not self._stopping.is_set():
            try:
                self.flow.settle_open()
            except Exception:
                _log.exception("Open transactions couldn't be settled.")
            self._stopping.wait(SETTLE_EVERY)

    def connect(self) -> Connection:
        """Chain and portal by the settings of now.

        Raises:
            Refused: with the reason.
        """
        return connect(Address.parse(self.settings()), self.keys.signer())

    def print_license(self, id: int, copy: int | None, user: str | None) -> Job:
        """Begin a print; the portal's names of its file are kept for the record.

        Raises:
            Refused: with the reason.
        """
        # A license that is newer than the list: read again for its names.
        card = self.catalog.snapshot.card(id) or self.catalog.refresh().card(id)
        offer = card.offer if card else None
        return self.flow.begin(
            id, name=offer.name if offer else "", number=offer.number if offer else "", copy=copy, user=user
        )

    def jobs(self) -> list[dict[str, Any]]:
        return [self._json(job, self._progress.get(job.id)) for job in self.journal.recent()]

    def identity(self) -> dict[str, Any]:
        """Who this printer is, for browsers."""
        settings = self.settings()
        return {"address": self.keys.address, "portal_name": settings["portal_name"] or ""}

    def _json(self, job: Job, progress: float | None) -> dict[str, Any]:
        return job_json(job, progress, active=job.id == self.flow.active)

    def _job_changed(self, job: Job, progress: float | None) -> None:
        self._progress[job.id] = progress
        self._push({"type": "job", "job": self._json(job, progress)})
        if progress is None and job.copy is not None:
            self.catalog.refresh_soon()
