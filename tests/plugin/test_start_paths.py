"""No other way starts a print: what really reached the printer, and control runs without the plugin."""

from collections.abc import Iterator

import pytest
from start_paths import (
    PATHS,
    StartPath,
    by_plugin,
    check_prints,
    check_refused,
    prepare,
    seen,
    settle,
    table,
)

from conftest import STARTER, Issue, write_start_script
from octoprint_imprimatur.policy import TURNS
from support.node import ROOT
from support.octoprint import OctoPrint, running_octoprint, wait_for

by_name = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)


@by_name
def test_nothing_of_an_unlicensed_print_reaches_the_printer(octoprint: OctoPrint, path: StartPath) -> None:
    check_refused(octoprint, path)


def test_a_licensed_print_works_after_all_that(octoprint: OctoPrint, issue: Issue, prepared: int) -> None:
    license = issue()
    by_plugin("comm_class")(octoprint)
    settle(octoprint)
    id = octoprint.print_license(license.id).json()["job"]["id"]
    assert octoprint.wait_for_state(id, "FINISHED", "FAILED", "CONSUMED")["state"] == "FINISHED"
    errors = [line for line in octoprint.log()[prepared:].splitlines() if " - ERROR - " in line]
    assert not [line for line in errors if "imprimatur" in line]


def test_a_print_that_is_taken_apart_ends_soon(octoprint: OctoPrint) -> None:
    by_plugin("forget")(octoprint)
    mark = octoprint.mark()
    parts = [line for i in range(3 * TURNS) for line in (f"G1 X{i}.25", "G1 E0.1")]
    assert octoprint.command(*parts).status_code == 204, "each of them may be typed"
    wait_for("It is told", lambda: "move_refused" in seen(octoprint)["refused"], 10)
    settle(octoprint)
    assert octoprint.received(mark).count("G1 E0.1") == TURNS
    by_plugin("forget")(octoprint)


def test_by_hand(octoprint: OctoPrint) -> None:
    mark = octoprint.mark()
    octoprint.post("/api/printer/printhead", command="jog", x=10)
    octoprint.post("/api/printer/tool", command="target", targets={"tool0": 60})
    octoprint.post("/api/printer/tool", command="extrude", amount=5)
    octoprint.post("/api/printer/printhead", command="home", axes=["x"])
    wait_for("All reached the printer", lambda: "G28 X0" in octoprint.received(mark), 10)
    received = " ".join(octoprint.received(mark))
    assert "G0 X10" in received
    assert "M104 S60" in received
    assert "E5" in received


@pytest.fixture(scope="module")
def without_plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OctoPrint]:
    basedir = tmp_path_factory.mktemp("control")
    write_start_script(basedir)
    with running_octoprint(basedir, {}, [STARTER], ["imprimatur"]) as octoprint:
        prepare(octoprint)
        yield octoprint


@by_name
def test_control_without_the_plugin_it_prints(without_plugin: OctoPrint, path: StartPath) -> None:
    check_prints(without_plugin, path)


def test_the_table_of_the_documentation_has_every_way() -> None:
    rows = table().splitlines()
    assert len(rows) == len(PATHS) + 2
    assert len(set(rows)) == len(rows)
    # Written anew by `python tests/plugin/start_paths.py`, with tests/ on the path.
    assert table() in (ROOT / "docs" / "gate.md").read_text()
