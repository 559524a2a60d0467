"""A real OctoPrint with the virtual printer, started as a process of its own."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import requests

from support.node import ROOT
from tools.launcher.processes import end_with_launcher, free_port

ENVIRONMENT = ROOT / ".venv-octoprint"
RECORDER = ROOT / "tests" / "plugin" / "serial_recorder.py"
_NUMBERED = re.compile(rb"^N(\d+)\s+(.*?)\s*\*\d+$")
_PASSWORD = secrets.token_urlsafe(12)
"""Of all users in all instances of this process."""
_users: dict[Path, bytes] = {}
"""Users as the OctoPrint of an environment has written them: it takes seconds for that, once."""


T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], timeout: float = 30.0, poll: float = 0.05) -> T:
    """The first result of `look` that isn't None or False."""
    deadline = time.monotonic() + timeout
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, f"{what}: not within {timeout:.0f} s"
        time.sleep(poll)


def gcode_lines(text: str) -> list[str]:
    """The lines of a file that OctoPrint sends: no blanks, no comments (a backslash hides a semicolon)."""
    lines = (re.match(r"((?:\\.|[^;\\]|\\$)*)", line)[0].strip() for line in text.splitlines())  # type: ignore[index]
    return [line for line in lines if line]


def lines_of(record: bytes) -> list[str]:
    """What a recorded printer received, without line numbers, checksums and resent lines."""
    lines: list[str] = []
    last = 0
    for raw in record.split(b"\n"):
        raw = raw.strip()
        if match := _NUMBERED.match(raw):
            number, raw = int(match[1]), match[2]
            if raw.startswith(b"M110"):
                last = number
                continue
            if number <= last:
                continue
            last = number
        if raw:
            lines.append(raw.decode())
    return lines


class OctoPrint:
    """One instance in `basedir`; its REST interface as an administrator's API key sees it."""

    def __init__(self, basedir: Path, plugin: dict[str, Any], **virtual_printer: Any) -> None:
        self.basedir = basedir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.password = _PASSWORD
        self.api_key = secrets.token_hex(16)
        self.recording = basedir / "serial.rec"
        self.plugin = plugin
        self.virtual_printer = virtual_printer
        self.hurry = True
        """The virtual printer moves and heats in no time."""
        self.records = True
        """Every line that reaches the virtual printer is recorded."""
        self.extra_plugins: list[Path] = []
        """Plugins of one file that are installed beside the recorder."""
        self.disabled: list[str] = []
        """Identifiers of plugins that are switched off."""
        self.environment = ENVIRONMENT
        """The virtual environment that holds the OctoPrint to run."""
        self.card = "sdcard"
        """Name of the printer's card in addresses; version 2 calls it `printer`."""
        self.arguments: list[str] = []
        """Further ones of `octoprint serve`."""
        self._process: subprocess.Popen[bytes] | None = None
        self._session = requests.Session()
        self._session.headers["X-Api-Key"] = self.api_key

    def prepare(self) -> None:
        """Write the base folder; the recorder is installed in it."""
        spec = {
            "basedir": str(self.basedir),
            "users": [
                {"name": "admin", "password": self.password, "admin": True},
                {"name": "operator", "password": self.password, "admin": False},
            ],
            "plugin": self.plugin,
            "api_key": self.api_key,
            "virtual_printer": self.virtual_printer,
            "disabled": self.disabled,
        }
        users = self.basedir / "users.yaml"
        if self.environment in _users and not users.exists():
            self.basedir.mkdir(exist_ok=True)
            users.write_bytes(_users[self.environment])
        tool = ROOT / "tools" / "octoprint_base.py"
        subprocess.run(
            [self.environment / "bin" / "python", tool],
            input=json.dumps(spec),
            text=True,
            check=True,
            timeout=60,
        )
        _users.setdefault(self.environment, users.read_bytes())
        (self.basedir / "plugins").mkdir(exist_ok=True)
        for plugin in (RECORDER, *self.extra_plugins):
            shutil.copy(plugin, self.basedir / "plugins")

    def start(self, poll: float = 0.2) -> None:
        """Start it and wait until the printer is connected. Its temporary files lie below the base folder."""
        (self.basedir / "tmp").mkdir(exist_ok=True)
        with (self.basedir / "console.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self.environment / "bin" / "octoprint",
                    "serve",
                    "--iknowwhatimdoing",
                    "--basedir",
                    self.basedir,
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(self.port),
                    *self.arguments,
                ],
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "IMPRIMATUR_SERIAL_RECORD": str(self.recording) if self.records else "",
                    "IMPRIMATUR_HURRY": "1" if self.hurry else "",
                    "TMPDIR": str(self.basedir / "tmp"),
                },
                start_new_session=True,
                preexec_fn=end_with_launcher,
            )
        self.wait_until_operational(poll=poll)

    def wait_until_operational(self, timeout: float = 60, poll: float = 0.2) -> None:
        wait_for("OctoPrint is operational", self.operational, timeout, poll)

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """End the process and everything it started."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, with_signal)
            self._process.wait(timeout=15)
        except ProcessLookupError:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=5)
        self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_dead(self) -> bool:
        """Whether the process has ended, by whatever."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """Like a power cut for the process."""
        self.stop(signal.SIGKILL)

    # Asking ------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        return self._session.request(method, self.url + path, timeout=30, **arguments)

    def get(self, path: str) -> Any:
        answer = self.request("GET", path)
        answer.raise_for_status()
        return answer.json()

    def post(self, target: str, /, **body: Any) -> requests.Response:
        return self.request("POST", target, json=body)

    def state(self) -> str:
        return str(self.get("/api/connection")["current"]["state"])

    def operational(self) -> bool:
        try:
            return self.state() == "Operational"
        except requests.RequestException:
            return False

    def command(self, *commands: str) -> requests.Response:
        """Type into the terminal."""
        return self.post("/api/printer/command", commands=list(commands))

    def upload(self, name: str, text: str, **form: str) -> requests.Response:
        return self.request("POST", "/api/files/local", files={"file": (name, text)}, data=form)

    # The plugin --------------------------------------------------------------------------------------------

    def licenses(self) -> dict[str, Any]:
        """The list, read from the chain now."""
        found: dict[str, Any] = self.get("/plugin/imprimatur/licenses?fresh=true")
        return found

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/plugin/imprimatur/jobs")["jobs"]
        return found

    def job(self, id: str) -> dict[str, Any]:
        return next(job for job in self.jobs() if job["id"] == id)

    def print_license(self, license_id: int, **body: Any) -> requests.Response:
        return self.post(f"/plugin/imprimatur/licenses/0x{license_id:064x}/print", **body)

    def wait_for_state(self, job_id: str, *states: str, timeout: float = 60) -> dict[str, Any]:
        """The job, once it is in one of the states and nothing works on it any more."""

        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["state"] in states and not job["active"] else None

        return wait_for(f"Job {job_id} is {' or '.join(states)}", look, timeout)

    # What the printer received -----------------------------------------------------------------------------

    def mark(self) -> int:
        """A place in the recording, for `received`."""
        return self.recording.stat().st_size if self.recording.exists() else 0

    def received(self, since: int = 0) -> list[str]:
        """The lines that reached the virtual printer's serial object after a mark."""
        with self.recording.open("rb") as file:
            file.seek(since)
            return lines_of(file.read())

    def log(self) -> str:
        return (self.basedir / "logs" / "octoprint.log").read_text(errors="replace")


@contextmanager
def running_octoprint(
    basedir: Path,
    plugin: dict[str, Any],
    extra_plugins: Sequence[Path] = (),
    disabled: Sequence[str] = (),
    environment: Path = ENVIRONMENT,
    **virtual_printer: Any,
) -> Iterator[OctoPrint]:
    """A prepared and started instance, killed at the end, when nobody looks any more.

    Args:
        plugin: settings of the Imprimatur plugin.
        extra_plugins: plugins of one file, installed beside the recorder.
        disabled: identifiers of plugins to switch off.
        environment: the virtual environment with the OctoPrint to run.
        virtual_printer: settings of the virtual printer, above those of `tools/octoprint_base.py`.
    """
    octoprint = OctoPrint(basedir, plugin, **virtual_printer)
    octoprint.extra_plugins, octoprint.disabled = list(extra_plugins), list(disabled)
    octoprint.environment = environment
    octoprint.prepare()
    try:
        octoprint.start()
        yield octoprint
    finally:
        octoprint.kill()
