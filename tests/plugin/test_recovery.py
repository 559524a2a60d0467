"""OctoPrint is killed between paying and printing."""

from pathlib import Path

from conftest import address_in, issuer, plugin_settings
from imprimatur.chain.signers import KeySigner
from support.device_portal import DevicePortal
from support.node import Chain
from support.octoprint import running_octoprint


def test_a_paid_copy_survives_kill_9_and_prints_without_paying_again(
    chain: Chain, portal: DevicePortal, owner: KeySigner, tmp_path: Path
) -> None:
    address = address_in(tmp_path)
    chain.fund(address)
    issue = issuer(chain, owner, portal, address)
    waits = b"G28\n" + b"G4 P200\n" * 10 + b"M83\nG1 X1 Y1 E1\n"
    license = issue(copies=2, data=waits)

    def used() -> int:
        found = chain.licenses.license_of(license.id)
        assert found is not None
        return found.used

    with running_octoprint(tmp_path, plugin_settings(chain, portal)) as octoprint:
        id = octoprint.print_license(license.id).json()["job"]["id"]
        octoprint.wait_for_state(id, "ARMED")
        octoprint.kill()
        assert used() == 1

        mark = octoprint.mark()
        octoprint.start()
        job = octoprint.job(id)
        assert (job["state"], job["ready"], job["copy"]) == ("CONSUMED", True, 1)
        assert job["message"]["key"] == "stopped_before_printing"
        assert octoprint.get("/api/files/local")["files"] == [], "the placeholder is gone"
        assert not set(octoprint.received(mark)) & set(license.lines), "nothing starts by itself"

        assert octoprint.post(f"/plugin/imprimatur/jobs/{id}/print").status_code == 202
        assert octoprint.wait_for_state(id, "FINISHED", "CONSUMED", "FAILED")["state"] == "FINISHED"
        assert octoprint.received(mark)[-len(license.lines) - 1 :] == [*license.lines, "M400"]
        assert used() == 1
