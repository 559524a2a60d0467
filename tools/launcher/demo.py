"""The demo: chain node, contract, portal and a printer on this machine, with data that stays."""

import json
import os
import secrets
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.launcher.processes import ReservedPort, Service, Services, http_ok, node_answers, run_to_end
from tools.launcher.state import StateFolder
from tools.launcher.steps import StepFailed, say, step, tail
from tools.launcher.toolchain import BROWNIE, OCTOPRINT, PORTAL, ROOT, anvil, child_environment

PREFERRED_PORTS = {"chain": 8545, "portal": 8000, "desk": 8001, "octoprint": 5000}
OWNER_EMAIL = "owner@example.org"
OWNER_NAME = "Aero Spares"
PRINTER_NAME = "Workshop printer 1"
OPERATOR_NAME = "operator"


def _private_write(path: Path, text: str) -> None:
    """Write a file that only this user can read; it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


class Demo:
    """One demo in the folder `state`; `run` starts all servers and returns when they are healthy."""

    def __init__(self, state: Path, services: Services, instant_heat: bool) -> None:
        self.state = state
        self.services = services
        self.instant_heat = instant_heat
        self.logs = state / "logs"
        self.summary = state / "demo.json"
        settings = state / "settings.json"
        if settings.exists():
            known: dict[str, str] = json.loads(settings.read_text())
        else:
            known = {
                "owner_password": secrets.token_urlsafe(9),
                "operator_password": secrets.token_urlsafe(9),
                "octoprint_api_key": secrets.token_hex(16),
            }
        self._reserved = {name: ReservedPort(port) for name, port in PREFERRED_PORTS.items()}
        self.ports = {name: port.number for name, port in self._reserved.items()}
        self.secrets = known
        _private_write(settings, json.dumps(self.secrets, indent=2))
        self.chain_url = f"http://127.0.0.1:{self.ports['chain']}"
        self.portal_url = f"http://127.0.0.1:{self.ports['portal']}"
        self.desk_url = f"http://127.0.0.1:{self.ports['desk']}"
        self.octoprint_url = f"http://127.0.0.1:{self.ports['octoprint']}"
        self.env = child_environment()

    def _do(self, name: str, argv: Sequence[object], stdin: str = "", **env: str) -> str:
        """Run a command of the set-up; its standard output."""
        log = self.logs / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as output:
            code, printed = run_to_end(argv, output, self.env | env, ROOT, stdin=stdin, capture=True)
            output.write(printed)
        if code:
            raise StepFailed(f"{name} ended with code {code}. {log} ends:\n{tail(log)}")
        return printed

    def run(self) -> None:
        """Start everything. Raises StepFailed."""
        self.summary.unlink(missing_ok=True)
        self._start_chain()
        self._prepare_accounts()
        # Both mostly compute, and neither needs the other.
        with ThreadPoolExecutor(2) as pool:
            for prepared in [pool.submit(self._deploy), pool.submit(self._prepare_portal)]:
                prepared.result()
        self._start_octoprint()
        self._start_portal()
        self._wait()
        self._write_summary()

    def _start_chain(self) -> None:
        with step("Chain node (anvil)"):
            folder = self.state / "chain"
            folder.mkdir(parents=True, exist_ok=True)
            argv = [
                anvil(),
                "--host",
                "127.0.0.1",
                "--port",
                self._reserved["chain"].release(),
                "--no-cors",
                "--silent",
            ]
            argv += ["--state", folder / "state.json", "--state-interval", "1"]
            node = self.services.start("The chain node", argv, self.logs / "chain.log", self.env, ROOT)
            node.wait_until(lambda: node_answers(self.chain_url), 30)

    def _prepare_accounts(self) -> None:
        with step("Accounts: owner, portal operator, printer"), ThreadPoolExecutor(1) as pool:
            base = self.state / "octoprint"
            argv = [OCTOPRINT.command("python"), "-m", "octoprint_imprimatur.keys", base]
            printer = pool.submit(self._do, "printer-key", argv)
            keys = self.state / "keys"
            self.owner_keystore = keys / "owner.json"
            self.operator_keystore = keys / "operator.json"
            argv = [PORTAL.command("python"), "tools/keys.py"]
            printed = self._do("keys", [*argv, self.owner_keystore, self.operator_keystore])
            self.owner, self.operator = printed.split()
            self.printer = printer.result().strip()

    def _deploy(self) -> None:
        with step("Contract, deployed with Brownie; coins; the owner lets the portal issue"):
            self.deployments = self.state / "deployments"
            self._do(
                "brownie",
                [
                    BROWNIE.command("python"),
                    "tools/brownie_cli.py",
                    "run",
                    "demo_chain",
                    "--network",
                    "imprimatur",
                ],
                IMPRIMATUR_RPC_URL=self.chain_url,
                IMPRIMATUR_DEPLOYMENTS=str(self.deployments),
                IMPRIMATUR_OWNER_KEYSTORE=str(self.owner_keystore),
                IMPRIMATUR_OWNER_PASSWORD_FILE=str(self.owner_keystore.with_suffix(".password")),
                IMPRIMATUR_OPERATOR=self.operator,
                # Printers need no coins: the portal carries what they sign.
                IMPRIMATUR_FUND=",".join((self.owner, self.operator)),
            )
            book = next(self.deployments.glob("*.json"))
            entries = json.loads(book.read_text())
            self.chain_id = entries["chainId"]
            self.contract = entries["contracts"]["PrintLicense"]

    def _start_octoprint(self) -> None:
        base = self.state / "octoprint"
        spec = {
            "basedir": str(base),
            "users": [{"name": OPERATOR_NAME, "password": self.secrets["operator_password"], "admin": True}],
            "api_key": self.secrets["octoprint_api_key"],
            "plugin": {
                "portal_url": self.portal_url,
                "portal_name": OWNER_NAME,
                "desk_url": self.desk_url,
                "desk_address": self.desk_address,
                "node_url": self.chain_url,
                "chain_id": self.chain_id,
                "contract": self.contract["address"],
                "contract_since": self.contract["block"],
            },
            "virtual_printer": {"pinnedExtruders": {"0": 205}} if self.instant_heat else {},
        }
        with step("OctoPrint with a virtual printer and the plugin: configured and started"):
            prepare = [OCTOPRINT.command("python"), "tools/octoprint_base.py"]
            self._do("octoprint-base", prepare, stdin=json.dumps(spec))
            argv = [OCTOPRINT.command("octoprint"), "--basedir", base, "serve", "--iknowwhatimdoing"]
            argv += ["--host", "127.0.0.1", "--port", self._reserved["octoprint"].release()]
            log = self.logs / "octoprint.log"
            self.octoprint = self.services.start("OctoPrint", argv, log, self.env, ROOT)

    def _portal_environment(self) -> dict[str, str]:
        folder = self.state / "portal"
        secret = folder / "secret-key"
        if not secret.exists():
            _private_write(secret, secrets.token_hex(32))
        return {
            "IMPRIMATUR_DATABASE_URL": f"sqlite:///{folder / 'portal.db'}",
            "IMPRIMATUR_STORAGE_URL": (folder / "files").absolute().as_uri(),
            "IMPRIMATUR_SECRET_KEY_FILE": str(secret),
            "IMPRIMATUR_PUBLIC_URL": self.portal_url,
            "IMPRIMATUR_CHAIN_URL": self.chain_url,
            "IMPRIMATUR_DEPLOYMENTS": str(self.deployments),
            "IMPRIMATUR_DESK_URL": self.desk_url,
        }

    def _prepare_portal(self) -> None:
        with step("Portal: database, key desk's keys, demo owner, printer"):
            portal = self._portal_environment()
            desk = self.state / "desk"
            public = desk / "public.json"
            self.portal_env = portal | {"IMPRIMATUR_DESK_FILE": str(public)}
            make_keys = [] if public.exists() else [(["desk-keys", str(desk)], "", portal)]
            owner = ["add-owner", OWNER_EMAIL, "--name", OWNER_NAME, "--account", self.owner]
            commands = [
                (["db", "upgrade"], "", portal),
                *make_keys,
                # Files that an older version stored as they came.
                (["seal-files"], "", self.portal_env),
                (owner, self.secrets["owner_password"] + "\n", portal),
                (["add-printer", OWNER_EMAIL, PRINTER_NAME, self.printer], "", portal),
            ]
            told = [{"arguments": words, "stdin": stdin, "env": env} for words, stdin, env in commands]
            set_up = [PORTAL.command("python"), "tools/portal_commands.py"]
            self._do("portal-setup", set_up, stdin=json.dumps(told))
            self.desk_address = json.loads(public.read_text())["address"]

    def _start_portal(self) -> None:
        with step("Portal: web, worker and key desk started"):
            # Each process is told of the keys that it opens, and of no others.
            worker = {
                "IMPRIMATUR_OPERATOR_KEYSTORE": str(self.operator_keystore),
                "IMPRIMATUR_OPERATOR_PASSWORD_FILE": str(self.operator_keystore.with_suffix(".password")),
            }
            desk = {
                "IMPRIMATUR_DESK_KEYSTORE": str(self.state / "desk" / "keystore.json"),
                "IMPRIMATUR_DESK_VAULT": str(self.state / "desk" / "vault.age"),
                "IMPRIMATUR_DESK_PASSWORD_FILE": str(self.state / "desk" / "password"),
            }
            flask = [PORTAL.command("flask"), "--app", "app", "worker"]
            self.worker = self._start("The portal's worker", "portal-worker", flask, worker)
            self.desk = self._start("The key desk", "desk", self._gunicorn("app.desk", "desk", 1), desk)
            self.web = self._start("The portal", "portal-web", self._gunicorn("app", "portal", 2), {})

    def _gunicorn(self, module: str, port: str, processes: int) -> list[str | Path]:
        bind = f"127.0.0.1:{self._reserved[port].release()}"
        return [
            PORTAL.command("gunicorn"),
            f"{module}:create_app()",
            "--worker-class=gthread",
            f"--workers={processes}",
            "--threads=4",
            "--no-control-socket",
            f"--bind={bind}",
        ]

    def _start(self, name: str, log: str, argv: Sequence[object], env: dict[str, str]) -> Service:
        """Start a process of the portal."""
        return self.services.start(
            name, argv, self.logs / f"{log}.log", self.env | self.portal_env | env, ROOT
        )

    def _wait(self) -> None:
        with step("Portal answers"):
            self.web.wait_until(lambda: http_ok(f"{self.portal_url}/healthz"), 60)
        with step("Key desk answers"):
            self.desk.wait_until(lambda: http_ok(f"{self.desk_url}/healthz"), 60)
        with step("OctoPrint answers and the virtual printer is connected"):
            self.octoprint.wait_until(self._printer_is_operational, 120)

    def _printer_is_operational(self) -> bool:
        return http_ok(f"{self.octoprint_url}/api/printer", {"X-Api-Key": self.secrets["octoprint_api_key"]})

    def _write_summary(self) -> None:
        """Everything that a browser, the story or a test needs to use the demo."""
        summary = {
            "portal": self.portal_url,
            "desk": self.desk_url,
            "desk_address": self.desk_address,
            "octoprint": self.octoprint_url,
            "chain": self.chain_url,
            "chain_id": self.chain_id,
            "contract": self.contract["address"],
            "contract_since": self.contract["block"],
            "owner": {
                "account": self.owner,
                "email": OWNER_EMAIL,
                "password": self.secrets["owner_password"],
            },
            "operator": {"name": OPERATOR_NAME, "password": self.secrets["operator_password"]},
            "octoprint_api_key": self.secrets["octoprint_api_key"],
            "printer": {"name": PRINTER_NAME, "wallet": self.printer},
            "example": str(example_gcode()),
        }
        _private_write(self.summary, json.dumps(summary, indent=2) + "\n")

    def greeting(self) -> str:
        return f"""
Imprimatur is running.

  Portal     {self.portal_url}    sign in as {OWNER_EMAIL} with {self.secrets["owner_password"]}
  OctoPrint  {self.octoprint_url}    sign in as {OPERATOR_NAME} with {self.secrets["operator_password"]}
  Explorer   {self.portal_url}/explorer
  Chain      {self.chain_url} (chain {self.chain_id}, PrintLicense {self.contract["address"]})

Try it: sign in to the portal, upload {example_gcode().relative_to(ROOT)},
issue 2 copies for “{PRINTER_NAME}”, then open the tab “Licensed jobs” in OctoPrint.

Data stays in {self.state}. Ctrl-C stops everything.
"""


def example_gcode() -> Path:
    """The print file that comes with the project."""
    return next((ROOT / "examples").glob("*/*.gcode"))


def run_demo(state: Path, instant_heat: bool) -> int:
    """Run the demo until a signal. Raises StepFailed when a server ends by itself."""
    with StateFolder(state) as folder, Services(folder.descriptor) as services:
        demo = Demo(state, services, instant_heat)
        demo.run()
        say(demo.greeting())
        while (ended := services.first_ended()) is None:
            time.sleep(0.5)
        raise StepFailed(
            f"{ended.name} ended with code {ended.exit_code}. {ended.log} ends:\n{tail(ended.log)}"
        )


def play_in_demo(state: Path, script: str) -> int:
    """Run a script with a demo of its own, which starts from nothing; the script's exit code."""
    with StateFolder(state) as folder, Services(folder.descriptor) as services:
        folder.empty()
        demo = Demo(state, services, instant_heat=True)
        demo.run()
        argv = [PORTAL.command("python"), "-m", script, demo.summary]
        return run_to_end(argv, sys.stdout, demo.env, ROOT)[0]
