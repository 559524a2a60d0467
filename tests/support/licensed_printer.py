"""A printer that may print only what is licensed, and the licenses that tests issue for it."""

import itertools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imprimatur.chain import node
from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal
from support.node import ROOT, Chain
from support.octoprint import ENVIRONMENT, OctoPrint

STARTER = ROOT / "tests" / "plugin" / "print_starter.py"
WATCHER = ROOT / "tests" / "plugin" / "line_watcher.py"
START_SCRIPT = "M104 S199"
_numbers = itertools.count(1)


def part(lines: int = 40) -> bytes:
    """A tiny print file, different each time: heats, homes, then feeds material."""
    moves = "".join(f"G1 X{i} Y{i % 7} E0.0{i % 9 + 1} F6000\n" for i in range(1, lines + 1))
    return f"; part {next(_numbers)}\nM104 S50\nG28 ; home\nM83\n{moves}M104 S0\n".encode()


@dataclass(frozen=True)
class Issued:
    """A license that a test made, and the file that belongs to it."""

    id: int
    data: bytes

    @property
    def lines(self) -> list[str]:
        text = self.data.decode()
        return [stripped for line in text.splitlines() if (stripped := line.split(";")[0].strip())]


Issue = Callable[..., Issued]


def issuer(owner: KeySigner, portal: DeliveryPortal, printer: str) -> Issue:
    """A way to issue licenses for `printer`, with their sealed files in the portal."""
    portal.devices.add(printer)

    def issue(copies: int = 1, data: bytes | None = None, **terms: int) -> Issued:
        data = part() if data is None else data
        return Issued(portal.offer(owner, printer, data, copies, f"T-{next(_numbers)}", **terms), data)

    return issue


@dataclass
class Printer:
    """The real OctoPrint, and its account, which never holds any coins."""

    octoprint: OctoPrint
    address: str
    chain: Chain

    def transactions(self) -> int:
        """Transactions of the printer that the chain knows."""
        return node.mined_count(self.chain.rpc, self.address)

    def used(self, id: int) -> int:
        license = self.chain.licenses.license_of(id)
        assert license is not None
        return license.used


def plugin_settings(chain: Chain, portal: DeliveryPortal) -> dict[str, object]:
    return {
        "portal_url": portal.url,
        "desk_url": portal.desk_url,
        "desk_address": portal.desk.address,
        "node_url": chain.url,
        "chain_id": chain.chain_id,
        "contract": chain.licenses.address,
        "contract_since": chain.licenses.since,
    }


def write_start_script(basedir: Path) -> None:
    """A script of OctoPrint's that heats before each print."""
    scripts = basedir / "scripts" / "gcode"
    scripts.mkdir(parents=True)
    (scripts / "beforePrintStarted").write_text(START_SCRIPT)


def address_in(basedir: Path, environment: Path = ENVIRONMENT) -> str:
    """The address that the key command prints."""
    command = [environment / "bin" / "python", "-m", "octoprint_imprimatur.keys", basedir]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()
