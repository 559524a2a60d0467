"""The printer behind OctoPrint, where something goes wrong at the end of a print."""

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from octoprint.events import Events

from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.machine import OctoPrintMachine, _Session
from support.octoprint import wait_for


class FullDisk:
    """A runner whose journal can't be written."""

    def print_done(self, job_id: str, telemetry: bytes | None) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def print_ended(self, job_id: str, cancelled: bool) -> None:
        raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("event", [Events.PRINT_DONE, Events.PRINT_CANCELLED, Events.PRINT_FAILED])
def test_a_journal_that_cant_be_written_doesnt_keep_the_printer(event: str, tmp_path: Path) -> None:
    comm = SimpleNamespace(_currentFile=None, isBusy=lambda: False)
    printer: Any = SimpleNamespace(_comm=comm, is_ready=lambda: True)
    files: Any = SimpleNamespace(file_exists=lambda *_: False)
    machine = OctoPrintMachine(printer, files, Gate(lambda message: None, lambda: "licensed_only"), tmp_path)
    machine.report_to(FullDisk())  # type: ignore[arg-type]
    job: Any = SimpleNamespace(id="j1")
    licensed: Any = SimpleNamespace(broken=False, close=lambda: None)
    machine._session = _Session(job, licensed)
    assert not machine.ready()
    with pytest.raises(sqlite3.OperationalError):
        machine.on_event(event, {"path": "licensed-j1.gcode"})
    wait_for("The printer is free", machine.ready, 10)
