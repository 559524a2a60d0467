"""Licenses without a sealed file: the operator's own is printed through the same flow, portal or not."""

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_flow import Shop, code_of, reason_of

from conftest import part
from imprimatur.chain.signers import KeySigner
from imprimatur.device.job import Job, State
from octoprint_imprimatur.connection import Address, Connection, connect
from octoprint_imprimatur.shown_job import job_json
from support.delivery_portal import DeliveryPortal
from support.node import Chain


class OwnShop(Shop):
    """A printer with coins, a node, and nobody else to ask."""

    def connect(self) -> Connection:
        licenses = self.chain.licenses
        address = Address("", "", self.chain.url, self.chain.chain_id, licenses.address, licenses.since)
        return connect(address, self.signer, self.rpc)

    def licensed_file(self, owner: KeySigner, copies: int = 1, name: str = "clip.gcode") -> tuple[int, Path]:
        """A file among OctoPrint's, and its license."""
        path = self.folder / name
        path.write_bytes(part())
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        number = secrets.token_hex(8)
        return self.chain.issue(owner, self.signer.address, found, copies, number, failures_allowed=1), path

    def print_own(self, id: int, path: Path) -> Job:
        """Print to the end of the preparation."""
        job = self.flow.begin(id, file=path)
        self.wait()
        return self.job(job)


@pytest.fixture
def shop(chain: Chain, portal: DeliveryPortal, owner: KeySigner, tmp_path: Path) -> Iterator[OwnShop]:
    shop = OwnShop(chain, portal, owner, tmp_path)
    chain.fund(shop.signer.address)
    yield shop
    shop.runner.stop()
    shop.wait()
    shop.journal.close()


def used(shop: Shop, id: int) -> int:
    license = shop.chain.licenses.license_of(id)
    assert license is not None
    return license.used


def test_a_node_and_a_contract_are_enough(shop: OwnShop, owner: KeySigner) -> None:
    id, path = shop.licensed_file(owner, copies=2)
    shop.portal.requests.clear()
    for copy in (1, 2):
        job = shop.print_own(id, path)
        assert (job.state, job.copy, job.name) == (State.ARMED, copy, "clip.gcode")
        assert shop.machine.started[-1] == (job.id, path.read_bytes())
        shown = job_json(job)
        assert (shown["kind"], shown["steps"]) == ("own_file", ["verify", "consume", "final", "print"])
        shop.runner.part_begins(job.id)
        shop.runner.print_done(job.id)
        assert shop.job(job).state is State.FINISHED
    assert used(shop, id) == 2
    assert shop.portal.requests == []
    assert reason_of(lambda: shop.flow.begin(id, file=path)) == "no_copies_left"


def test_another_file_is_refused_before_paying(shop: OwnShop, owner: KeySigner) -> None:
    id, path = shop.licensed_file(owner)
    path.write_bytes(path.read_bytes() + b"G28\n")
    assert reason_of(lambda: shop.flow.begin(id, file=path)) == "other_file"
    assert reason_of(lambda: shop.flow.begin(id, file=path.with_name("none"))) == "unreadable_file"
    assert reason_of(lambda: shop.flow.begin(id)) == "no_file"
    assert (used(shop, id), shop.journal.recent()) == (0, [])


def test_a_cancelled_print_resumes_with_the_same_file_only(shop: OwnShop, owner: KeySigner) -> None:
    id, path = shop.licensed_file(owner)
    data = path.read_bytes()
    job = shop.print_own(id, path)
    shop.runner.print_ended(job.id, cancelled=True)
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.CONSUMED, "cancelled_early")
    assert reason_of(lambda: shop.flow.begin(id, file=path)) == "copy_waiting"

    path.write_bytes(data.replace(b"G28", b"G29"))
    shop.flow.resume(job.id)
    shop.wait()
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.CONSUMED, "file_pending")
    assert len(shop.machine.started) == 1, "not one byte of another file"

    path.write_bytes(data)
    shop.flow.resume(job.id)
    shop.wait()
    assert shop.machine.started == [(job.id, data)] * 2
    assert used(shop, id) == 1


def test_a_restart_keeps_the_paid_copy(shop: OwnShop, owner: KeySigner) -> None:
    id, path = shop.licensed_file(owner)
    job = shop.print_own(id, path)
    shop.restart()
    shop.flow.recover()
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.CONSUMED, "stopped_before_printing")
    assert job_json(shop.job(job))["ready"]
    shop.flow.resume(job.id)
    shop.wait()
    assert (shop.job(job).state, used(shop, id)) == (State.ARMED, 1)
    shop.runner.part_begins(job.id)
    shop.runner.print_ended(job.id, cancelled=False)
    shop.flow.report_failure(job.id)
    shop.wait_for(job, "failure_pending")
    while code_of(shop.job(job)) != "given_back":
        shop.flow.continue_open()
    license = shop.chain.licenses.license_of(id)
    assert license is not None
    assert (license.used, license.remaining, license.failed) == (1, 1, 1)


def test_a_portals_own_hash_only_license(
    chain: Chain, portal: DeliveryPortal, owner: KeySigner, tmp_path: Path
) -> None:
    """The portal tells the manifest and carries the use; the file is the operator's."""
    shop = Shop(chain, portal, owner, tmp_path)
    path = tmp_path / "mine.gcode"
    license = shop.issue()
    path.write_bytes(license.data)
    offer = next(offer for offer in shop.connect().portal.jobs() if offer.id == license.id)
    job = shop.flow.begin(license.id, offer=offer, file=path)
    shop.wait()
    job = shop.job(job)
    assert (job.state, job.is_sealed, job.name, job.owner) == (
        State.ARMED,
        False,
        "clip.gcode",
        "Aero Spares",
    )
    assert shop.machine.started == [(job.id, license.data)]
    assert shop.sent() == 0
    assert not [r for r in portal.requests if "/file" in r and "POST" in r]
    shop.runner.stop()
    shop.journal.close()
