"""Licensed prints on a real OctoPrint, with a real chain, recorded inside the virtual printer."""

from pathlib import Path

import pytest
from start_paths import by_plugin, seen, slowly

from conftest import START_SCRIPT, Issue, Issued, Printer
from imprimatur.chain.signers import KeySigner
from imprimatur.key_answer import Refusal
from imprimatur.license_id import format_id
from support.delivery_portal import DeliveryPortal, Fault
from support.leak_scan import files_of, memory_beside
from support.licensed_printer import long_part
from support.node import ROOT, Chain
from support.octoprint import gcode_lines, wait_for

OCTOPRINTS_END = ["M400"]
"""What OctoPrint sends after the last line of every print."""


def print_it(printer: Printer, license: Issued) -> dict:
    answer = printer.octoprint.print_license(license.id)
    assert answer.status_code == 202, answer.text
    return printer.octoprint.wait_for_state(
        answer.json()["job"]["id"], "FINISHED", "FAILED", "ABANDONED", "KEYED"
    )


def listed(printer: Printer) -> dict[str, dict]:
    """Cards of licenses that are on the chain and haven't ended, by id."""
    cards = printer.octoprint.licenses()["licenses"]
    return {card["id"]: card for card in cards if card["state"] in ("ready", "not_trusted", "untold")}


def test_the_list_is_exactly_what_the_chain_says(
    printer: Printer, issue: Issue, portal: DeliveryPortal, chain: Chain, owner: KeySigner
) -> None:
    before = set(listed(printer))
    license, silent, confused = issue(copies=4), issue(), issue()
    portal.offer(owner, chain.account().address, b"for another printer", 5, f"F-{license.id % 10**9}")
    portal.offer(owner, printer.address, b"invented", number=f"I-{license.id % 10**9}", issue=False)
    portal.served[license.id].entry["remaining"] = 99
    del portal.served[silent.id]
    portal.served[confused.id].entry["manifest"]["manifest"]["file"]["sha256"] = "ab" * 32

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
        "other_description",
    )
    assert card["thumbnail"].startswith("data:image/png;base64,")
    assert printer.address in portal.devices


def test_an_expired_license_isnt_listed(printer: Printer, issue: Issue, chain: Chain) -> None:
    now = int(chain.rpc.call("eth_getBlockByNumber", ["latest", False])["timestamp"], 16)
    license = issue(valid_until=now + 60)
    assert format_id(license.id) in listed(printer)
    chain.rpc.call("evm_setNextBlockTimestamp", [hex(now + 61)])
    chain.rpc.call("evm_mine", [])
    assert format_id(license.id) not in listed(printer)
    answer = printer.octoprint.print_license(license.id)
    assert (answer.status_code, answer.json()["reason"]["key"]) == (409, "expired")


def test_a_portal_that_is_down_takes_names_away_and_says_so(
    printer: Printer, issue: Issue, portal: DeliveryPortal
) -> None:
    license = issue()
    portal.faults.append(Fault("/device/jobs", status=500, times=-1))
    answer = printer.octoprint.licenses()
    card = next(card for card in answer["licenses"] if card["id"] == format_id(license.id))
    assert (card["name"], card["remaining"]) == ("", 1)
    assert answer["portal_problem"]["key"] == "portal_unreachable"
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

    mark = printer.octoprint.mark()
    answer = printer.octoprint.print_license(license.id)
    assert answer.status_code == 409
    assert "no copies left" in answer.json()["error"]
    assert printer.octoprint.received(mark) == []
    assert printer.transactions() == 0, "the portal's relay carried everything"


@pytest.mark.parametrize("trouble", ["other bytes", "another manifest"])
def test_a_tampered_delivery_is_refused_before_any_use(
    printer: Printer, issue: Issue, portal: DeliveryPortal, trouble: str
) -> None:
    license = issue()
    if trouble == "other bytes":
        portal.spoil = True
    else:
        portal.served[license.id].entry["manifest"]["manifest"]["print"]["layers"] = 7
    portal.requests.clear()
    mark = printer.octoprint.mark()
    job = print_it(printer, license)
    assert job["state"] == "ABANDONED"
    assert "No copy was used" in job["message"]["text"]
    assert printer.octoprint.received(mark) == []
    assert printer.used(license.id) == 0
    assert not [request for request in portal.requests if request.startswith("POST") and "/uses" in request]


def test_every_line_of_the_example_reaches_the_printer_in_order(printer: Printer, issue: Issue) -> None:
    for file in sorted((ROOT / "examples").glob("*/*.gcode")):
        license = issue(data=file.read_bytes())
        mark = printer.octoprint.mark()
        assert print_it(printer, license)["state"] == "FINISHED"
        wanted = gcode_lines(file.read_text())
        assert len(wanted) > 100
        assert printer.octoprint.received(mark) == [START_SCRIPT, *wanted, *OCTOPRINTS_END]


def start(printer: Printer, license: Issued, state: str) -> str:
    """Print until the job is in `state`; its id."""
    id = printer.octoprint.print_license(license.id).json()["job"]["id"]
    printer.octoprint.wait_for_state(id, state)
    return str(id)


def test_pause_resume_and_what_octoprint_shows(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license = issue(data=long_part())
    mark = octoprint.mark()
    with slowly(octoprint):
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


def test_a_file_that_pauses_itself_and_changes_the_tool(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    first, second = ["G28", "M83", "G1 X1 E1"], ["T0", "G1 X3 E1"]
    license = issue(data="\n".join([*first, "M0 Insert the nut", *second, ""]).encode())
    mark = octoprint.mark()
    id = octoprint.print_license(license.id).json()["job"]["id"]
    wait_for("It waits for the operator", lambda: octoprint.state() == "Paused")

    def received() -> list[str]:
        return [line for line in octoprint.received(mark) if line not in ("M400", "M114", START_SCRIPT)]

    assert received() == first
    assert octoprint.job(id)["state"] == "PRINTING"
    octoprint.post("/api/job", command="pause", action="resume")
    assert octoprint.wait_for_state(id, "FINISHED", "FAILED")["state"] == "FINISHED"
    # OctoPrint keeps M0 for itself, as in any file.
    assert received() == [*first, *second]


def test_a_plugin_that_restarts_a_paused_print_gets_nothing(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license = issue(data=long_part())
    start_mark = octoprint.mark()
    with slowly(octoprint):
        id = start(printer, license, "PRINTING")
        octoprint.post("/api/job", command="pause", action="pause")
        wait_for("It is paused", lambda: octoprint.state() == "Paused")
    by_plugin("forget")(octoprint)
    mark = octoprint.mark()
    by_plugin("restart")(octoprint)
    wait_for("It is told", lambda: "restart_refused" in seen(octoprint)["refused"])
    octoprint.command("M117 still here")
    wait_for("Later lines came", lambda: "M117 still here" in octoprint.received(mark))
    assert octoprint.state() == "Paused"
    assert not set(octoprint.received(mark)) & set(license.lines)
    octoprint.post("/api/job", command="pause", action="resume")
    assert octoprint.wait_for_state(id, "FINISHED", "FAILED")["state"] == "FINISHED"
    others = ("M400", "M114", "M117 still here")
    received = [line for line in octoprint.received(start_mark) if line not in others]
    assert received == [START_SCRIPT, *license.lines]


def test_cancelled_before_the_part_begins_keeps_the_copy(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license = issue(data=long_part(travels=100), copies=2)
    with slowly(octoprint):
        id = start(printer, license, "ARMED")
        octoprint.post("/api/job", command="cancel")
        job = octoprint.wait_for_state(id, "KEYED")
    assert (job["ready"], job["copy"]) == (True, 1)
    octoprint.wait_until_operational()

    refused = octoprint.print_license(license.id)
    assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "copy_waiting")
    mark = octoprint.mark()
    assert octoprint.post(f"/plugin/imprimatur/jobs/{id}/print").status_code == 202
    octoprint.wait_for_state(id, "FINISHED")
    assert octoprint.received(mark) == [START_SCRIPT, *license.lines, *OCTOPRINTS_END]
    assert printer.used(license.id) == 1


def test_cancelled_after_the_part_has_begun_is_final(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license = issue(data=long_part())
    with slowly(octoprint):
        id = start(printer, license, "PRINTING")
        octoprint.post("/api/job", command="cancel")
        assert octoprint.wait_for_state(id, "FAILED")["message"]["key"] == "cancelled"
    octoprint.wait_until_operational()
    refused = octoprint.post(f"/plugin/imprimatur/jobs/{id}/print")
    assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "not_waiting")


def test_a_second_job_waits_for_the_first(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license, other = issue(data=long_part()), issue()
    with slowly(octoprint):
        id = start(printer, license, "PRINTING")
        refused = octoprint.print_license(other.id)
    assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "printer_not_ready")
    octoprint.wait_for_state(id, "FINISHED")
    assert printer.used(other.id) == 0


def contains(path: Path, secret: bytes) -> bool:
    try:
        return secret in path.read_bytes()
    except FileNotFoundError:
        return False


def test_the_part_is_on_no_disk_before_during_and_after_its_print(
    printer: Printer, issue: Issue, portal: DeliveryPortal, tmp_path: Path
) -> None:
    octoprint = printer.octoprint
    secret = b"; drawing 4711, never to be seen on a disk of this printer"
    license = issue(data=long_part(travels=100) + secret + b"\n" + b"G4 P0\n" * 20_000)
    # What the search can find, it finds.
    (tmp_path / "seen").write_bytes(b"G28\n" + secret)
    assert [path for path in files_of(octoprint.pid, tmp_path) if contains(path, secret)]
    portal.faults.append(Fault("POST /desk", status=500, times=1))

    def search() -> list[Path]:
        folders = [octoprint.basedir, *memory_beside(octoprint.basedir)]
        return [path for path in files_of(octoprint.pid, *folders) if contains(path, secret)]

    def sealed() -> set[Path]:
        return set((octoprint.basedir / "data" / "imprimatur" / "sealed").glob("*.age"))

    before = sealed()

    def look_while(state: str) -> None:
        wait_for(f"It is {state}", lambda: octoprint.job(id)["state"] == state, 30, 0.02)
        assert search() == [], state

    id = octoprint.print_license(license.id).json()["job"]["id"]
    with slowly(octoprint):
        look_while("CONSUMED")
        assert sealed() - before != set()
        look_while("ARMED")
    look_while("PRINTING")
    assert octoprint.job(id)["state"] == "PRINTING", "it still printed after the last look"
    octoprint.post("/api/job", command="cancel")
    octoprint.wait_for_state(id, "FAILED")
    octoprint.wait_until_operational()
    assert search() == []
    assert sealed() - before == set()


def test_a_key_that_is_refused_is_told_and_the_copy_comes_back(
    printer: Printer, issue: Issue, portal: DeliveryPortal
) -> None:
    octoprint = printer.octoprint
    license = issue(failures_allowed=1)
    portal.refusal = Refusal.STOPPED
    mark = octoprint.mark()
    id = octoprint.print_license(license.id).json()["job"]["id"]
    job = octoprint.wait_for_state(id, "CONSUMED")
    assert (job["message"]["key"], job["reportable"], job["ready"]) == ("withheld", True, False)
    assert "is paid" in job["message"]["text"]
    assert octoprint.received(mark) == []
    refused = octoprint.post(f"/plugin/imprimatur/jobs/{id}/print")
    assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "not_waiting")

    assert octoprint.post(f"/plugin/imprimatur/jobs/{id}/failure").status_code == 202
    wait_for("It is given back", lambda: octoprint.job(id)["message"]["key"] == "given_back")
    job = octoprint.job(id)
    assert (job["state"], job["reportable"]) == ("FAILED", False)
    again = octoprint.post(f"/plugin/imprimatur/jobs/{id}/failure")
    assert (again.status_code, again.json()["reason"]["key"]) == (409, "not_reportable")
    portal.reset()
    assert listed(printer)[format_id(license.id)]["remaining"] == 1
    assert print_it(printer, license)["state"] == "FINISHED"


def test_portal_relay_and_desk_fall_out_one_after_the_other_and_the_print_goes_on(
    printer: Printer, issue: Issue, portal: DeliveryPortal
) -> None:
    license = issue()
    for where in ("GET .*/file", "POST .*/uses", "POST /desk"):
        portal.faults.append(Fault(where, status=500, times=1))
    mark = printer.octoprint.mark()
    assert print_it(printer, license)["state"] == "FINISHED"
    assert printer.octoprint.received(mark) == [START_SCRIPT, *license.lines, *OCTOPRINTS_END]
    assert printer.used(license.id) == 1


def test_an_early_job_is_withdrawn(printer: Printer, issue: Issue, portal: DeliveryPortal) -> None:
    octoprint = printer.octoprint
    license = issue()
    portal.faults.append(Fault("GET .*/file", status=500, times=-1))
    id = octoprint.print_license(license.id).json()["job"]["id"]
    wait_for("It waits", lambda: (octoprint.job(id)["message"] or {}).get("key") == "portal_unreachable")
    job = octoprint.job(id)
    assert (job["active"], job["underway"], job["withdrawable"]) == (True, True, True)
    assert octoprint.post(f"/plugin/imprimatur/jobs/{id}/withdraw").status_code == 202
    job = octoprint.wait_for_state(id, "ABANDONED")
    assert (job["message"]["key"], job["withdrawable"]) == ("withdrawn", False)
    assert printer.used(license.id) == 0


def test_strangers_are_turned_away(printer: Printer, issue: Issue) -> None:
    import requests

    license = issue()
    base = f"{printer.octoprint.url}/plugin/imprimatur"
    for method, path in [
        ("GET", "/licenses"),
        ("GET", "/jobs"),
        ("POST", f"/licenses/{format_id(license.id)}/print"),
        ("POST", "/jobs/any/failure"),
        ("POST", "/jobs/any/withdraw"),
        ("POST", "/check"),
    ]:
        assert requests.request(method, base + path, timeout=10, json={}).status_code in (400, 403), path
    assert printer.used(license.id) == 0


def test_the_connection_check(printer: Printer) -> None:
    def problems(**settings: object) -> dict[str, str | None]:
        checks = printer.octoprint.post("/plugin/imprimatur/check", **settings).json()["checks"]
        return {check["part"]: check["problem"] and check["problem"]["key"] for check in checks}

    fine = {"node": None, "contract": None, "portal": None, "desk": None}
    nowhere = "http://127.0.0.1:1"
    other = "0x" + "11" * 20
    assert problems() == fine
    assert problems(portal_url=nowhere) == fine | {"portal": "portal_unreachable"}
    assert problems(portal_url="") == fine | {"portal": "portal_not_set_up"}
    assert problems(portal_url="http://portal.example") == {"portal": "portal_url"}
    assert problems(desk_url=nowhere) == fine | {"desk": "desk_down"}
    assert problems(desk_url="") == fine | {"desk": "desk_not_set_up"}
    assert problems(desk_url="nonsense") == {"desk": "desk_url"}
    assert problems(desk_address="nonsense") == {"desk": "desk_address"}
    assert problems(desk_address=other) == fine | {"portal": "portal_other_desk", "desk": "desk_confused"}
    assert problems(contract=other)["contract"] == "no_contract"
    assert problems(contract=other)["portal"] == "portal_elsewhere"
    assert problems(chain_id=5) == {"node": "other_chain"}
    assert problems(node_url=nowhere) == {"node": "node_down"}
    assert problems(node_url="") == {"node": "not_set_up"}
    assert problems(finality="soon") == {"node": "finality_unknown"}


def test_a_printer_that_the_portal_doesnt_know(printer: Printer, portal: DeliveryPortal) -> None:
    portal.disabled.add(printer.address)
    checks = printer.octoprint.post("/plugin/imprimatur/check").json()["checks"]
    problems = {check["part"]: check["problem"] and check["problem"]["key"] for check in checks}
    assert problems["portal"] == "device_disabled"
