"""Starting servers, waiting until they are healthy, and stopping every one of them."""

import ctypes
import json
import math
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
from typing import IO, Any, Self

from tools.launcher.steps import StepFailed, say, tail

STOP_TIMEOUT = 15.0
"""Seconds that a server has to end by itself."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def end_with_launcher() -> None:
    """In the child: be told to stop when the launcher dies, whichever way it dies (Linux)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port(preferred: int = 0) -> int:
    """`preferred` when nobody listens there on 127.0.0.1, else some free port."""
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


_running: set["subprocess.Popen[str]"] = set()
_stopping_since: float | None = None


def run_to_end(
    argv: Sequence[object],
    output: IO[str],
    env: Mapping[str, str],
    cwd: Path,
    stdin: str = "",
    capture: bool = False,
    timeout: float = math.inf,
) -> tuple[int, str]:
    """Run a command in a group of its own, of which nothing is left afterwards, whatever happens to us.

    Args:
        output: takes standard error, and standard output unless that is captured.
        timeout: seconds after which it is stopped.

    Returns:
        Exit code (negative: the signal that ended it) and the captured output.

    Raises:
        StepFailed: the launcher is being stopped.
    """
    if _stopping_since is not None:
        raise StepFailed("Stopped.")
    process = subprocess.Popen(
        [str(word) for word in argv],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if capture else output,
        stderr=output,
        text=True,
        start_new_session=True,
        preexec_fn=end_with_launcher,
    )
    _running.add(process)
    deadline = time.monotonic() + timeout
    text: str | None = stdin
    try:
        while True:
            try:
                captured, _ = process.communicate(text, timeout=0.5)
                return process.returncode, captured or ""
            except subprocess.TimeoutExpired:
                text = None
                if time.monotonic() > deadline or _stopping_since is not None:
                    end_group(process)
                    return process.returncode, ""
    finally:
        end_group(process)
        _running.discard(process)


def signal_group(pid: int, number: int) -> bool:
    """Whether there was still somebody in the process group to signal; 0 only asks."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True


def end_group(process: "subprocess.Popen[Any]") -> None:
    """End a process and everything in its group: politely, then not."""
    signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while time.monotonic() < deadline:
        process.poll()
        if not signal_group(process.pid, 0):
            return
        time.sleep(0.02)
    signal_group(process.pid, signal.SIGKILL)
    process.wait()


class Service:
    """One server: a process group of its own, its output in a log file."""

    def __init__(
        self,
        name: str,
        argv: Sequence[object],
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        keep_open: int,
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
                pass_fds=(keep_open,),
            )

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        end_group(self._process)

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
    """All servers of one run, stopped in reverse order at the end of the `with` block.

    Args:
        keep_open: a file descriptor that every server holds as long as it lives.
    """

    def __init__(self, keep_open: int) -> None:
        self._keep_open = keep_open
        self._running: list[Service] = []

    def start(
        self, name: str, argv: Sequence[object], log: Path, env: Mapping[str, str], cwd: Path
    ) -> Service:
        service = Service(name, argv, log, env, cwd, self._keep_open)
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


class ReservedPort:
    """A port that nobody else can take until it is released, right before our own server takes it."""

    def __init__(self, preferred: int) -> None:
        self.number = free_port(preferred)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", self.number))
        # Bound alone doesn't keep others away who reuse addresses; listening does.
        self._socket.listen()

    def release(self) -> int:
        """The number, free for a moment."""
        self._socket.close()
        return self.number


class Terminated(BaseException):
    """A signal asked the launcher to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_on_signals() -> None:
    """Turn INT, TERM and HUP into an exception, so that `with` blocks end what they started."""

    def once_more(_number: int, _frame: object) -> None:
        """We are stopping already. (Ignoring the signals instead would be inherited by children.)"""

    def handler(number: int, _frame: object) -> None:
        global _stopping_since
        for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, once_more)
        # Commands run in other threads too: those see this and end what they run.
        _stopping_since = time.monotonic()
        for process in list(_running):
            signal_group(process.pid, signal.SIGTERM)
        raise Terminated(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


# Whatever proxy the environment names, our own servers are on this machine.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http_ok(url: str, headers: Mapping[str, str] | None = None) -> bool:
    """Whether GET answers with 200."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with _direct.open(request, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def node_answers(url: str) -> bool:
    """Whether a chain node answers JSON-RPC."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with _direct.open(request, timeout=5) as response:
            return "result" in json.load(response)
    except (OSError, ValueError):
        return False
