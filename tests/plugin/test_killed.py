"""A real OctoPrint that gets kill -9 in the middle of a print: nothing is paid twice, nothing starts by
itself, and an operator can go on by hand.

`IMPRIMATUR_KILLS=all`, as `python -m tools.chaos --printers` sets it, kills it at every state and request.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from start_paths import by_plugin
from test_old_jobs import TABLE

from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal, Fault
from support.licensed_printer import STARTER, Issue, Issued, issuer, part, running_printer
from support.node import Chain
from support.octoprint import OctoPrint, wait_for

KILLER = Path(__file__).parent / "killer.py"
UNPAID = ("download", "PICKED", "DOWNLOADED", "VERIFIED")
PAID = ("SIGNED", "POST uses", "SENT", "CONSUMED", "POST keys", "KEYED", "ARMED")
FEW = ("download", "POST uses", "ARMED", "PRINTING")
ALL = (*UNPAID, *PAID, "PRINTING", "FINISHED")
POINTS = ALL if os.environ.get("IMPRIMATUR_KILLS") == "all" else FEW


@dataclass
class Bench:
    """An OctoPrint to kill, and the licenses of its printer."""

    octoprint: OctoPrint
    chain: Chain
    issue: Issue

    def kill_at(self, point: str, license: Issued) -> int:
        """Print until the process is dead, and start it again; where its next life begins in the record."""
        (self.octoprint.basedir / "kill_at").write_text(point)
        with suppress(requests.ConnectionError):
            # The first states are reached while the request is answered.
            self.octoprint.print_license(license.id)
        wait_for(f"OctoPrint dies at {point}", self.octoprint.is_dead, 60)
        self.octoprint.kill()
        mark = self.octoprint.mark()
        self.octoprint.start()
        return mark

    def terms(self, license: Issued) -> Any:
        return self.chain.licenses.license_of(license.id)

    def job(self, license: Issued, *states: str) -> dict[str, Any]:
        """The newest job of a license, once it is in one of the states."""

        def look() -> dict[str, Any] | None:
            jobs = [job for job in self.octoprint.jobs() if int(job["license_id"], 16) == license.id]
            return jobs[0] if jobs and jobs[0]["state"] in states and not jobs[0]["active"] else None

        return wait_for(f"The job is {' or '.join(states)}", look, 60)

    def print_now(self, license: Issued) -> None:
        """Print a copy from the beginning, to the end."""
        self.octoprint.wait_until_operational()
        assert self.octoprint.print_license(license.id).status_code == 202
        self.job(license, "FINISHED")


@pytest.fixture(scope="module")
def killed_octoprint(
    chain: Chain, shared_portal: DeliveryPortal, owner: KeySigner, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    basedir = tmp_path_factory.mktemp("killed")
    shared_portal.reset()
    with running_printer(chain, shared_portal, basedir, [KILLER, STARTER]) as printer:
        yield Bench(printer.octoprint, chain, issuer(owner, shared_portal, printer.address))


@pytest.mark.parametrize("point", POINTS)
def test_killed(killed_octoprint: Bench, portal: DeliveryPortal, point: str) -> None:
    bench, octoprint = killed_octoprint, killed_octoprint.octoprint
    license = bench.issue(copies=2, data=part(60), failures_allowed=1)
    mark = bench.kill_at(point, license)

    if point in UNPAID:
        job = bench.job(license, "ABANDONED")
        assert (job["message"]["key"], bench.terms(license).used) == ("stopped_before_paying", 0)
    elif point in PAID:
        job = bench.job(license, "KEYED")
        assert (job["ready"], job["copy"], bench.terms(license).used) == (True, 1, 1)
    else:
        job = bench.job(license, "FAILED", "FINISHED")
        assert (job["message"]["key"], bench.terms(license).used) == (
            "interrupted" if point == "PRINTING" else "finished",
            1,
        )
    assert not set(octoprint.received(mark)) & set(license.lines), "nothing starts by itself"
    assert [file["name"] for file in octoprint.get("/api/files/local")["files"]] == []

    if point == "PRINTING":
        answer = octoprint.post(f"/plugin/imprimatur/jobs/{job['id']}/failure", reason="power", note="")
        assert answer.status_code < 300, answer.text
        wait_for("The copy is given back", lambda: bench.terms(license).failed == 1, 60)
    if point in PAID:
        assert octoprint.post(f"/plugin/imprimatur/jobs/{job['id']}/print").status_code == 202
        bench.job(license, "FINISHED")
    else:
        bench.print_now(license)
    sent = octoprint.received(mark)
    assert [line for line in sent if line in license.lines][-len(license.lines) :] == license.lines
    assert bench.terms(license).used == (2 if point in ("PRINTING", "FINISHED") else 1)


def test_a_printer_that_goes_on_writing_its_card_gets_no_licensed_line(
    killed_octoprint: Bench, portal: DeliveryPortal
) -> None:
    octoprint, license = killed_octoprint.octoprint, killed_octoprint.issue()
    by_plugin("policy", policy="licensed_and_free")(octoprint)
    mark = octoprint.mark()
    assert octoprint.command("M28 begun.gco").status_code == 204
    wait_for("It is written", lambda: "M28 begun.gco" in octoprint.received(mark), 20)
    octoprint.kill()
    octoprint.start()
    by_plugin("write_card", name="begun.gco")(octoprint)
    answer = octoprint.print_license(license.id)
    assert (answer.status_code, answer.json().get("reason", {}).get("key")) == (409, "card_written")

    assert octoprint.command("M29", "M117 done").status_code == 204
    wait_for("M29 has arrived", lambda: "M117 done" in octoprint.received(mark), 20)
    written = (octoprint.basedir / "virtualSd" / "begun.gco").read_text()
    assert not set(written.splitlines()) & set(license.lines)
    assert killed_octoprint.terms(license).used == 0
    assert not (octoprint.basedir / "data" / "imprimatur" / "card-written").exists()
    killed_octoprint.print_now(license)


def test_killed_and_updated_between_paying_and_the_key(
    killed_octoprint: Bench, portal: DeliveryPortal
) -> None:
    bench, octoprint = killed_octoprint, killed_octoprint.octoprint
    license = bench.issue(copies=2)
    portal.faults.append(Fault("POST /desk", status=500, times=-1))
    id = octoprint.print_license(license.id).json()["job"]["id"]
    wait_for("It is paid", lambda: octoprint.job(id)["state"] == "CONSUMED")
    octoprint.kill()
    old_journal(octoprint.basedir / "data" / "imprimatur")
    portal.reset()
    mark = octoprint.mark()
    octoprint.start()
    job = octoprint.wait_for_state(id, "KEYED")
    assert (job["ready"], job["copy"], job["message"]["key"]) == (True, 1, "ready")
    assert not set(octoprint.received(mark)) & set(license.lines), "nothing starts by itself"
    assert octoprint.post(f"/plugin/imprimatur/jobs/{id}/print").status_code == 202
    assert octoprint.wait_for_state(id, "FINISHED", "KEYED", "FAILED")["state"] == "FINISHED"
    assert bench.terms(license).used == 1

    job = octoprint.job("before")
    assert (job["state"], job["message"]["key"]) == ("FAILED", "updated_paid")
    assert octoprint.post("/plugin/imprimatur/jobs/before/dismiss").status_code == 204
    assert "before" not in [job["id"] for job in octoprint.jobs()]


def old_journal(folder: Path) -> None:
    """A copy that was paid by the version before sealed files."""
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as database:
        database.execute(TABLE)
        database.execute(
            "INSERT INTO job VALUES ('before', ?, 'clip.gcode', 'A-1', ?, 1, '0xc', 'CONSUMED', 4, 3, 0,"
            " NULL, NULL, '{}', 'ann', ?, ?, 0)",
            (f"{7:064x}", "ab" * 32, time.time(), time.time()),
        )
