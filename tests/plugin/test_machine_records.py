"""The record of a print: bounded, kept for a while, and the same bytes as its hash says."""

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from octoprint_imprimatur import telemetry
from octoprint_imprimatur.telemetry import Recording
from support.octoprint import wait_for

JOB: Any = SimpleNamespace(id="j1", license_id=5, copy=2, file_hash="ab" * 32)


def heaters() -> dict[str, dict[str, float | None]]:
    return {
        "tool0": {"actual": 210.04, "target": 210.0, "offset": 0},
        "bed": {"actual": 60.0, "target": None},
    }


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    recording = Recording(JOB, heaters)
    recording.pauses += 1
    wait_for("It has a sample", lambda: recording._samples)
    digest = recording.end(tmp_path / "telemetry", 1200, "finished")
    data = (tmp_path / "telemetry" / "j1.json").read_bytes()
    assert digest == hashlib.sha256(data).digest()
    record = json.loads(data)
    assert record["tenthsOfDegrees"] == [[0, {"bed": [600, None], "tool0": [2100, 2100]}]]
    assert (record["lines"], record["pauses"], record["copy"], record["outcome"]) == (1200, 1, 2, "finished")
    assert record["license"] == "0x" + "0" * 63 + "5"


def test_a_long_print_has_no_longer_record(tmp_path: Path) -> None:
    recording = Recording(JOB, heaters, every=0.001, most=10)
    wait_for("The time between two was doubled often", lambda: recording._every > 0.02)
    assert recording.end(tmp_path, 1, "failed")
    samples = json.loads((tmp_path / "j1.json").read_bytes())["tenthsOfDegrees"]
    assert 5 <= len(samples) <= 10


def test_a_printer_that_tells_no_temperature_and_a_full_disk_are_no_trouble(tmp_path: Path) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("no connection")

    assert Recording(JOB, broken).end(tmp_path, 1, "cancelled")
    (tmp_path / "file").write_text("")
    assert Recording(JOB, heaters).end(tmp_path / "file", 1, "cancelled") is None


def test_the_oldest_go(tmp_path: Path) -> None:
    for number in range(telemetry.KEPT + 5):
        path = tmp_path / f"old{number}.json"
        path.write_text("{}")
        os.utime(path, (number, number))
    Recording(JOB, heaters).end(tmp_path, 1, "finished")
    names = {path.stem for path in tmp_path.glob("*.json")}
    assert len(names) == telemetry.KEPT
    assert "j1" in names
    assert "old5" not in names
    assert "old6" in names
