"""OctoPrint's own settings open no way past the gate: commands that it sends at once, around its queue."""

from collections.abc import Iterator

import pytest
from start_paths import by_plugin, seen, settle

from octoprint_imprimatur.policy import TURNS
from support.licensed_printer import Issue, Printer
from support.octoprint import OctoPrint, wait_for
from support.octoprint_socket import listening

NOTE = "Lines of a licensed job aren't shown here."
STOCK = ["M112", "M108", "M410"]


def send_at_once(octoprint: OctoPrint, commands: list[str]) -> None:
    """Settings → Serial Connection → Emergency commands; a connection has those of when it was made."""
    answer = octoprint.post("/api/settings", serial={"emergencyCommands": commands})
    assert answer.status_code == 200, answer.text
    for command in ("disconnect", "connect"):
        octoprint.post("/api/connection", command=command).raise_for_status()
    octoprint.wait_until_operational()


@pytest.fixture
def hasty(printer: Printer) -> Iterator[OctoPrint]:
    """Moves leave at once."""
    send_at_once(printer.octoprint, [*STOCK, "G0", "G1"])
    yield printer.octoprint
    printer.octoprint.post("/api/job", command="cancel")
    printer.octoprint.wait_until_operational()
    send_at_once(printer.octoprint, STOCK)


def test_a_move_that_leaves_at_once_uses_the_copy_up(hasty: OctoPrint, issue: Issue) -> None:
    """Else the print could be cancelled before its end and made again, as often as one likes."""
    license = issue(data=b"G28\nM83\n" + b"".join(b"G1 X%d E0.01\nG4 P200\n" % i for i in range(30)))
    mark = hasty.mark()
    with listening(hasty) as browser:
        id = hasty.print_license(license.id).json()["job"]["id"]
        wait_for("The part begins", lambda: license.lines[2] in hasty.received(mark), 30)
        assert "Force-sending G1 to the printer" in hasty.log()
        hasty.post("/api/job", command="cancel").raise_for_status()
        job = hasty.wait_for_state(id, "FAILED", "KEYED", "FINISHED")
        assert (job["state"], job["message"]["key"]) == ("FAILED", "cancelled")
        wait_for("The terminal says so", lambda: NOTE in browser.terminal())
        assert not [line for line in browser.terminal() if license.lines[2] in line]


def test_a_print_that_is_taken_apart_ends_soon(hasty: OctoPrint) -> None:
    by_plugin("forget")(hasty)
    mark = hasty.mark()
    parts = [line for i in range(2 * TURNS) for line in (f"G1 X{i}.25", "G1 E0.1")]
    assert hasty.command(*parts).status_code == 204
    wait_for("It is told", lambda: "move_refused" in seen(hasty)["refused"], 10)
    settle(hasty)
    assert hasty.received(mark).count("G1 E0.1") <= TURNS
