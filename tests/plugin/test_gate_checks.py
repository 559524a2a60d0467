"""Somebody gets between the gate and the printer: it is noticed, and no copy is used or sent."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from start_paths import (
    LINES,
    PATHS,
    START_HEAT,
    StartPath,
    by_plugin,
    check_refused,
    prepare,
    seen,
    settle,
    stored,
)

from conftest import STARTER, Issue, Printer, running_printer
from octoprint_imprimatur.compat.printer import printer_trouble
from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.messages import Message
from octoprint_imprimatur.policy import LICENSED_ONLY
from octoprint_imprimatur.printer import factory
from support.delivery_portal import DeliveryPortal
from support.node import Chain
from support.octoprint import OctoPrint, wait_for

WAYS = {path.name: path for path in PATHS}
BREAKER = Path(__file__).parent / "factory_breaker.py"


@pytest.fixture
def octoprint(octoprint: OctoPrint) -> Iterator[OctoPrint]:
    yield octoprint
    by_plugin("repair")(octoprint)


def refused(octoprint: OctoPrint, license: int) -> str:
    answer = octoprint.print_license(license)
    assert answer.status_code == 409, answer.text
    assert "%" not in answer.json()["error"]
    return str(answer.json()["reason"]["key"])


@pytest.mark.parametrize(
    ("what", "layer", "who"),
    [
        ("start", "printer", "functools: startPrint"),
        ("wrapped_start", "printer", "print_starter: startPrint"),
        ("hooks", "lines", "queuing"),
        ("last", "lines", "print_starter"),
        ("sending", "lines", "print_starter: _do_send"),
        ("at_once", "lines", "print_starter: _emergency_force_send"),
        ("requests", "http", "before_request"),
    ],
)
def test_a_plugin_that_patches_over_the_gate_is_noticed(
    octoprint: OctoPrint, issue: Issue, printer: Printer, what: str, layer: str, who: str
) -> None:
    license = issue()
    assert seen(octoprint)["gate"]["ok"]
    by_plugin("sabotage", what=what)(octoprint)
    gate = seen(octoprint)["gate"]
    assert not gate["ok"]
    assert [name for name, fine in gate["layers"].items() if not fine] == [layer]
    assert gate["problem"]["key"] == f"gate_{layer}"
    assert who in gate["problem"]["values"]["who"]
    assert refused(octoprint, license.id) == f"gate_{layer}"
    assert printer.used(license.id) == 0
    # Own files stay held back by the layers that are left.
    check_refused(octoprint, WAYS["plugin: start_print"])
    check_refused(octoprint, WAYS["plugin: comm.startPrint"]) if what != "start" else None

    by_plugin("repair")(octoprint)
    assert seen(octoprint)["gate"]["ok"]
    id = octoprint.print_license(license.id).json()["job"]["id"]
    assert octoprint.wait_for_state(id, "FINISHED", "FAILED", "KEYED")["state"] == "FINISHED"


def test_without_the_guard_lines_are_held_back_and_the_job_ends(octoprint: OctoPrint) -> None:
    by_plugin("sabotage", what="start")(octoprint)
    by_plugin("forget")(octoprint)
    mark = octoprint.mark()
    by_plugin("comm")(octoprint)
    wait_for("It is told", lambda: "start_refused" in seen(octoprint)["refused"], 10)
    settle(octoprint)
    received = octoprint.received(mark)
    assert not set(received) & {*LINES, START_HEAT}
    assert seen(octoprint)["started"], "the guard was out of the way"


def test_a_judgement_that_fails_holds_the_line_back(octoprint: OctoPrint) -> None:
    by_plugin("forget")(octoprint)
    mark = octoprint.mark()
    by_plugin("sabotage", what="judgement")(octoprint)
    octoprint.command("M117 unheard")
    wait_for("It is told", lambda: "check_failed" in seen(octoprint)["refused"], 10)
    by_plugin("repair")(octoprint)
    settle(octoprint)
    assert "M117 unheard" not in octoprint.received(mark)


def test_resume_when_a_lock_is_held_for_a_while(octoprint: OctoPrint) -> None:
    """Refusals take no lock that somebody else may hold."""
    by_plugin("sabotage", what="slowly")(octoprint)
    check_refused(octoprint, WAYS["plugin: start_print"])


def test_refusals_are_logged_and_shown_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    shown: list[Message] = []
    gate = Gate(shown.append, lambda: LICENSED_ONLY)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            gate.tell(Message("start_refused"))
        gate.tell(Message("sd_refused"))
    assert [message.key for message in shown] == ["start_refused", "sd_refused"]
    assert len(caplog.records) == 2


def test_a_gate_that_fails_while_telling_stays_shut() -> None:
    def broken(*_args: Any) -> None:
        raise RuntimeError("nobody listens")

    gate = Gate(broken, lambda: LICENSED_ONLY)
    comm: Any = SimpleNamespace(_currentFile=object(), isPrinting=lambda: False, isBusy=lambda: False)
    assert gate.refuses_start(comm)
    assert gate.refuses_start(None)
    assert gate.refuses_transfer()
    assert gate.on_queuing(None, "queuing", "G28", tags=None) == (None,)
    assert gate.on_sending(comm, "sending", "G1 X1 E1", tags={"source:file"}) == (None,)
    assert gate.on_received(None, "SD printing byte 1/2\n") == "SD printing byte 1/2\n"


def test_a_busy_connection_without_a_file_prints_no_own_one() -> None:
    gate = Gate(lambda message: None, lambda: LICENSED_ONLY)
    ended: list[bool] = []
    comm: Any = SimpleNamespace(
        _currentFile=None,
        isBusy=lambda: True,
        isCancelling=lambda: False,
        cancelPrint=lambda **_: ended.append(True),
    )
    assert gate.on_queuing(comm, "queuing", "G1 X1 E1", tags={"source:job"}) == (None,)
    wait_for("The job ends", lambda: ended, 5)


def test_a_factory_never_raises_and_another_printer_is_noticed() -> None:
    gate = Gate(lambda message: None, lambda: LICENSED_ONLY)
    assert factory(gate)({}) is None
    assert printer_trouble(SimpleNamespace(_comm=None), gate) == "types.SimpleNamespace"
    # Nobody has told it yet what to look after.
    assert gate.status()["layers"] == {"http": False, "printer": False, "lines": False}
    assert gate.may_print() is not None


# Another OctoPrint, whose printer the plugin couldn't make -------------------------------------------------


@pytest.fixture(scope="module")
def stock(
    chain: Chain, shared_portal: DeliveryPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Printer]:
    basedir = tmp_path_factory.mktemp("stock")
    with running_printer(chain, shared_portal, basedir, [STARTER, BREAKER]) as printer:
        prepare(printer.octoprint)
        yield printer


BY_LINES = [
    path
    for path in PATHS
    if path.stopped_by in ("start", "line") and path.prints in ("file", "stored") and not path.by_hand
]


@pytest.mark.parametrize("path", BY_LINES, ids=lambda path: path.name)
def test_in_stock_octoprints_printer_no_line_gets_through(stock: Printer, path: StartPath) -> None:
    octoprint = stock.octoprint
    by_plugin("forget")(octoprint)
    moves, mark = seen(octoprint)["moves"], octoprint.mark()
    path.how(octoprint)
    told = "command_refused" if path.prints == "stored" else "start_refused"
    wait_for("It is told", lambda: told in seen(octoprint)["refused"], 10)
    settle(octoprint)
    assert not set(octoprint.received(mark)) & {*LINES, START_HEAT}
    assert seen(octoprint)["moves"] == moves
    assert stored(octoprint) == []


@pytest.mark.parametrize(("line", "left"), [("M117 expand", ["M117 more"]), ("M117 turn", [])])
def test_the_gate_judges_what_other_plugins_have_made_of_a_line(
    stock: Printer, line: str, left: list[str]
) -> None:
    octoprint = stock.octoprint
    by_plugin("forget")(octoprint)
    mark = octoprint.mark()
    octoprint.command(line)
    wait_for("It is told", lambda: "command_refused" in seen(octoprint)["refused"], 10)
    settle(octoprint)
    assert octoprint.received(mark)[:-1] == left


def test_in_stock_octoprints_printer_nothing_licensed_begins(stock: Printer) -> None:
    octoprint = stock.octoprint
    gate = seen(octoprint)["gate"]
    assert gate["layers"] == {"http": True, "printer": False, "lines": True}
    assert refused(octoprint, 1) == "gate_printer"
    assert "octoprint.printer.standard" in gate["problem"]["values"]["who"]
    assert "The guarded printer couldn't be made" in octoprint.log()


def contents(folder: Path) -> dict[str, str]:
    """What lies in the plugin's data folder, by hash; SQLite's working files come and go."""
    files = [
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".db-shm", ".db-wal")
    ]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_safe_mode_takes_the_gate_away_and_every_key_with_it(stock: Printer) -> None:
    """Own files print then, as without the plugin. Nothing licensed does: what lies there is sealed."""
    octoprint = stock.octoprint
    # Nothing hurries the virtual printer in safe mode.
    octoprint.upload("own.gcode", "M117 own\n").raise_for_status()
    octoprint.stop()
    folder = octoprint.basedir / "data" / "imprimatur"
    (folder / "sealed" / "job.age").write_bytes(b"age-encryption.org/v1\n")
    before = contents(folder)
    assert {Path(name).name for name in before} >= {"printer-key.json", "jobs.db", "job.age"}
    config = octoprint.basedir / "config.yaml"
    octoprint.arguments = ["--safe"]
    octoprint.start()
    try:
        assert octoprint.request("GET", "/plugin/imprimatur/licenses").status_code == 404
        assert octoprint.print_license(1).status_code == 404
        octoprint.post("/api/files/local/own.gcode", command="select", print=True).raise_for_status()
        wait_for(
            "It is printed", lambda: "Print job done - origin: local, path: own.gcode" in octoprint.log(), 20
        )
    finally:
        octoprint.stop()
    assert contents(folder) == before
    assert "desk_address" in config.read_text()


def test_strangers_learn_nothing_about_the_gate(printer: Printer) -> None:
    answer = requests.get(f"{printer.octoprint.url}/plugin/imprimatur/setup", timeout=10)
    assert answer.status_code == 403
