"""Owners and printers around a running portal: designs, licenses, devices that carry out whole jobs."""

import hashlib
import io
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import requests
from flask import Flask
from flask_security import hash_password

from app import create_app, settings
from app.extensions import db
from app.models import IntentState, License, User
from app.models.base import now
from app.runtime import runtime
from app.services import accounts, designs, invitations, issuing, printers
from imprimatur.chain.outbox.rules import Finality
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc
from imprimatur.chain.signers import KeySigner
from imprimatur.device import Delivery, Desk, Job, Journal, Portal, State, Waiting
from imprimatur.license_id import parse_id
from imprimatur.sealing import new_key, public_key
from support.portal_processes import PortalProcesses

PATIENCE = 240.0
"""Seconds that one job may take."""
RESEND_AFTER = 2.0
"""Seconds: a relay that was killed forgets nothing, but tests don't wait long."""
LONGEST_PAUSE = 0.3
"""Seconds between two looks of a device, whatever it was told to wait."""


def part(number: int, size: int = 20_000) -> bytes:
    """A print file, different for each number."""
    lines = [f"; part {number}", "G28", "M83"]
    lines += [f"G1 X{i % 200} Y{(i * number) % 200} E0.0{i % 9 + 1}" for i in range(size // 20)]
    return "\n".join(lines).encode()


class Workshop:
    """An owner of designs, in the portal's database and on its chain."""

    def __init__(self, portal: PortalProcesses) -> None:
        self.portal = portal
        self.chain = portal.chain
        self.owner = self.chain.account()
        portal.authorize(self.owner)
        self.app: Flask = create_app(settings.load(portal.environment))
        with self.app.app_context():
            accounts.add_owner(
                db.session,
                "owner@example.org",
                "Aero Spares",
                self.owner.address,
                hash_password("a long one"),
            )

    def _owner(self) -> User:
        user = accounts.by_email(db.session, "owner@example.org")
        assert user is not None
        return user

    def upload(self, data: bytes, name: str = "clip.gcode") -> int:
        """Seal a file in the portal's storage; the design's id."""
        with self.app.app_context():
            desk = runtime().settings.desk
            assert desk is not None
            design, _ = designs.add_design(
                db.session, runtime().files, desk.recipient, self._owner(), name, io.BytesIO(data), 10**9
            )
            return design.id

    def enrol(self, name: str, folder: Path) -> "Device":
        """A printer that accepts the owner's invitation."""
        with self.app.app_context():
            _, code = invitations.invite(db.session, self._owner(), name, now())
        signer = KeySigner(secrets.token_bytes(32))
        portal = Portal(self.portal.url, signer)
        portal.enrol(code, signer.address, public_key(new_key()))
        return Device(name, signer, self.portal, folder)

    def order(self, design: int, device: "Device", number: str, copies: int, failures: int = 1) -> int:
        """Queue a license; its id. The worker issues it."""
        with self.app.app_context():
            owner = self._owner()
            mine = designs.design_of(db.session, owner, design)
            printer = printers.by_address(db.session, owner, device.signer.address)
            assert mine is not None
            assert printer is not None
            terms = issuing.Terms(number, mine, printer, copies, failures_allowed=failures)
            license = issuing.order_license(db.session, runtime().chain, owner, terms, date.today())
            return parse_id(license.id)

    def wait_until_issued(self, ids: Iterable[int], timeout: float = 60) -> None:
        wanted = set(ids)
        deadline = time.monotonic() + timeout
        while missing := wanted - self._issued():
            assert time.monotonic() < deadline, (
                f"{len(missing)} not issued\n{self.portal.log('worker')[-3000:]}"
            )
            time.sleep(0.2)

    def _issued(self) -> set[int]:
        with self.app.app_context():
            rows = db.session.query(License).join(License.intent).filter_by(state=IntentState.DONE)
            return {parse_id(row.id) for row in rows}

    def rows(self, model: type[Any]) -> list[Any]:
        """A whole table."""
        with self.app.app_context():
            return db.session.query(model).all()


@dataclass
class Printed:
    """What one finished job had printed."""

    job: str
    license: int
    copy: int
    sha256: str
    seconds: float


class Device:
    """A printer with the library's client, a journal of its own, and a key of its own."""

    def __init__(self, name: str, signer: KeySigner, portal: PortalProcesses, folder: Path) -> None:
        self.name = name
        self.signer = signer
        self._portal = portal
        self._folder = folder
        self.printed: list[Printed] = []
        self.troubles: list[str] = []
        self.trouble: BaseException | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder / "journal.db")

    def delivery(self, finality: Finality) -> Delivery:
        chain = self._portal.chain
        licenses = PrintLicense(HttpRpc(chain.url), chain.licenses.address, chain.licenses.since)
        portal = Portal(self._portal.url, self.signer)
        desk = Desk(self._portal.desk_url, self._portal.desk_address, self.signer)
        return Delivery(
            self.journal, self.signer, licenses, chain.chain_id, portal, desk, self._folder, finality,
            resend_after=RESEND_AFTER,
        )  # fmt: skip

    def carry_out(self, delivery: Delivery, license: int) -> Printed:
        """One whole job: from picking to the last byte and the report."""
        started = time.monotonic()
        deadline = started + PATIENCE
        job = self._patiently(lambda: delivery.pick(license), deadline)
        while not job.is_ready:
            assert not job.is_over, f"{self.name}: {job.reason}"
            previous = job
            job = self._patiently(lambda previous=previous: delivery.advance(previous), deadline)
        source = self._patiently(lambda: delivery.open(job), deadline)
        delivery.arm(job)
        digest = hashlib.sha256()
        with source:
            delivery.begin_part(job)
            while piece := source.read(1 << 16):
                digest.update(piece)
        delivery.finish(job)
        assert job.copy is not None
        done = Printed(job.id, license, job.copy, digest.hexdigest(), time.monotonic() - started)
        self.printed.append(done)
        return done

    def _patiently(self, step: Callable[[], Any], deadline: float) -> Any:
        """Take a step as often as it has to wait."""
        while True:
            try:
                return step()
            except Waiting as waiting:
                self.troubles.append(str(waiting))
                assert time.monotonic() < deadline, f"{self.name} still waits: {self.troubles[-5:]}"
                time.sleep(min(waiting.retry_after, LONGEST_PAUSE))

    def in_background(self, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.trouble = error

        thread = threading.Thread(target=run, name=self.name, daemon=True)
        thread.start()
        return thread

    def tell_all(self, delivery: Delivery, timeout: float = 60) -> None:
        """Send the reports that are still to be sent."""
        deadline = time.monotonic() + timeout
        while not delivery.settle_open():
            assert time.monotonic() < deadline, f"{self.name} can't report"
            time.sleep(0.2)

    def unfinished(self) -> list[Job]:
        return [job for job in self.journal.recent(1000) if job.state is not State.FINISHED]


def health(portal: PortalProcesses) -> dict[str, Any]:
    answer: dict[str, Any] = requests.get(f"{portal.url}/healthz", timeout=10).json()
    return answer
