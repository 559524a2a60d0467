"""The processes that chaos kills, seen from outside."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.node import ROOT


class Mortals:
    """The worker's process: born again and again."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("mortal.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        self.pid: int | None = None
        """Of the present life."""
        self._said.get(timeout=60)  # It is ready.

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(json.loads(line))

    def bear(self, order: dict[str, Any]) -> None:
        """Start a life."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self.pid = int(self._said.get(timeout=30)["pid"])

    def news(self, seconds: float) -> tuple[str | None, int | None]:
        """Where it killed itself, and its wait status once it has ended; waits so long for either."""
        try:
            word = self._said.get(timeout=seconds)
        except queue.Empty:
            return None, None
        if "ended" in word:
            self.pid = None
            return None, int(word["ended"])
        return str(word["dying"]), None

    def kill(self) -> None:
        """From outside, wherever it is."""
        if self.pid is not None:
            with suppress(ProcessLookupError):  # It ended this moment.
                os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """No more lives."""
        self.kill()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._reader.join(timeout=10)
        self._process.stdout.close()


@contextmanager
def mortals() -> Iterator[Mortals]:
    """A source of worker processes, of which nothing is left at the end."""
    source = Mortals()
    try:
        yield source
    finally:
        source.end()
