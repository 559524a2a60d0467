"""What becomes of a license, of the chain and of the portal never stops a print that is running."""

from collections.abc import Iterator

import pytest
from start_paths import slowly

from conftest import START_SCRIPT, Issue, Printer, plugin_settings
from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal, Fault
from support.licensed_printer import long_part
from support.node import Chain
from support.octoprint import OctoPrint, wait_for

NOWHERE = "http://127.0.0.1:1"
REVOCABLE = 2


@pytest.fixture
def settings(printer: Printer, chain: Chain, portal: DeliveryPortal) -> Iterator[OctoPrint]:
    yield printer.octoprint
    save(printer.octoprint, **plugin_settings(chain, portal))


def save(octoprint: OctoPrint, **settings: object) -> None:
    octoprint.post("/api/settings", plugins={"imprimatur": settings}).raise_for_status()


def test_a_running_print_outlives_its_license_and_everybody_who_gave_it(
    settings: OctoPrint, chain: Chain, owner: KeySigner, portal: DeliveryPortal, issue: Issue
) -> None:
    octoprint = settings
    license = issue(copies=2, data=long_part(), flags=REVOCABLE)
    mark = octoprint.mark()
    with slowly(octoprint):
        id = octoprint.print_license(license.id).json()["job"]["id"]
        octoprint.wait_for_state(id, "PRINTING")
        chain.send(owner, chain.licenses.revoke_call(license.id))
        portal.faults.append(Fault(".*", status=500, times=-1))
        save(octoprint, node_url=NOWHERE, portal_url=NOWHERE, desk_url=NOWHERE)
        assert octoprint.post("/api/job", command="pause", action="pause").status_code == 204
        wait_for("It is paused", lambda: octoprint.state() == "Paused", 10, 0.02)
        assert octoprint.job(id)["state"] == "PRINTING"
        assert octoprint.post("/api/job", command="pause", action="resume").status_code == 204
        assert octoprint.licenses()["problem"]["key"] == "node_down"

    wait_for("It is done", lambda: octoprint.job(id)["state"] == "FINISHED", 40)
    received = [line for line in octoprint.received(mark) if line not in ("M400", "M114")]
    assert received == [START_SCRIPT, *license.lines]

    # The second copy is another matter.
    octoprint.wait_until_operational()
    save(octoprint, **plugin_settings(chain, portal))
    portal.reset()
    answer = octoprint.print_license(license.id)
    assert (answer.status_code, answer.json()["reason"]["key"]) == (409, "revoked")


def test_a_running_print_outlives_its_date_and_the_owners_stop(
    settings: OctoPrint, chain: Chain, portal: DeliveryPortal, issue: Issue
) -> None:
    octoprint = settings
    now = int(chain.rpc.call("eth_getBlockByNumber", ["latest", False])["timestamp"], 16)
    license = issue(copies=2, data=long_part(), valid_until=now + 60)
    mark = octoprint.mark()
    with slowly(octoprint):
        id = octoprint.print_license(license.id).json()["job"]["id"]
        octoprint.wait_for_state(id, "PRINTING")
        portal.stopped.add(license.id)
        chain.rpc.call("evm_setNextBlockTimestamp", [hex(now + 61)])
        chain.rpc.call("evm_mine", [])
        (card,) = (card for card in octoprint.licenses()["licenses"] if int(card["id"], 16) == license.id)
        assert (card["state"], card["reason"]["key"]) == ("expired", "expired")
        assert octoprint.job(id)["state"] == "PRINTING"

    wait_for("It is done", lambda: octoprint.job(id)["state"] == "FINISHED", 40)
    assert octoprint.received(mark) == [START_SCRIPT, *license.lines, "M400"]
    octoprint.wait_until_operational()
    answer = octoprint.print_license(license.id)
    assert (answer.status_code, answer.json()["reason"]["key"]) == (409, "expired")
