"""What the printer recorded of one print: a file that stays here, and its hash that goes with the outcome.

The hash lets an owner see later that a record is the one of then. It proves nothing about what was printed:
whoever has the printer writes the record.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imprimatur.device.job import Job
from imprimatur.license_id import format_id

FOLDER = "telemetry"
KEPT = 200
"""Records; older ones are removed."""
EVERY = 10.0
"""Seconds between the first samples. Each time that there are too many, every other one is dropped and the
time between two is doubled, so a print of days has no larger record than one of an hour."""
MOST = 400
"""Samples."""
Temperatures = Mapping[str, Mapping[str, Any]]
"""As OctoPrint tells them: heater → `actual`, `target` in °C or None."""
_log = logging.getLogger("octoprint.plugins.imprimatur.telemetry")


class Recording:
    """Of one print, from now until `end`."""

    def __init__(
        self, job: Job, temperatures: Callable[[], Temperatures], every: float = EVERY, most: int = MOST
    ) -> None:
        self._job = job
        self._temperatures = temperatures
        self._every = every
        self._most = most
        self._begun = time.time()
        self._clock = time.monotonic()
        self._samples: list[tuple[int, dict[str, list[int | None]]]] = []
        self._ended = threading.Event()
        self.pauses = 0
        self._thread = threading.Thread(target=self._sample, name="imprimatur-telemetry", daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while True:
            try:
                self._add(self._temperatures())
            except Exception:
                _log.exception("The temperatures of a print couldn't be recorded.")
            if self._ended.wait(self._every):
                return

    def _add(self, temperatures: Temperatures) -> None:
        heaters = {
            heater: [_tenths(values.get("actual")), _tenths(values.get("target"))]
            for heater, values in sorted(temperatures.items())
        }
        self._samples.append((int(time.monotonic() - self._clock), heaters))
        if len(self._samples) > self._most:
            del self._samples[1::2]
            self._every *= 2

    def stop(self) -> None:
        """Record nothing more."""
        self._ended.set()

    def end(self, folder: Path, lines: int, outcome: str) -> bytes | None:
        """Write the record to `folder`; its SHA-256, or None when the disk doesn't take it.

        Args:
            lines: that were read from the file.
            outcome: finished, cancelled or failed.
        """
        from imprimatur import canonical_json

        self.stop()
        self._thread.join(5)
        record = canonical_json.dumps(
            {
                "version": 1,
                "job": self._job.id,
                "license": format_id(self._job.license_id),
                "copy": self._job.copy,
                "fileSha256": self._job.file_hash,
                "begun": int(self._begun),
                "seconds": int(time.monotonic() - self._clock),
                "outcome": outcome,
                "lines": lines,
                "pauses": self.pauses,
                "tenthsOfDegrees": [[second, heaters] for second, heaters in self._samples],
            }
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{self._job.id}.json").write_bytes(record)
            _prune(folder)
        except OSError:
            _log.exception("The record of job %s couldn't be kept, so its hash isn't reported.", self._job.id)
            return None
        return hashlib.sha256(record).digest()


def _tenths(degrees: Any) -> int | None:
    return round(degrees * 10) if isinstance(degrees, int | float) else None


def _prune(folder: Path) -> None:
    records = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    for old in records[:-KEPT]:
        old.unlink(missing_ok=True)
