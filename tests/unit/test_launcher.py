"""The launcher leaves nothing behind and takes nothing that isn't its own."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import psutil
import pytest

from support.node import ROOT
from tools.launcher.processes import ReservedPort, Services, http_ok, run_to_end
from tools.launcher.state import StateFolder
from tools.launcher.steps import StepFailed
from tools.launcher.toolchain import PORTAL, interpreter

# A command that starts a grandchild in its own group and waits for ever.
STUBBORN = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
SERVER = """
import http.server
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def python(code: str, cwd=ROOT):
    """A Python process, killed at the end if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def launcher(body: str):
    """A process that runs `body` as a launcher would."""
    head = "import os, sys, threading\nfrom pathlib import Path\nfrom tools.launcher import processes\n"
    return python(head + "processes.raise_on_signals()\n" + textwrap.dedent(body))


def family(process, count) -> list[psutil.Process]:
    """The process and its descendants, once there are as many as expected."""
    deadline = time.monotonic() + 20
    while True:
        found = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_interrupted_commands_end_with_all_they_started(number):
    body = f"""
        def run():
            processes.run_to_end([sys.executable, "-c", {STUBBORN!r}], sys.stderr, os.environ, Path("."))
        threading.Thread(target=run).start()
        run()
    """
    with launcher(body) as process:
        everybody = family(process, 5)
        process.send_signal(number)
        _gone, alive = psutil.wait_procs(everybody, timeout=30)
        assert not alive


def test_killed_launcher_takes_its_command_along():
    body = """processes.run_to_end(["sleep", "600"], sys.stderr, os.environ, Path("."))"""
    with launcher(body) as process:
        everybody = family(process, 2)
        process.kill()
        _gone, alive = psutil.wait_procs(everybody, timeout=30)
        assert not alive


def test_command_that_takes_too_long_is_stopped(tmp_path):
    with (tmp_path / "log").open("w") as log:
        argv = [sys.executable, "-c", STUBBORN]
        code, _ = run_to_end(argv, log, os.environ, tmp_path, timeout=1)
    assert code == -signal.SIGTERM


def test_output_and_input(tmp_path):
    with (tmp_path / "log").open("w") as log:
        code, printed = run_to_end(["cat"], log, os.environ, tmp_path, stdin="gesiegelt\n", capture=True)
    assert (code, printed) == (0, "gesiegelt\n")


def test_a_reserved_port_is_ours():
    first = ReservedPort(0)
    second = ReservedPort(first.number)
    try:
        assert second.number != first.number
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", first.number))
            other.bind(("127.0.0.1", first.release()))
    finally:
        first.release()
        second.release()


def test_one_demo_a_folder(tmp_path):
    state = tmp_path / "demo"
    with StateFolder(state), pytest.raises(StepFailed, match="is running"), StateFolder(state, wait=0):
        pass
    with StateFolder(state, wait=0):
        pass


def test_folder_is_held_until_the_last_server_has_ended(tmp_path):
    state = tmp_path / "demo"
    folder = StateFolder(state)
    with folder, Services(folder.descriptor) as services:
        services.start("A server", ["sleep", "600"], tmp_path / "log", os.environ, tmp_path)
        # The launcher is gone, its server isn't.
        folder.__exit__(None, None, None)
        with pytest.raises(StepFailed, match="is running"), StateFolder(state, wait=0):
            pass
        folder.descriptor = os.open("/dev/null", os.O_RDONLY)
    with StateFolder(state, wait=0):
        pass


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StepFailed, match="isn't a demo's"), StateFolder(tmp_path):
        pass
    with pytest.raises(StepFailed, match="is a file"), StateFolder(tmp_path / "thesis.txt"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_emptying_keeps_the_lock(tmp_path):
    state = tmp_path / "demo"
    with StateFolder(state) as folder:
        (state / "portal").mkdir()
        (state / "portal" / "portal.db").write_text("")
        (state / "settings.json").write_text("{}")
        folder.empty()
        assert [entry.name for entry in state.iterdir()] == [".lock"]


def test_installing_is_the_same_from_inside_an_environment():
    """The e2e suite runs inside .venv and starts demos: they must not install everything again."""
    assert not interpreter().startswith(str(PORTAL.path))
    done = subprocess.run(
        [sys.executable, ROOT / "run.py", "install"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_proxies_of_the_environment_are_not_asked_for_own_servers(monkeypatch, tmp_path):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with python(SERVER, tmp_path) as server:
        port = server.stdout.readline().strip()
        assert http_ok(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["test", "nonsense"], "no suite nonsense"),
        (["demo", "--state", "README.md"], "is a file"),
        (["brownie", "run", "authorize_portal", "--network", "imprimatur"], "Set IMPRIMATUR_RPC_URL"),
    ],
)
def test_wrong_use_is_told_in_words(words, expected):
    env = {name: value for name, value in os.environ.items() if name != "IMPRIMATUR_RPC_URL"}
    done = subprocess.run(
        [sys.executable, ROOT / "run.py", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
