"""Own files beside licensed jobs: `licensed_and_free`; and what counts when the settings don't say."""

from collections.abc import Iterator

import pytest
from start_paths import (
    CARD_MOVES,
    PATHS,
    StartPath,
    by_plugin,
    check_prints,
    check_refused,
    clean,
    prepare,
    seen,
    settle,
    slowly,
    typed,
)

from conftest import START_SCRIPT, Issue, Printer
from octoprint_imprimatur.policy import LICENSED_AND_FREE, LICENSED_ONLY
from support.octoprint import OctoPrint, wait_for

WAYS = {path.name: path for path in PATHS}
START = WAYS["plugin: start_print"]


def set_policy(octoprint: OctoPrint, policy: object) -> None:
    by_plugin("policy", policy=policy)(octoprint)


@pytest.fixture(scope="module")
def prepared(shared_printer: Printer) -> Iterator[None]:
    prepare(shared_printer.octoprint)
    yield
    clean(shared_printer.octoprint)


@pytest.fixture
def closed(prepared: None, printer: Printer) -> Iterator[OctoPrint]:
    yield printer.octoprint
    set_policy(printer.octoprint, LICENSED_ONLY)


@pytest.fixture
def free(closed: OctoPrint) -> OctoPrint:
    set_policy(closed, LICENSED_AND_FREE)
    return closed


def slow_part(moves: int) -> bytes:
    return b"G28\nM83\n" + b"".join(b"G1 X%d E0.01\nG4 P100\n" % i for i in range(moves))


@pytest.mark.parametrize("path", [path for path in PATHS if not path.confuses], ids=lambda path: path.name)
def test_own_files_are_untouched(free: OctoPrint, path: StartPath) -> None:
    by_plugin("forget")(free)
    check_prints(free, path)
    assert seen(free)["refused"] == []


@pytest.mark.parametrize("value", [None, "", "free", "LICENSED_AND_FREE", True, 1, ["licensed_and_free"], {}])
def test_what_isnt_understood_is_closed(closed: OctoPrint, value: object) -> None:
    set_policy(closed, value)
    assert seen(closed)["gate"]["policy"] == LICENSED_ONLY
    check_refused(closed, START)


def test_settings_that_cant_be_read_are_closed(free: OctoPrint) -> None:
    by_plugin("sabotage", what="settings")(free)
    try:
        assert seen(free)["gate"]["policy"] == LICENSED_ONLY
        check_refused(free, START)
        check_refused(free, WAYS["plugin: MachineCom.startPrint(comm)"])
    finally:
        by_plugin("repair")(free)
    check_prints(free, START)


def test_an_own_print_that_has_begun_runs_to_its_end(free: OctoPrint) -> None:
    mark = free.mark()
    free.upload("slow.gcode", slow_part(15).decode())
    by_plugin("select_and_start", path="slow.gcode")(free)
    wait_for("It prints", lambda: free.state() == "Printing", 10, 0.02)
    set_policy(free, LICENSED_ONLY)
    typed("!!DEBUG:action_custom start")(free)
    assert free.post("/api/job", command="pause", action="pause").status_code == 204
    wait_for("It is paused", lambda: free.state() == "Paused", 10, 0.02)
    by_plugin("restart")(free)
    assert free.post("/api/job", command="pause", action="resume").status_code == 204
    settle(free)
    assert len([line for line in free.received(mark) if line.startswith("G1 X")]) == 15
    for way in (
        "plugin: start_print",
        "plugin: comm.startPrint",
        "plugin: MachineCom.startPrint(comm)",
        "select, then start",
    ):
        check_refused(free, WAYS[way])


def test_an_own_print_from_the_card_runs_to_its_end_too(free: OctoPrint) -> None:
    by_plugin("forget")(free)
    moves = seen(free)["moves"]
    with slowly(free, 0.005):
        WAYS["printer: card print at its display"].how(free)
        wait_for("It has told where it is", lambda: seen(free)["moves"] > moves + 200, 20)
        set_policy(free, LICENSED_ONLY)
        wait_for("It is done", lambda: seen(free)["moves"] == moves + CARD_MOVES, 30)
    settle(free)
    assert seen(free)["refused"] == []
    check_refused(free, WAYS["printer: card print at its display"])


def test_nothing_gets_between_the_lines_of_a_licensed_job(free: OctoPrint, issue: Issue) -> None:
    license = issue(data=slow_part(25))
    id = free.print_license(license.id).json()["job"]["id"]
    free.wait_for_state(id, "PRINTING")
    mark = free.mark()
    for command in ("G1 X5 Y5 E1", "M24", "M23 a.gco"):
        assert free.command(command).status_code == 409
    by_plugin("commands", lines=["G1 X6 Y6 E1", "M24"])(free)

    assert free.post("/api/job", command="pause", action="pause").status_code == 204
    wait_for("It is paused", lambda: free.state() == "Paused", 10, 0.02)
    refused = free.post("/api/job", command="restart")
    assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "restart_refused")
    by_plugin("forget")(free)
    by_plugin("restart")(free)
    typed("!!DEBUG:action_custom start")(free)
    wait_for("It is told", lambda: "restart_refused" in seen(free)["refused"], 10)
    assert free.state() == "Paused"
    assert free.post("/api/job", command="pause", action="resume").status_code == 204
    assert free.wait_for_state(id, "FINISHED", "FAILED", "KEYED")["state"] == "FINISHED"
    received = free.received(mark)
    assert not {"G1 X5 Y5 E1", "G1 X6 Y6 E1", "M24", "M23 a.gco"} & set(received)
    assert license.lines[-1] in received
    settle(free)
    check_prints(free, START)


@pytest.mark.parametrize("by", ["terminal", "own file"])
def test_nothing_licensed_begins_while_the_card_is_written(
    free: OctoPrint, issue: Issue, printer: Printer, by: str
) -> None:
    """The printer would keep the licensed lines on its card, to be printed as often as one likes."""
    license = issue()
    if by == "terminal":
        assert free.command("M28 stolen-by-terminal.gco").status_code == 204
    else:
        free.upload("to-card.gcode", "G28\nM28 stolen-by-a-file.gco\n")
        by_plugin("select_and_start", path="to-card.gcode")(free)
    wait_for("It is written", lambda: list(printer.octoprint.basedir.rglob("stolen-by-*")), 20)
    try:
        free.wait_until_operational()
        answer = free.print_license(license.id)
        assert (answer.status_code, answer.json().get("reason", {}).get("key")) == (409, "card_written")
        # An unplugged printer may go on with it as well.
        free.post("/api/connection", command="disconnect").raise_for_status()
        free.post("/api/connection", command="connect").raise_for_status()
        free.wait_until_operational()
        assert free.print_license(license.id).status_code == 409
    finally:
        # The new connection's virtual printer has no open file, and breaks when it should close one.
        free.command("M28 stolen-by-both.gco", "M29")
    job = wait_for("M29 has left", lambda: free.print_license(license.id).json().get("job"), 10)
    id = job["id"]
    assert free.wait_for_state(id, "FINISHED", "FAILED", "ABANDONED", timeout=30)["state"] == "FINISHED"
    for stolen in printer.octoprint.basedir.rglob("stolen-by-*"):
        assert license.lines[-2] not in stolen.read_text()
        stolen.unlink()


def test_a_licensed_job_isnt_printed_twice(free: OctoPrint, issue: Issue, printer: Printer) -> None:
    license = issue(copies=2)
    mark = free.mark()
    id = free.print_license(license.id).json()["job"]["id"]
    by_plugin("forget")(free)
    wait_for("It is done", lambda: free.job(id)["state"] == "FINISHED", 30, 0.01)
    for _ in range(10):
        # Right after the end, while OctoPrint still has the file, and later.
        by_plugin("restart")(free)
    settle(free)
    by_plugin("restart")(free)
    settle(free)
    received = free.received(mark)
    assert received.count(license.lines[-2]) == 1
    assert received.count(START_SCRIPT) == 1
    assert printer.used(license.id) == 1


def test_the_placeholder_of_a_licensed_job_prints_nothing(free: OctoPrint, issue: Issue) -> None:
    license = issue(data=slow_part(15))
    id = free.print_license(license.id).json()["job"]["id"]
    free.wait_for_state(id, "PRINTING")
    (stub,) = [file for file in free.get("/api/files/local")["files"] if file["path"].startswith("licensed-")]
    text = free.request("GET", f"/downloads/files/local/{stub['path']}").text
    assert not [line for line in text.splitlines() if not line.startswith(";")]
    free.wait_for_state(id, "FINISHED")
