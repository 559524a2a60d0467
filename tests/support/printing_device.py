"""A printer's device in a world of its own: a real chain, a portal with its desk, a journal on disk."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imprimatur.chain.outbox import Confirmations, Finality
from imprimatur.chain.outbox.ledger import no_checkpoint
from imprimatur.chain.signers import KeySigner
from imprimatur.device import Delivery, Desk, Job, Journal, Portal, State, Waiting
from support.delivery_portal import DeliveryPortal
from support.node import Chain

GCODE = b"G28\nM104 S200\n" + b"".join(b"G1 X%d Y%d E0.%d\n" % (n, n, n) for n in range(20_000))
PATIENCE = 30.0
"""Seconds."""


class Crash(BaseException):
    """The power went."""


@dataclass
class PrintingDevice:
    """The device of one printer; `start` is a boot of its computer, and ends the one before."""

    chain: Chain
    portal: DeliveryPortal
    folder: Path
    owner: KeySigner
    signer: KeySigner
    finality: Finality = field(default_factory=lambda: Confirmations(0))
    payer: KeySigner | None = None
    with_portal: bool = True
    crash_at: str | None = None
    late: float = 0.0
    """Seconds by which its clock is ahead."""
    options: dict[str, Any] = field(default_factory=dict)
    journal: Journal | None = None

    def start(self) -> Delivery:
        self.stop()
        self.journal = Journal(self.folder / "journal.db", self.clock)
        return Delivery(
            self.journal,
            self.signer,
            self.chain.licenses,
            self.chain.chain_id,
            Portal(self.portal.url, self.signer) if self.with_portal else None,
            Desk(self.portal.desk_url, self.portal.desk_address, self.signer) if self.with_portal else None,
            self.sealed,
            self.finality,
            self.payer,
            clock=self.clock,
            checkpoint=self._checkpoint if self.crash_at else no_checkpoint,
            **self.options,
        )

    def stop(self) -> None:
        if self.journal is not None:
            self.journal.close()
            self.journal = None

    def clock(self) -> float:
        return time.time() + self.late

    @property
    def sealed(self) -> Path:
        return self.folder / "sealed"

    def _checkpoint(self, name: str) -> None:
        if name == self.crash_at:
            self.crash_at = None
            raise Crash(name)

    def offer(self, number: str, data: bytes = GCODE, **terms: Any) -> int:
        """A license of this device for a sealed file; its id."""
        self.portal.devices.add(self.signer.address)
        return self.portal.offer(self.owner, self.signer.address, data, number=number, **terms)

    def uses(self, id: int) -> list[dict[str, Any]]:
        """What the chain says was used of a license."""
        return [event.values for event in self.chain.licenses.events("LicenseUsed", id=id)]

    def mine(self, blocks: int = 1) -> None:
        self.chain.rpc.call("anvil_mine", [hex(blocks)])


def paid(delivery: Delivery, job: Job) -> Job:
    """The job, as soon as it can be printed."""
    return delivery.run(job, PATIENCE, sleep=_nap)


def until_not(delivery: Delivery, job: Job, *states: State) -> Job:
    """The job, as soon as it is in none of these states."""
    deadline = time.monotonic() + PATIENCE
    while (job := delivery.journal.job(job.id)).state in states:
        assert time.monotonic() < deadline, job
        try:
            delivery.advance(job)
        except Waiting:
            _nap(0.05)
    return job


def printed(delivery: Delivery, job: Job) -> bytes:
    """Print a paid job; the bytes that the machine got."""
    with closing(delivery.open(job)) as plain:
        delivery.arm(job)
        received = b"".join(_with_the_part(delivery, job, iter(lambda: plain.read(4096), b"")))
    delivery.finish(job, 12, hashlib.sha256(received).digest())
    return received


def _with_the_part(delivery: Delivery, job: Job, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for number, piece in enumerate(pieces):
        if number == 0:
            delivery.begin_part(job)
        yield piece


def _nap(seconds: float) -> None:
    time.sleep(min(seconds, 0.05))
