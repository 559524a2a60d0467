"""Licensed prints on a real OctoPrint, with a real chain, recorded inside the virtual printer."""

from pathlib import Path

import pytest

from conftest import START_SCRIPT, Issue, Issued, Printer
from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import format_id
from support.device_portal import DevicePortal
from support.node import ROOT, Chain
from support.octoprint import gcode_lines, wait_for

OCTOPRINTS_END = ["M400"]
"""What OctoPrint sends after the last line of every print."""


def print_it(printer: Printer, license: Issued) -> dict:
    answer = printer.octoprint.print_license(license.id)
    assert answer.status_code == 202, answer.text
    return printer.octoprint.wait_for_state(
        answer.json()["job"]["id"], "FINISHED", "FAILED", "ABANDONED", "CONSUMED"
    )


def listed(printer: Printer) -> dict[str, dict]:
    return {license["id"]: license for license in printer.octoprint.licenses()["licenses"]}


def test_the_list_is_exactly_what_the_chain_says(
    printer: Printer, issue: Issue, portal: DevicePortal, chain: Chain, owner: KeySigner
) -> None:
    before = set(listed(printer))
    license, silent, confused = issue(copies=4), issue(), issue()
    foreign = chain.issue(owner, chain.account().address, "ab" * 32, 5, f"foreign-{license.id % 10**9}")
    portal.offer(foreign, "x", b"for another printer")
    portal.offer(license.id + 1, "x", b"invented")
    portal.entries[license.id] |= {"remaining": 99, "copies": 99}
    del portal.entries[silent.id]
    portal.offer(confused.id, "x", b"another file")

    cards = listed(printer)
    assert set(cards) - before == {format_id(found.id) for found in (license, silent, confused)}
    card = cards[format_id(license.id)]
    assert (card["remaining"], card["copies"], card["next_copy"]) == (4, 4, 1)
    assert (card["name"], card["owner_name"], card["material"]) == ("clip.gcode", "Aero Spares", "PLA")
    assert card["number"].startswith("T-")
    assert card["problem"] is None
    assert (cards[format_id(silent.id)]["name"], cards[format_id(silent.id)]["problem"]["key"]) == (
        "",
        "no_entry",
    )
    assert (cards[format_id(confused.id)]["name"], cards[format_id(confused.id)]["problem"]["key"]) == (
        "",
        "other_file",
    )
    assert printer.address in portal.devices


def test_an_expired_license_isnt_listed(printer: Printer, issue: Issue, chain: Chain) -> None:
    now = int(chain.rpc.call("eth_getBlockByNumber", ["latest", False])["timestamp"], 16)
    license = issue(valid_until=now + 2)
    wait_for("It has expired", lambda: format_id(license.id) not in listed(printer), 15, 0.3)
    answer = printer.octoprint.print_license(license.id)
    assert (answer.status_code, answer.json()["reason"]["key"]) == (409, "expired")


def test_a_portal_that_is_down_takes_names_away_and_says_so(
    printer: Printer, issue: Issue, portal: DevicePortal
) -> None:
    license = issue()
    portal.status = 503
    answer = printer.octoprint.licenses()
    card = next(card for card in answer["licenses"] if card["id"] == format_id(license.id))
    assert (card["name"], card["remaining"]) == ("", 1)
    assert answer["portal_problem"]["key"] == "portal_refused"
    assert answer["problem"] is None


def test_two_copies_print_and_the_third_is_refused(printer: Printer, issue: Issue) -> None:
    license = issue(copies=2)
    for copy in (1, 2):
        mark = printer.octoprint.mark()
        job = print_it(printer, license)
        assert (job["state"], job["copy"], job["copies"]) == ("FINISHED", copy, 2)
        assert printer.octoprint.received(mark) == [START_SCRIPT, *license.lines, *OCTOPRINTS_END]
        printer.octoprint.wait_until_operational()
    assert printer.used(license.id) == 2
    assert format_id(license.id) not in listed(printer)

    mark, sent = printer.octoprint.mark(), printer.transactions()
    answer = printer.octoprint.print_license(license.id)
    assert answer.status_code == 409
    assert "no copies left" in answer.json()["error"]
    assert printer.octoprint.received(mark) == []
    assert printer.transactions() == sent


@pytest.mark.parametrize("trouble", ["other bytes", "cut short"])
def test_a_tampered_file_is_refused_before_any_transaction(
    printer: Printer, issue: Issue, portal: DevicePortal, trouble: str
) -> None:
    license = issue()
    if trouble == "other bytes":
        portal.files[license.id] = license.data.replace(b"X3", b"X4")
    else:
        portal.cut_after = 20
    mark, sent = printer.octoprint.mark(), printer.transactions()
    job = print_it(printer, license)
    assert job["state"] == "ABANDONED"
    assert "used no copy" in job["message"]["text"]
    assert printer.octoprint.received(mark) == []
    assert (printer.transactions(), printer.used(license.id)) == (sent, 0)


def test_every_line_of_the_example_reaches_the_printer_in_order(printer: Printer, issue: Issue) -> None:
    for file in sorted((ROOT / "examples").glob("*/*.gcode")):
        license = issue(data=file.read_bytes())
        mark = printer.octoprint.mark()
        assert print_it(printer, license)["state"] == "FINISHED"
        wanted = gcode_lines(file.read_text())
        assert len(wanted) > 100
        assert printer.octoprint.received(mark) == [START_SCRIPT, *wanted, *OCTOPRINTS_END]


def slow_part(early: int = 0, late: int = 0) -> bytes:
    """A file that waits `early` × 0.2 s before material is fed, and `late` × 0.2 s after that."""
    moves = "".join(f"G1 X{i} E0.01\nG4 P200\n" for i in range(late))
    waits = "G4 P200\n" * early
    return f"; {early} {late}\nG28\n{waits}M83\nG1 X1 E1\n{moves}".encode()


def start(printer: Printer, license: Issued, state: str) -> str:
    """Print until the job is in `state`; its id."""
    id = printer.octoprint.print_license(license.id).json()["job"]["id"]
    printer.octoprint.wait_for_state(id, state)
    return str(id)


def test_pause_resume_and_what_octoprint_shows(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license = issue(data=slow_part(late=12))
    mark = octoprint.mark()
    id = start(printer, license, "PRINTING")
    shown = octoprint.get("/api/job")
    assert (shown["job"]["file"]["display"], shown["job"]["file"]["size"]) == (
        "clip.gcode",
        len(license.data),
    )
    assert octoprint.post("/api/job", command="pause", action="pause").status_code == 204
    wait_for("It is paused", lambda: octoprint.state() == "Paused")
    assert 0 < octoprint.get("/api/job")["progress"]["completion"] < 100
    refused = octoprint.post("/api/job", command="restart")
    assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "restart_refused")
    assert octoprint.post("/api/job", command="pause", action="resume").status_code == 204
    assert octoprint.wait_for_state(id, "FINISHED", "FAILED")["state"] == "FINISHED"
    received = [line for line in octoprint.received(mark) if line not in ("M400", "M114")]
    assert received == [START_SCRIPT, *license.lines]
    octoprint.wait_until_operational()
    wait_for("The placeholder is gone", lambda: octoprint.get("/api/files/local")["files"] == [])
    assert octoprint.get("/api/job")["job"]["file"]["name"] is None


def test_a_plugin_that_restarts_a_paused_print_gets_nothing(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license = issue(data=slow_part(late=12))
    id = start(printer, license, "PRINTING")
    octoprint.post("/api/job", command="pause", action="pause")
    wait_for("It is paused", lambda: octoprint.state() == "Paused")
    mark = octoprint.mark()
    octoprint.post("/api/plugin/print_starter", command="restart", path="")
    assert octoprint.wait_for_state(id, "FAILED")["copy"] == 1
    octoprint.wait_until_operational()
    assert not set(octoprint.received(mark)) & set(license.lines)


def test_cancelled_before_the_part_begins_keeps_the_copy(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license = issue(data=slow_part(early=8), copies=2)
    id = start(printer, license, "ARMED")
    octoprint.post("/api/job", command="cancel")
    job = octoprint.wait_for_state(id, "CONSUMED")
    assert (job["ready"], job["copy"]) == (True, 1)
    octoprint.wait_until_operational()

    refused = octoprint.print_license(license.id)
    assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "copy_waiting")
    mark, sent = octoprint.mark(), printer.transactions()
    assert octoprint.post(f"/plugin/imprimatur/jobs/{id}/print").status_code == 202
    octoprint.wait_for_state(id, "FINISHED")
    assert octoprint.received(mark) == [START_SCRIPT, *license.lines, *OCTOPRINTS_END]
    assert (printer.transactions(), printer.used(license.id)) == (sent, 1)


def test_cancelled_after_the_part_has_begun_is_final(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license = issue(data=slow_part(late=12))
    id = start(printer, license, "PRINTING")
    octoprint.post("/api/job", command="cancel")
    assert octoprint.wait_for_state(id, "FAILED")["message"]["key"] == "cancelled"
    octoprint.wait_until_operational()
    refused = octoprint.post(f"/plugin/imprimatur/jobs/{id}/print")
    assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "not_waiting")


def test_a_second_job_waits_for_the_first(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license, other = issue(data=slow_part(late=5)), issue()
    id = start(printer, license, "PRINTING")
    refused = octoprint.print_license(other.id)
    assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "printer_not_ready")
    octoprint.wait_for_state(id, "FINISHED")
    assert printer.used(other.id) == 0


def test_no_plaintext_is_left_behind(printer: Printer, issue: Issue) -> None:
    license = issue()
    secret = b"; drawing 4711 secret\n"
    license = issue(data=secret + license.data)
    print_it(printer, license)
    printer.octoprint.wait_until_operational()
    found = [
        path
        for path in Path(printer.octoprint.basedir).rglob("*")
        if path.is_file() and secret.strip() in path.read_bytes()
    ]
    assert found == []


def test_strangers_are_turned_away(printer: Printer, issue: Issue) -> None:
    import requests

    license = issue()
    base = f"{printer.octoprint.url}/plugin/imprimatur"
    for method, path in [
        ("GET", "/licenses"),
        ("GET", "/jobs"),
        ("POST", f"/licenses/{format_id(license.id)}/print"),
        ("POST", "/check"),
    ]:
        assert requests.request(method, base + path, timeout=10, json={}).status_code in (400, 403), path
    assert printer.used(license.id) == 0


def test_the_connection_check(printer: Printer) -> None:
    def problems(**settings: object) -> dict[str, str | None]:
        checks = printer.octoprint.post("/plugin/imprimatur/check", **settings).json()["checks"]
        return {check["part"]: check["problem"] and check["problem"]["key"] for check in checks}

    assert problems() == {"node": None, "contract": None, "portal": None}
    assert problems(portal_url="http://127.0.0.1:1")["portal"] == "portal_down"
    assert problems(contract="0x" + "11" * 20)["contract"] == "no_contract"
    assert problems(chain_id=5) == {"node": "wrong_chain"}
    assert problems(node_url="http://127.0.0.1:1") == {"node": "node_down"}
    assert problems(node_url="") == {"node": "not_set_up"}
