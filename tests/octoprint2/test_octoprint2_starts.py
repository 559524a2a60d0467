"""The start paths on OctoPrint 2.0: those of version 1, and those it brought."""

from collections.abc import Iterator
from typing import Any

import pytest
from plugin.start_paths import FREE, PATHS, How, StartPath, api, check_prints, check_refused, prepare

from support.licensed_printer import Printer
from support.octoprint import OctoPrint, wait_for


def by_connector(command: str) -> How:
    def start(octoprint: OctoPrint) -> Any:
        return octoprint.post("/api/plugin/quiet_connector", command=command, path="free.gcode")

    return start


def move_to_card(octoprint: OctoPrint) -> Any:
    octoprint.upload("moved.gcode", FREE)
    return octoprint.post(
        "/api/files/local/moved.gcode", command="move", storage="printer", destination="moved.gco"
    )


NEW = (
    StartPath("plugin: set_job", by_connector("set_job"), "start", "start_refused", "file"),
    StartPath("plugin: connection.start_print", by_connector("connection"), "start", "start_refused", "file"),
    StartPath("plugin: add_file to the card", by_connector("card"), "start", "sd_refused", "stored"),
    StartPath(
        "card: copy from storage to storage",
        api("/api/files/local/free.gcode", command="copy", storage="printer", destination="copied.gco"),
        "request",
        "sd_refused",
        "stored",
    ),
    StartPath("card: move from storage to storage", move_to_card, "request", "sd_refused", "stored"),
)
BROKEN = {"plugin: add_sd_file"}
"""Doesn't work in the release candidate: it takes the path on the disk as the name on the card."""

both = pytest.mark.parametrize("path", [*NEW, *PATHS], ids=lambda path: path.name)
working = pytest.mark.parametrize(
    "path", [path for path in (*NEW, *PATHS) if path.name not in BROKEN], ids=lambda path: path.name
)


@pytest.fixture(scope="module")
def prepared(shared_printer: Printer) -> None:
    prepare(shared_printer.octoprint)


@pytest.fixture
def octoprint(prepared: None, printer: Printer) -> OctoPrint:
    return printer.octoprint


@both
def test_nothing_of_an_unlicensed_print_reaches_the_printer(octoprint: OctoPrint, path: StartPath) -> None:
    check_refused(octoprint, path)


def reconnect(octoprint: OctoPrint) -> None:
    octoprint.post("/api/connection", command="disconnect").raise_for_status()
    wait_for("It is disconnected", lambda: octoprint.state() == "Offline")
    octoprint.post("/api/connection", command="connect", port="VIRTUAL", baudrate=115200).raise_for_status()
    octoprint.wait_until_operational()
    wait_for("The card is read", lambda: octoprint.get(f"/api/files/{octoprint.card}")["files"], 15)


@pytest.fixture(scope="module")
def control(without_plugin: OctoPrint) -> Iterator[OctoPrint]:
    prepare(without_plugin)
    return without_plugin


@working
def test_control_without_the_plugin_it_prints(control: OctoPrint, path: StartPath) -> None:
    if path.prints == "card":
        # The release candidate selects one file of the card for each connection.
        reconnect(control)
    check_prints(control, path)
