"""Own files beside licensed jobs: `licensed_and_free`; and what counts when the settings don't say."""

from collections.abc import Iterator

import pytest
from start_paths import (
    CARD_MOVES,
    PATHS,
    StartPath,
    by_plugin,
    card_folder,
    check_prints,
    check_refused,
    seen,
    settle,
    slowly,
    stored,
    typed,
)

from conftest import START_SCRIPT, Issue, Printer
from octoprint_imprimatur.policy import LICENSED_AND_FREE, LICENSED_ONLY
from support.licensed_printer import long_part
from support.octoprint import OctoPrint, wait_for

WAYS = {path.name: path for path in PATHS}
START = WAYS["plugin: start_print"]


def set_policy(octoprint: OctoPrint, policy: object) -> None:
    by_plugin("policy", policy=policy)(octoprint)


@pytest.fixture
def closed(octoprint: OctoPrint) -> Iterator[OctoPrint]:
    yield octoprint
    set_policy(octoprint, LICENSED_ONLY)


@pytest.fixture
def free(closed: OctoPrint) -> OctoPrint:
    set_policy(closed, LICENSED_AND_FREE)
    return closed


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
    free.upload("slow.gcode", long_part(moves=150).decode())
    with slowly(free):
        by_plugin("select_and_start", path="slow.gcode")(free)
        wait_for("It prints", lambda: free.state() == "Printing", 10, 0.02)
        set_policy(free, LICENSED_ONLY)
        typed("!!DEBUG:action_custom start")(free)
        assert free.post("/api/job", command="pause", action="pause").status_code == 204
        wait_for("It is paused", lambda: free.state() == "Paused", 10, 0.02)
    by_plugin("restart")(free)
    assert free.post("/api/job", command="pause", action="resume").status_code == 204
    settle(free)
    assert len([line for line in free.received(mark) if line.startswith("G1 X")]) == 150
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
    license = issue(data=long_part())
    with slowly(free):
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


def test_a_licensed_file_that_writes_the_card_takes_no_other_with_it(
    free: OctoPrint, issue: Issue, printer: Printer
) -> None:
    writes = issue(data=b"G28\nM83\nG1 X1 E1\nG1 X2 E1\nM28 from-a-job.gco\nG1 X3 E1\n")
    id = free.print_license(writes.id).json()["job"]["id"]
    free.wait_for_state(id, "FINISHED")
    free.wait_until_operational()
    license = issue()
    answer = free.print_license(license.id)
    assert (answer.status_code, answer.json().get("reason", {}).get("key")) == (409, "card_written")
    assert free.command("M29").status_code == 204
    job = wait_for("M29 has left", lambda: free.print_license(license.id).json().get("job"), 10)
    assert free.wait_for_state(job["id"], "FINISHED", "FAILED", "ABANDONED")["state"] == "FINISHED"
    written = (card_folder(free) / "from-a-job.gco").read_text()
    assert "G1 X3 E1" in written
    assert license.lines[-2] not in written
    (card_folder(free) / "from-a-job.gco").unlink()


def test_a_copy_to_the_card_ends_with_its_last_line(free: OctoPrint, printer: Printer) -> None:
    """OctoPrint's own one, whose M29 comes when the last line was read: nobody has to send another."""
    marker = printer.octoprint.basedir / "data" / "imprimatur" / "card-written"
    mark = free.mark()
    WAYS["card: upload"].how(free)
    wait_for("M29 has left", lambda: "M29" in free.received(mark), 20)
    settle(free)
    assert stored(free) != []
    assert not marker.exists()
    for name in stored(free):
        (card_folder(free) / name).unlink()


@pytest.mark.parametrize("way", ["card: upload", "typed", "own file"])
def test_where_it_cant_be_kept_no_card_is_written(free: OctoPrint, printer: Printer, way: str) -> None:
    marker = printer.octoprint.basedir / "data" / "imprimatur" / "card-written"
    marker.mkdir()
    by_plugin("forget")(free)
    mark = free.mark()
    try:
        if way == "own file":
            free.upload("to-card.gcode", "M117 before\nM28 unkept.gco\nG1 X77 E1\n" + "G1 X78 E1\n" * 2000)
            by_plugin("select_and_start", path="to-card.gcode")(free)
        else:
            (typed("M28 unkept.gco") if way == "typed" else WAYS[way].how)(free)
        wait_for("It is told", lambda: "card_not_kept" in seen(free)["refused"], 20)
        settle(free)
    finally:
        marker.rmdir()
    received = free.received(mark)
    assert not [line for line in received if line.startswith("M28")]
    assert stored(free) == []
    if way == "own file":
        assert received.count("G1 X78 E1") < 2000, "what was meant for the card isn't printed"
    if way == "card: upload":
        assert not [line for line in received if line.startswith("G1")]


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
    license = issue(data=long_part())
    with slowly(free):
        id = free.print_license(license.id).json()["job"]["id"]
        free.wait_for_state(id, "PRINTING")
        files = free.get("/api/files/local")["files"]
        (stub,) = [file for file in files if file["path"].startswith("licensed-")]
        text = free.request("GET", f"/downloads/files/local/{stub['path']}").text
    assert not [line for line in text.splitlines() if not line.startswith(";")]
    free.wait_for_state(id, "FINISHED")
