"""The portal as it runs in production: web, worker and key desk as processes, each of which may be killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from app.services.desk_keys import make_keys
from imprimatur.chain.orders import Right
from imprimatur.chain.signers import KeySigner, create_keystore
from support.node import ROOT, Chain
from tools.launcher.processes import end_with_launcher, free_port

START_TIMEOUT = 60
"""Seconds."""
WEB, WORKER, DESK = "web", "worker", "desk"
NAMES = (WEB, WORKER, DESK)
STARTED = "worker_started"
"""What the worker's log says once it has opened its key."""
BIN = Path(sys.executable).parent


class PortalProcesses:
    """One portal on a chain of its own tests. Data lies in `folder`; `start` and `kill` one process each."""

    def __init__(self, folder: Path, chain: Chain, finality: str = "0", **settings: str) -> None:
        self.folder = folder
        self.chain = chain
        self.ports = {WEB: free_port(), DESK: free_port()}
        self.url = f"http://127.0.0.1:{self.ports[WEB]}"
        self.desk_url = f"http://127.0.0.1:{self.ports[DESK]}"
        self._starts = 0
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            "IMPRIMATUR_DATABASE_URL": f"sqlite:///{folder / 'portal.db'}",
            "IMPRIMATUR_STORAGE_URL": (folder / "files").as_uri(),
            "IMPRIMATUR_SECRET_KEY_FILE": str(folder / "secret"),
            "IMPRIMATUR_PUBLIC_URL": self.url,
            "IMPRIMATUR_CHAIN_URL": chain.url,
            "IMPRIMATUR_DEPLOYMENTS": str(folder / "deployments"),
            "IMPRIMATUR_DESK_URL": self.desk_url,
            "IMPRIMATUR_DESK_FILE": str(folder / "desk" / "public.json"),
            "IMPRIMATUR_FINALITY": finality,
            **settings,
        }
        self._keys = {
            WEB: {},
            WORKER: {
                "IMPRIMATUR_OPERATOR_KEYSTORE": str(folder / "operator.json"),
                "IMPRIMATUR_OPERATOR_PASSWORD_FILE": str(folder / "operator.password"),
            },
            DESK: {
                "IMPRIMATUR_DESK_KEYSTORE": str(folder / "desk" / "keystore.json"),
                "IMPRIMATUR_DESK_VAULT": str(folder / "desk" / "vault.age"),
                "IMPRIMATUR_DESK_PASSWORD_FILE": str(folder / "desk" / "password"),
            },
        }

    def prepare(self) -> None:
        """Database, keys, address book; the operator's account has coins."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.chain.write_address_book(self.folder / "deployments")
        public = self.environment.pop("IMPRIMATUR_DESK_FILE")
        self.flask("db", "upgrade")
        # In this process: where tests make keystores cheap, the desk's is cheap too.
        make_keys(self.folder / "desk")
        self.environment["IMPRIMATUR_DESK_FILE"] = public
        (self.folder / "operator.password").write_text("opens the operator's key")
        self.operator = create_keystore(self.folder / "operator.json", "opens the operator's key")
        self.chain.fund(self.operator.address, 1000)
        self.desk_address: str = json.loads(Path(public).read_text())["address"]

    def flask(self, *arguments: str, stdin: str = "") -> str:
        """A command of the portal's operator; what it prints."""
        done = subprocess.run(
            [BIN / "flask", "--app", "app", *arguments],
            env=os.environ | self.environment,
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def authorize(self, owner: KeySigner) -> None:
        """The owner lets the portal issue for her."""
        call = self.chain.licenses.set_operator_call(
            owner.address, self.operator.address, Right.ISSUE, int(time.time()) + 86_400
        )
        self.chain.send(owner, call)

    def start(self, name: str) -> None:
        """Start a process, in a group of its own; it isn't ready yet."""
        self._starts = self.log(WORKER).count(STARTED) if name == WORKER else self._starts
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._command(name),
                env=os.environ | self.environment | self._keys[name],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_launcher,
            )

    def _command(self, name: str) -> list[str | Path]:
        if name == WORKER:
            return [BIN / "flask", "--app", "app", "worker"]
        module = "app" if name == WEB else "app.desk"
        listen = f"--bind=127.0.0.1:{self.ports[name]}"
        kind = ["--worker-class=gthread", "--workers=1", "--threads=8", "--no-control-socket"]
        return [BIN / "gunicorn", f"{module}:create_app()", *kind, listen]

    def kill(self, name: str) -> None:
        """End a process and what it started as a power cut would (SIGKILL)."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)

    def wait_until_ready(self) -> None:
        """Web and desk answer, the worker is alive, and it is the one that was started last."""
        deadline = time.monotonic() + START_TIMEOUT
        while not (
            self.log(WORKER).count(STARTED) > self._starts
            and self._answers(self.url, worker="ok")
            and self._answers(self.desk_url)
        ):
            for name, process in self._running.items():
                assert process.poll() is None, f"{name} ended: {self.log(name)[-2000:]}"
            assert time.monotonic() < deadline, "".join(self.log(name)[-2000:] for name in NAMES)
            time.sleep(0.1)

    @staticmethod
    def _answers(url: str, **wanted: Any) -> bool:
        try:
            answer = requests.get(f"{url}/healthz", timeout=5)
        except requests.RequestException:
            return False
        return answer.status_code == 200 and wanted.items() <= answer.json().items()

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        for name in list(self._running):
            process = self._running.pop(name)
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)


@contextmanager
def running_portal(
    folder: Path, chain: Chain, finality: str = "0", **settings: str
) -> Iterator[PortalProcesses]:
    """Prepare a portal, start all three processes, stop what runs at the end."""
    portal = PortalProcesses(folder, chain, finality, **settings)
    try:
        portal.prepare()
        for name in NAMES:
            portal.start(name)
        portal.wait_until_ready()
        yield portal
    finally:
        portal.stop()
