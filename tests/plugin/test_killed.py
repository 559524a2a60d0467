"""A real OctoPrint that gets kill -9 in the middle of a print: nothing is paid twice, nothing starts by
itself, and an operator can go on by hand.

`IMPRIMATUR_KILLS=all`, as `python -m tools.chaos --printers` sets it, kills it at every state and request.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal
from support.licensed_printer import Issue, Issued, address_in, issuer, part, plugin_settings
from support.node import Chain
from support.octoprint import OctoPrint, running_octoprint, wait_for

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
    issue = issuer(owner, shared_portal, address_in(basedir))
    with running_octoprint(basedir, plugin_settings(chain, shared_portal), [KILLER]) as octoprint:
        yield Bench(octoprint, chain, issue)


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
