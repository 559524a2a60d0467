"""Connectors that show no line to anybody: OctoPrint 2.0 lets plugins bring their own."""

from collections.abc import Iterator

import pytest

from octoprint_imprimatur import connections
from support.licensed_printer import Issue, Printer
from support.octoprint import OctoPrint, wait_for

FREE = "G28\nG1 X1 Y1 E1\n"
VERSION_2 = {"X-OctoPrint-Api-Version": "2.0.0"}


def quiet(octoprint: OctoPrint, command: str, **data: object) -> None:
    assert octoprint.post("/api/plugin/quiet_connector", command=command, **data).status_code == 204


def seen(octoprint: OctoPrint) -> list[str]:
    """What the quiet connector was told to do."""
    log = octoprint.basedir / "quiet.log"
    return log.read_text().splitlines() if log.exists() else []


def disconnect(octoprint: OctoPrint) -> None:
    octoprint.post("/api/connection", command="disconnect")
    wait_for("It is disconnected", lambda: octoprint.state() == "Offline")


def by_request(octoprint: OctoPrint) -> None:
    body = {"command": "connect", "connector": "quiet", "parameters": {}}
    answer = octoprint.request("POST", "/api/connection", json=body, headers=VERSION_2)
    assert answer.status_code == 204, answer.text


def by_plugin(octoprint: OctoPrint) -> None:
    quiet(octoprint, "connect", connector="quiet")


def masked_as_serial(octoprint: OctoPrint) -> None:
    quiet(octoprint, "mask")
    quiet(octoprint, "connect", connector="serial")


class BrokenGate:
    """Whose settings can't be read, and who can't tell anybody."""

    @property
    def policy(self) -> str:
        raise RuntimeError("no settings")

    def tell(self, message: object) -> None:
        raise RuntimeError("nobody listens")


def test_what_cant_be_judged_isnt_connected() -> None:
    connects = connections.guard(BrokenGate())
    assert connects(None, connector="quiet", parameters={}, profile=None) is True
    # Here the serial connector's plugin isn't loaded, so nothing is known about a class of that name.
    assert connects(None, connector="serial") is True
    assert connects(None) is True


WAYS = [by_request, by_plugin, masked_as_serial]


@pytest.fixture
def offline(request: pytest.FixtureRequest) -> Iterator[OctoPrint]:
    """Disconnected, with a file to print; connected as ever afterwards."""
    octoprint: OctoPrint = request.getfixturevalue(request.param)
    octoprint = octoprint.octoprint if isinstance(octoprint, Printer) else octoprint
    octoprint.wait_until_operational()
    octoprint.upload("free.gcode", FREE)
    (octoprint.basedir / "quiet.log").unlink(missing_ok=True)
    disconnect(octoprint)
    yield octoprint
    quiet(octoprint, "unmask")
    if octoprint.state() != "Offline":
        disconnect(octoprint)
    octoprint.post("/api/connection", command="connect", port="VIRTUAL", baudrate=115200)
    octoprint.wait_until_operational()


@pytest.mark.parametrize("connect", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("offline", ["printer"], indirect=True)
def test_only_the_serial_connector_connects(offline: OctoPrint, connect) -> None:
    connect(offline)
    quiet(offline, "set_job", path="free.gcode")
    assert seen(offline) == []
    assert offline.state() == "Offline"
    assert "wasn't opened" in offline.log()


@pytest.mark.parametrize("connect", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("offline", ["without_plugin"], indirect=True)
def test_control_without_the_plugin_it_prints_through_any(offline: OctoPrint, connect) -> None:
    connect(offline)
    wait_for("It is connected", lambda: seen(offline) == ["connected"])
    quiet(offline, "set_job", path="free.gcode")
    wait_for("It prints", lambda: seen(offline) == ["connected", "printed free.gcode"])


def set_policy(octoprint: OctoPrint, policy: str) -> None:
    answer = octoprint.post("/api/plugin/print_starter", command="policy", policy=policy)
    assert answer.status_code == 204, answer.text


@pytest.mark.parametrize("offline", ["printer"], indirect=True)
def test_where_own_files_may_be_printed_it_connects_but_prints_no_licensed_job(
    offline: OctoPrint, issue: Issue
) -> None:
    license = issue()
    set_policy(offline, "licensed_and_free")
    try:
        by_request(offline)
        quiet(offline, "set_job", path="free.gcode")
        wait_for("It prints", lambda: seen(offline) == ["connected", "printed free.gcode"])
        refused = offline.print_license(license.id)
        assert (refused.status_code, refused.json()["reason"]["key"]) == (409, "connector_unusable")
        changed = offline.post("/plugin/imprimatur/setup/policy", policy="licensed_only")
        assert (changed.status_code, changed.json()["reason"]["key"]) == (409, "connector_in_use")
    finally:
        set_policy(offline, "licensed_only")


def test_after_all_that_a_licensed_print_works(printer: Printer, issue: Issue) -> None:
    license = issue()
    mark = printer.octoprint.mark()
    id = printer.octoprint.print_license(license.id).json()["job"]["id"]
    assert printer.octoprint.wait_for_state(id, "FINISHED", "FAILED", "KEYED")["state"] == "FINISHED"
    assert [line for line in printer.octoprint.received(mark) if line in license.lines] == license.lines
