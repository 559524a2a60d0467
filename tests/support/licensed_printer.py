"""A printer that may print only what is licensed, and the licenses that tests issue for it."""

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imprimatur.chain import node
from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal
from support.node import ROOT, Chain
from support.octoprint import ENVIRONMENT, OctoPrint, running_octoprint

STARTER = ROOT / "tests" / "plugin" / "print_starter.py"
WATCHER = ROOT / "tests" / "plugin" / "line_watcher.py"
START_SCRIPT = "M104 S199"
_numbers = itertools.count(1)


def part(lines: int = 40) -> bytes:
    """A tiny print file, different each time: heats, homes, then feeds material."""
    moves = "".join(f"G1 X{i} Y{i % 7} E0.0{i % 9 + 1} F6000\n" for i in range(1, lines + 1))
    return f"; part {next(_numbers)}\nM104 S50\nG28 ; home\nM83\n{moves}M104 S0\n".encode()


def long_part(moves: int = 200, travels: int = 0) -> bytes:
    """A file that is printed in no time, and for long while the machine takes its time for each move.

    Args:
        moves: how many feed material.
        travels: how many come before those.
    """
    before = "".join(f"G1 X{i} Y3\n" for i in range(travels))
    part = "".join(f"G1 X{i} E0.01\n" for i in range(moves))
    return f"; part {next(_numbers)}\nG28\n{before}M83\n{part}".encode()


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


def give_key(basedir: Path) -> str:
    """A new printer key, whose keystore takes no time to open, unlike one that is made for an operator; its
    address."""
    from eth_account import Account

    from octoprint_imprimatur import keys

    folder, password, account = keys.data_folder(basedir), "known to tests", Account.create()
    keys.write_secret(folder / keys.PASSWORD, password)
    keystore = Account.encrypt(account.key, password, iterations=2)
    keys.write_secret(folder / keys.KEYSTORE, json.dumps(keystore))
    return str(account.address)


@contextmanager
def running_printer(
    chain: Chain,
    portal: DeliveryPortal,
    basedir: Path,
    extra_plugins: Sequence[Path],
    environment: Path = ENVIRONMENT,
) -> Iterator[Printer]:
    """A started OctoPrint with a key, the settings of this chain and portal, and the start script."""
    address = give_key(basedir)
    write_start_script(basedir)
    settings = plugin_settings(chain, portal)
    with running_octoprint(basedir, settings, extra_plugins, environment=environment) as octoprint:
        yield Printer(octoprint, address, chain)
