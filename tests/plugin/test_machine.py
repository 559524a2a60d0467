"""The printer behind OctoPrint, where something goes wrong at the start or the end of a print."""

import io
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from octoprint.events import Events

from octoprint_imprimatur.compat import job as jobs
from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.machine import OctoPrintMachine, _Session
from support.octoprint import wait_for


class Unreadable(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        raise OSError("gone")


def test_a_file_that_cant_be_opened_leaves_no_job_behind(tmp_path: Path) -> None:
    """Its placeholder is deleted: OctoPrint would fail over it and cut the connection if it were started."""
    path = tmp_path / "licensed-j1.gcode"
    path.write_text("; placeholder\n")
    comm = SimpleNamespace(
        _currentFile=None, _jobLock=threading.RLock(), getOffsets=None, getCurrentTool=None
    )

    def select(path: str, *_args: Any, **_kwargs: Any) -> None:
        comm._currentFile = SimpleNamespace(getFilename=lambda: str(tmp_path / path))

    printer: Any = SimpleNamespace(
        _comm=comm,
        is_ready=lambda: True,
        select_file=select,
        unselect_file=lambda: setattr(comm, "_currentFile", None),
    )
    files: Any = SimpleNamespace(
        add_file=lambda *_args, **_kwargs: None,
        set_additional_metadata=lambda *_args, **_kwargs: None,
        path_on_disk=lambda _where, name: str(tmp_path / name),
    )
    described = jobs.Described("j1", path.name, "clip.gcode", None, 9, confidential=True)
    with pytest.raises(OSError, match="gone"):
        jobs.start_licensed(printer, files, described, Unreadable(), lambda licensed: None)
    assert comm._currentFile is None


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
