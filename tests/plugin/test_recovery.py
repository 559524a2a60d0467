"""OctoPrint is killed and updated between paying and printing. Other moments: `test_killed.py`."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from test_old_jobs import TABLE

from conftest import address_in, issuer, plugin_settings
from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal, Fault
from support.node import Chain
from support.octoprint import running_octoprint, wait_for


def test_killed_between_paying_and_the_key_it_is_ready_to_print_after_the_restart(
    chain: Chain, portal: DeliveryPortal, owner: KeySigner, tmp_path: Path
) -> None:
    address = address_in(tmp_path)
    license = issuer(owner, portal, address)(copies=2)
    portal.faults.append(Fault("POST /desk", status=500, times=-1))
    with running_octoprint(tmp_path, plugin_settings(chain, portal)) as octoprint:
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
        found = chain.licenses.license_of(license.id)
        assert found is not None
        assert found.used == 1

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
