"""A confidential print of 3000 lines on a real OctoPrint with serial.log on: nothing of it is anywhere.

Looked at: each file below the base folder and in the folders for temporary files, open ones that were
deleted, archives, what a browser is sent, what OctoPrint offers for download, and a backup made meanwhile.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import START_SCRIPT, Issue, Printer
from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import format_id
from support.delivery_portal import DeliveryPortal
from support.leak_scan import MEMORY, Secret, memory_beside
from support.octoprint import OctoPrint, wait_for
from support.octoprint_socket import Listener, listening

RECORDING = ("serial.rec", "plugin_virtual_printer_serial.log")
"""What the tests themselves and the virtual printer, which is the printer, record behind OctoPrint's back."""
NOTE = "Lines of a licensed job aren't shown here."
MIDDLE = 1500
OCTOPRINTS_OWN = ("M400", "M114", "M110 N0")


@pytest.fixture
def logged(printer: Printer) -> Iterator[OctoPrint]:
    """With serial.log."""
    octoprint = printer.octoprint
    wait_for("The last job is put away", lambda: octoprint.get("/api/job")["job"]["file"]["name"] is None)
    octoprint.post("/api/settings", serial={"log": True}).raise_for_status()
    yield octoprint
    octoprint.post("/api/settings", serial={"log": False}).raise_for_status()


@pytest.fixture
def browser(logged: OctoPrint) -> Iterator[Listener]:
    with listening(logged) as listener:
        yield listener


def on_disk(octoprint: OctoPrint, secret: Secret) -> list[tuple[Path, bytes]]:
    """Temporary files lie below the base folder too."""
    folders = [octoprint.basedir, *memory_beside(octoprint.basedir)]
    return secret.on_disk(octoprint.pid, *folders, but=RECORDING)


def downloads(octoprint: OctoPrint) -> dict[str, bytes]:
    """Every local file that OctoPrint lists, and every backup, by name, as it gives them out."""
    found = {}
    for file in octoprint.get("/api/files/local?recursive=true")["files"]:
        path = file["refs"]["download"].removeprefix(octoprint.url)
        found[file["name"]] = octoprint.request("GET", path).content
    for backup in octoprint.get("/plugin/backup/")["backups"]:
        found[backup["name"]] = octoprint.request("GET", backup["url"].removeprefix(octoprint.url)).content
    return found


def back_up(octoprint: OctoPrint) -> str:
    """Name of a new backup."""
    before = {backup["name"] for backup in octoprint.get("/plugin/backup/")["backups"]}
    octoprint.post("/plugin/backup/backup", exclude=[]).raise_for_status()

    def new() -> str | None:
        names = {backup["name"] for backup in octoprint.get("/plugin/backup/")["backups"]}
        busy = octoprint.get("/plugin/backup/")["backup_in_progress"]
        return None if busy else next(iter(names - before), None)

    return wait_for("The backup is made", new, 60)


def test_the_search_finds_what_isnt_confidential(logged: OctoPrint, browser: Listener) -> None:
    own = Secret(lines=20, first=5000)
    logged.upload("own.gcode", own.data.decode())
    try:
        with tempfile.NamedTemporaryFile(dir=MEMORY) as in_memory:
            in_memory.write(own.data)
            in_memory.flush()
            assert [path for path, _ in on_disk(logged, own)][1:] == [Path(in_memory.name)]
        assert [path.name for path, _ in on_disk(logged, own)] == ["own.gcode"]
        name = back_up(logged)
        assert own.in_bytes(downloads(logged)["own.gcode"])
        backups = logged.basedir / "data" / "backup"
        assert own.in_file(backups / name, RECORDING)
        logged.command(own.lines[0])
        wait_for("The terminal shows it", lambda: own.in_bytes("\n".join(browser.frames).encode()))
        echo = own.lines[0].removeprefix("M117 ")
        wait_for("The echo too", lambda: f"Recv: echo:{echo}" in browser.terminal())
        places = {path.resolve().name for path, _ in on_disk(logged, own)}
        assert places == {"own.gcode", name, "serial.log"}
    finally:
        logged.request("DELETE", "/api/files/local/own.gcode")


def test_a_licensed_file_of_the_operators_own_is_shown_as_ever(
    printer: Printer, portal: DeliveryPortal, owner: KeySigner, logged: OctoPrint, browser: Listener
) -> None:
    own = Secret(lines=60, first=6000)
    portal.devices.add(printer.address)
    hash = hashlib.sha256(own.data).hexdigest()
    id = printer.chain.issue(owner, printer.address, hash, 1, "O-1")
    logged.upload("mine.gcode", own.data.decode())
    earlier = len(browser.terminal())
    try:
        wait_for("It is found", lambda: [c for c in logged.licenses()["licenses"] if c["files"]])
        job = logged.print_license(id, copy=1, file="mine.gcode").json()["job"]
        assert logged.wait_for_state(job["id"], "FINISHED", "FAILED", "ABANDONED")["state"] == "FINISHED"
        wait_for("The terminal shows its end", lambda: own.lines[-1] in "\n".join(browser.terminal()))
        shown = "\n".join(browser.terminal())
        assert [line for line in own.lines if f" {line}*" not in shown] == []
        assert own.in_file(logged.basedir / "logs" / "serial.log")
        assert NOTE not in browser.terminal()[earlier:]
    finally:
        wait_for("It is put away", lambda: logged.get("/api/job")["job"]["file"]["name"] is None)
        logged.request("DELETE", "/api/files/local/mine.gcode")


def test_nothing_of_a_confidential_print_is_anywhere(
    printer: Printer, issue: Issue, logged: OctoPrint, browser: Listener
) -> None:
    secret = Secret(lines=3000)
    first, second = secret.lines[:MIDDLE], secret.lines[MIDDLE:]
    lines = secret.data.decode().splitlines()
    middle = lines.index(second[0])
    data = "\n".join([*lines[:middle], "@pause", *lines[middle:], ""]).encode()
    license = issue(data=data)
    mark, earlier = logged.mark(), len(browser.terminal())
    id = logged.print_license(license.id).json()["job"]["id"]
    wait_for("It pauses in the middle", lambda: logged.state() == "Paused", 120)

    assert on_disk(logged, secret) == []
    backup = back_up(logged)
    given = downloads(logged)
    assert {f"licensed-{id}.gcode", backup} <= set(given)
    assert [name for name, content in given.items() if secret.in_bytes(content)] == []
    for path in ("/api/job", f"/api/files/local/licensed-{id}.gcode", "/plugin/imprimatur/jobs"):
        assert secret.in_bytes(logged.request("GET", path).content) is None
    assert on_disk(logged, secret) == []

    logged.command("!!DEBUG:trigger_resend_checksum")
    logged.post("/api/job", command="pause", action="resume")
    job = logged.wait_for_state(id, "FINISHED", "FAILED", timeout=120)
    assert job["state"] == "FINISHED"
    logged.wait_until_operational()
    received = [line for line in logged.received(mark) if not line.startswith(OCTOPRINTS_OWN)]
    begin = ["M104 S50", "G28", "M83"]
    assert [line for line in received if "DEBUG" not in line] == [START_SCRIPT, *begin, *first, *second]

    assert on_disk(logged, secret) == []
    shown = "\n".join(browser.frames).encode()
    assert secret.in_bytes(shown) is None
    with listening(logged) as late:
        assert secret.in_bytes("\n".join(late.frames).encode()) is None
    terminal = browser.terminal()[earlier:]
    assert NOTE in terminal
    assert any("Recv: Resend:" in line for line in terminal), "a line was asked for once more"
    since = terminal[terminal.index(NOTE) :]
    assert not [line for line in since if line.startswith("Send:") and "G1 " in line]
    serial_log = (logged.basedir / "logs" / "serial.log").read_text()
    assert START_SCRIPT in serial_log, "serial.log is on"
    assert "Resend" in serial_log


def test_time_and_progress_are_shown_as_for_any_job(
    issue: Issue, portal: DeliveryPortal, logged: OctoPrint, browser: Listener
) -> None:
    lines = Secret(lines=1200, first=7000).data.decode().splitlines()
    license = issue(data="\n".join([*lines[:600], "@pause", *lines[600:], ""]).encode())
    id = logged.print_license(license.id).json()["job"]["id"]
    wait_for("It pauses in the middle", lambda: logged.state() == "Paused")
    wait_for("That is shown", lambda: browser.completions())
    job = logged.get("/api/job")["job"]
    assert (job["estimatedPrintTime"], job["file"]["display"]) == (540, "clip.gcode")
    stub = logged.request("GET", f"/downloads/files/local/licensed-{id}.gcode").text
    assert all(line.startswith(";") for line in stub.splitlines())
    assert "thumbnail begin 1x1" in stub
    logged.post("/api/job", command="pause", action="resume")
    assert logged.wait_for_state(id, "FINISHED", "FAILED")["state"] == "FINISHED"
    logged.wait_until_operational()
    wait_for("The end is shown", lambda: browser.completions()[-1] == 100)
    shown = browser.completions()
    assert shown == sorted(shown)
    assert 0 < shown[0] < 100
    uploads = logged.basedir / "uploads"
    wait_for("The placeholder is gone", lambda: not list(uploads.glob("licensed-*")))
    record = (logged.basedir / "data" / "imprimatur" / "telemetry" / f"{id}.json").read_bytes()
    assert (json.loads(record)["lines"], json.loads(record)["outcome"]) == (1204, "finished")
    told = portal.outcomes
    wait_for(
        "Its hash is told", lambda: hashlib.sha256(record).hexdigest() in json.dumps(list(told.values()))
    )
    of_job = {
        name
        for name, payload in browser.events()
        if payload and payload.get("name") == f"licensed-{id}.gcode"
    }
    assert {"PrintStarted", "PrintDone", "FileSelected"} <= of_job
    wait_for("Ours came too", lambda: len(browser.events("plugin_imprimatur_")) == 8)
    ours = browser.events("plugin_imprimatur_")
    steps = ["picked", "downloaded", "verified", "consumed", "keyed", "armed", "printing", "finished"]
    assert [name.removeprefix("plugin_imprimatur_") for name, _ in ours] == steps
    assert ours[-1][1] == {
        "job": id,
        "license": format_id(license.id),
        "number": ours[0][1]["number"],
        "name": "clip.gcode",
        "copy": 1,
        "copies": 1,
    }


def reconnect(octoprint: OctoPrint) -> None:
    octoprint.post("/api/connection", command="disconnect").raise_for_status()
    octoprint.post("/api/connection", command="connect").raise_for_status()
    octoprint.wait_until_operational()


def tell(octoprint: OctoPrint, command: str) -> None:
    octoprint.post("/api/plugin/line_watcher", command=command).raise_for_status()


def test_nothing_is_paid_beside_a_plugin_that_sees_lines(printer: Printer, issue: Issue) -> None:
    octoprint = printer.octoprint
    license = issue()

    def refusal() -> dict | None:
        answer = octoprint.print_license(license.id)
        return answer.json()["reason"] if answer.status_code == 409 else None

    tell(octoprint, "watch")
    try:
        reason = refusal()
        assert reason is not None
        assert (reason["key"], reason["values"]) == ("foreign_hooks", {"plugins": "Line watcher"})
        reconnect(octoprint)
    finally:
        tell(octoprint, "rest")
    reason = refusal()
    assert reason is not None, "the connection still shows it each line"
    assert reason["values"] == {"plugins": "Line watcher"}
    assert printer.used(license.id) == 0
    reconnect(octoprint)
    id = octoprint.print_license(license.id).json()["job"]["id"]
    assert octoprint.wait_for_state(id, "FINISHED", "FAILED", "ABANDONED")["state"] == "FINISHED"


@pytest.fixture
def filming(printer: Printer) -> Iterator[OctoPrint]:
    """With a camera that OctoPrint takes for one, and timelapses of every print."""
    octoprint = printer.octoprint

    def configure(snapshot: str, ffmpeg: str, type: str) -> None:
        camera = {"snapshot": snapshot}
        octoprint.post(
            "/api/settings", webcam={"ffmpegPath": ffmpeg}, plugins={"classicwebcam": camera}
        ).raise_for_status()
        octoprint.post("/api/timelapse", type=type, interval=10, save=True).raise_for_status()

    configure("http://127.0.0.1:1/none.jpg", "/bin/true", "timed")
    yield octoprint
    configure("", "", "off")


def test_no_timelapse_of_a_confidential_print(filming: OctoPrint, issue: Issue) -> None:
    def kind() -> str:
        return str(filming.get("/api/timelapse")["config"]["type"])

    assert kind() == "timed"
    license = issue(data=b"G28\nM83\nG1 X1 E1\nM0\nG1 X2 E1\n")
    id = filming.print_license(license.id).json()["job"]["id"]
    wait_for("It pauses", lambda: filming.state() == "Paused")
    assert kind() == "off"
    filming.post("/api/job", command="pause", action="resume")
    filming.wait_for_state(id, "FINISHED")
    wait_for("It films again", lambda: kind() == "timed")


def test_a_crash_of_octoprint_would_write_no_core(printer: Printer) -> None:
    limits = Path(f"/proc/{printer.octoprint.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4] == "0"
