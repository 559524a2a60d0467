"""A sealed print on OctoPrint 2.0: the same lines, what OctoPrint shows of it, and nothing written down."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.leak_scan import Secret, memory_beside
from support.licensed_printer import START_SCRIPT, Issue, Printer
from support.node import ROOT
from support.octoprint import OctoPrint, gcode_lines, wait_for
from support.octoprint_socket import Listener, listening

RECORDING = ("serial.rec", "plugin_virtual_printer_serial.log")
OCTOPRINTS_OWN = ("M400", "M114", "M110 N0")
EXAMPLE = next((ROOT / "examples" / "cable-clip").glob("*.gcode"))


@pytest.fixture
def logged(printer: Printer) -> Iterator[OctoPrint]:
    """With serial.log, which belongs to the serial connector now."""
    octoprint = printer.octoprint

    def log(on: bool) -> None:
        octoprint.post("/api/settings", plugins={"serial_connector": {"log": on}}).raise_for_status()

    log(True)
    yield octoprint
    log(False)


@pytest.fixture
def browser(logged: OctoPrint) -> Iterator[Listener]:
    with listening(logged) as listener:
        yield listener


def test_the_gate_is_in_place(printer: Printer) -> None:
    gate = printer.octoprint.get("/plugin/imprimatur/setup")["gate"]
    assert gate["layers"] == {"http": True, "printer": True, "lines": True}
    assert (gate["ok"], gate["problem"], gate["policy"]) == (True, None, "licensed_only")


def test_every_line_of_an_example_reaches_the_printer_in_order(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license = issue(data=EXAMPLE.read_bytes())
    mark = octoprint.mark()
    id = octoprint.print_license(license.id).json()["job"]["id"]
    assert octoprint.wait_for_state(id, "FINISHED", "FAILED", "KEYED")["state"] == "FINISHED"
    assert octoprint.received(mark) == [START_SCRIPT, *gcode_lines(EXAMPLE.read_text()), "M400"]
    assert printer.used(license.id) == 1


def test_nothing_of_it_is_anywhere_and_it_pauses_as_any_job(
    printer: Printer, issue: Issue, logged: OctoPrint, browser: Listener
) -> None:
    secret = Secret(lines=1000)
    lines = secret.data.decode().splitlines()
    middle = lines.index(secret.lines[500])
    license = issue(data="\n".join([*lines[:middle], "@pause", *lines[middle:], ""]).encode())
    mark = logged.mark()
    id = logged.print_license(license.id).json()["job"]["id"]
    wait_for("It pauses in the middle", lambda: logged.state() == "Paused", 120)

    job = logged.get("/api/job")
    assert (job["job"]["file"]["display"], job["job"]["estimatedPrintTime"]) == ("clip.gcode", 540)
    assert job["job"]["file"]["size"] == len(secret.data) + len("@pause\n")
    assert 0 < job["progress"]["completion"] < 100
    refused = logged.post("/api/job", command="restart")
    assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "restart_refused")

    def on_disk() -> list[tuple[Path, bytes]]:
        folders = [logged.basedir, *memory_beside(logged.basedir)]
        return secret.on_disk(logged.pid, *folders, but=RECORDING)

    assert on_disk() == []
    logged.post("/api/job", command="pause", action="resume")
    assert logged.wait_for_state(id, "FINISHED", "FAILED", timeout=120)["state"] == "FINISHED"
    logged.wait_until_operational()
    received = [line for line in logged.received(mark) if not line.startswith(OCTOPRINTS_OWN)]
    assert received == [START_SCRIPT, "M104 S50", "G28", "M83", *secret.lines]
    assert on_disk() == []
    assert secret.in_bytes("\n".join(browser.frames).encode()) is None
    terminal = browser.terminal()
    assert "Lines of a licensed job aren't shown here." in terminal
    assert not [line for line in terminal if line.startswith(">>>") and "G1 " in line]
    wait_for("The placeholder is gone", lambda: not list((logged.basedir / "uploads").glob("licensed-*")))


def test_the_search_finds_what_isnt_confidential(logged: OctoPrint, browser: Listener) -> None:
    own = Secret(lines=20, first=5000)
    logged.command(own.lines[0])
    wait_for("The terminal shows it", lambda: own.in_bytes("\n".join(browser.frames).encode()))
    folders = [logged.basedir, *memory_beside(logged.basedir)]
    found = own.on_disk(logged.pid, *folders, but=RECORDING)
    assert {path.resolve().name for path, _ in found} == {"serial.log"}
