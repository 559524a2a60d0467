"""Starting servers, waiting until they are healthy, and stopping every one of them."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.launcher.steps import StepFailed, say, tail

STOP_TIMEOUT = 15.0
"""Seconds that a server has to end by itself."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def end_with_launcher() -> None:
    """In the child: be told to stop when the launcher dies, whichever way it dies (Linux)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port(preferred: int) -> int:
    """`preferred` when nobody listens there on 127.0.0.1, else a free port."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            # As servers do: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StepFailed("This machine has no free port on 127.0.0.1.")


class Service:
    """One server: a process group of its own, its output in a log file."""

    def __init__(
        self, name: str, argv: Sequence[object], log: Path, env: Mapping[str, str], cwd: Path
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(word) for word in argv],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_launcher,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def _signal_group(self, number: int) -> bool:
        """Whether there was still somebody to signal; 0 only asks."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def stop(self) -> None:
        """End the whole group: politely, then not."""
        self._signal_group(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < deadline:
            self._process.poll()
            if not self._signal_group(0):
                return
            time.sleep(0.05)
        self._signal_group(signal.SIGKILL)
        self._process.wait()

    def wait_until(self, healthy: Callable[[], bool], timeout: float) -> None:
        """Wait for a health check.

        Raises:
            StepFailed: the server ended, or isn't healthy in time; with the log's tail.
        """
        deadline = time.monotonic() + timeout
        while not healthy():
            if self.exit_code is not None:
                raise StepFailed(
                    f"{self.name} ended with code {self.exit_code}. {self.log} ends:\n{tail(self.log)}"
                )
            if time.monotonic() > deadline:
                raise StepFailed(
                    f"{self.name} isn't ready after {timeout:.0f} s. {self.log} ends:\n{tail(self.log)}"
                )
            time.sleep(0.1)


class Services:
    """All servers of one run, stopped in reverse order at the end of the `with` block."""

    def __init__(self) -> None:
        self._running: list[Service] = []

    def start(
        self, name: str, argv: Sequence[object], log: Path, env: Mapping[str, str], cwd: Path
    ) -> Service:
        service = Service(name, argv, log, env, cwd)
        self._running.append(service)
        return service

    def first_ended(self) -> Service | None:
        """A server that ended although nobody asked it to."""
        return next((service for service in self._running if service.exit_code is not None), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for service in reversed(self._running):
            service.stop()
        if self._running:
            say("All servers have stopped.")


class Terminated(BaseException):
    """A signal asked the launcher to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_on_signals() -> None:
    """Turn INT, TERM and HUP into an exception, so that `with` blocks end what they started."""

    def handler(number: int, _frame: object) -> None:
        for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        raise Terminated(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def http_ok(url: str, headers: Mapping[str, str] | None = None) -> bool:
    """Whether GET answers with 200."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def node_answers(url: str) -> bool:
    """Whether a chain node answers JSON-RPC."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return "result" in json.load(response)
    except (OSError, ValueError):
        return False
