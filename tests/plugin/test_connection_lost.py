"""The connection to the printer ends in the middle: the copy counts as far as the part had come."""

from collections.abc import Callable, Iterator

import pytest

from support.licensed_printer import Issue, Printer
from support.octoprint import OctoPrint, wait_for

BEGIN = b"G28\nM83\n"
WAITS = b"".join(b"G1 X%d\nG4 P200\n" % i for i in range(25))
FEEDS = b"".join(b"G1 X%d E0.01\nG4 P200\n" % i for i in range(25))


def unplugged(octoprint: OctoPrint) -> None:
    octoprint.post("/api/connection", command="disconnect").raise_for_status()


def stopped(octoprint: OctoPrint) -> None:
    """The emergency stop, after which OctoPrint closes the connection as a failed one."""
    octoprint.command("M112").raise_for_status()


@pytest.fixture
def octoprint(printer: Printer) -> Iterator[OctoPrint]:
    yield printer.octoprint
    if not printer.octoprint.operational():
        printer.octoprint.post("/api/connection", command="connect").raise_for_status()
        printer.octoprint.wait_until_operational()


@pytest.mark.parametrize(
    ("how", "data", "state", "pauses", "end", "message"),
    [
        (stopped, BEGIN + WAITS + FEEDS, "ARMED", False, "KEYED", "failed_early"),
        (unplugged, BEGIN + WAITS + FEEDS, "ARMED", True, "KEYED", "failed_early"),
        (unplugged, BEGIN + FEEDS, "PRINTING", False, "FAILED", "print_failed"),
        (stopped, BEGIN + FEEDS, "PRINTING", True, "FAILED", "print_failed"),
    ],
)
def test_the_job_ends_and_the_printer_is_free(
    octoprint: OctoPrint,
    issue: Issue,
    how: Callable[[OctoPrint], None],
    data: bytes,
    state: str,
    pauses: bool,
    end: str,
    message: str,
) -> None:
    license = issue(data=data + b"; %s %s\n" % (how.__name__.encode(), state.encode()))
    id = octoprint.print_license(license.id).json()["job"]["id"]
    octoprint.wait_for_state(id, state)
    if pauses:
        octoprint.post("/api/job", command="pause", action="pause").raise_for_status()
        wait_for("It is paused", lambda: octoprint.state() == "Paused", 20)
    how(octoprint)
    job = octoprint.wait_for_state(id, "KEYED", "FAILED", "FINISHED")
    assert (job["state"], job["message"]["key"]) == (end, message)

    octoprint.post("/api/connection", command="connect").raise_for_status()
    octoprint.wait_until_operational()
    wait_for("The placeholder is gone", lambda: octoprint.get("/api/files/local")["files"] == [])
    job = octoprint.print_license(issue().id).json()["job"]
    assert octoprint.wait_for_state(job["id"], "FINISHED", "FAILED", "ABANDONED")["state"] == "FINISHED"
