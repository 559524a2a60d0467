"""The demo as users start it: `run.py demo`, as a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import requests

from support.node import ROOT
from support.octoprint import RECORDER, lines_of
from tools.launcher.processes import end_with_launcher

START_TIMEOUT = 240
"""Seconds."""


class RunningDemo:
    """`run.py demo` with its data in `state`; what it says when it is ready is in `facts`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.recording = state / "serial.rec"
        self.facts: dict[str, Any] = {}
        self._output = state / "output.log"

    def start(self) -> None:
        """Start it and wait until everything is healthy."""
        self.begin()
        summary = self.state / "demo.json"
        deadline = time.monotonic() + START_TIMEOUT
        while not summary.exists():
            assert self._process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.1)
        self.facts = json.loads(summary.read_text())

    def begin(self) -> None:
        """Only start it. The virtual printer will move and heat in no time."""
        plugins = self.state / "octoprint" / "plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        (self.state / ".lock").touch()
        shutil.copy(RECORDER, plugins)
        (self.state / "demo.json").unlink(missing_ok=True)
        env = os.environ | {"IMPRIMATUR_SERIAL_RECORD": str(self.recording), "IMPRIMATUR_HURRY": "1"}
        argv = [sys.executable, ROOT / "run.py", "demo", "--state", self.state]
        with self._output.open("ab") as output:
            self._process = psutil.Popen(
                argv,
                cwd=ROOT,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_launcher,
            )

    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """The launcher and everything below it."""
        return [self._process, *self._process.children(recursive=True)]

    def command_lines(self) -> str:
        """What those processes were started as, one a line."""
        lines = []
        for process in self.processes():
            # A short-lived one may be gone by now.
            with suppress(psutil.NoSuchProcess):
                lines.append(" ".join(process.cmdline()))
        return "\n".join(lines)

    def end(self, number: signal.Signals) -> None:
        """Signal the launcher alone, as a user's Ctrl-C or the kernel would: nothing may be left."""
        processes = self.processes()
        self._process.send_signal(number)
        _gone, alive = psutil.wait_procs(processes, timeout=60)
        assert not alive

    def octoprint(self, path: str) -> Any:
        """An answer of OctoPrint's REST interface."""
        answer = requests.get(
            self.facts["octoprint"] + path, headers={"X-Api-Key": self.facts["octoprint_api_key"]}, timeout=30
        )
        answer.raise_for_status()
        return answer.json()

    def mark(self) -> int:
        """A place in the recording, for `received`."""
        return self.recording.stat().st_size if self.recording.exists() else 0

    def received(self, since: int = 0) -> list[str]:
        """The lines that reached the virtual printer's serial object after a mark."""
        with self.recording.open("rb") as file:
            file.seek(since)
            return lines_of(file.read())
