"""A chain, a portal and one real OctoPrint that the tests of this folder share."""

import gc
import itertools
import subprocess
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imprimatur.chain import node
from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal, running_portal
from support.node import Chain, running_chain
from support.octoprint import ENVIRONMENT, OctoPrint, running_octoprint

with warnings.catch_warnings():
    # OctoPrint leaves a socket open when it is imported.
    warnings.simplefilter("ignore", ResourceWarning)
    import octoprint.util.net  # noqa: F401

    gc.collect()

STARTER = Path(__file__).parent / "print_starter.py"
START_SCRIPT = "M104 S199"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def chain() -> Iterator[Chain]:
    with running_chain() as chain:
        yield chain


@pytest.fixture(scope="session")
def owner(chain: Chain) -> KeySigner:
    return chain.account()


@pytest.fixture(scope="session")
def shared_portal(chain: Chain) -> Iterator[DeliveryPortal]:
    with running_portal(chain) as portal:
        yield portal


@pytest.fixture
def portal(shared_portal: DeliveryPortal) -> DeliveryPortal:
    """Honest at the start of each test."""
    shared_portal.reset()
    return shared_portal


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


def address_in(basedir: Path) -> str:
    """The address that the key command prints."""
    command = [ENVIRONMENT / "bin" / "python", "-m", "octoprint_imprimatur.keys", basedir]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def shared_printer(
    chain: Chain, shared_portal: DeliveryPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Printer]:
    basedir = tmp_path_factory.mktemp("octoprint")
    address = address_in(basedir)
    write_start_script(basedir)
    with running_octoprint(basedir, plugin_settings(chain, shared_portal), [STARTER]) as octoprint:
        yield Printer(octoprint, address, chain)


@pytest.fixture
def printer(shared_printer: Printer) -> Printer:
    """Idle at the start of each test, whatever the last one left behind."""
    if not shared_printer.octoprint.operational():
        shared_printer.octoprint.post("/api/job", command="cancel")
    shared_printer.octoprint.wait_until_operational()
    return shared_printer


@pytest.fixture
def issue(owner: KeySigner, portal: DeliveryPortal, printer: Printer) -> Issue:
    """Issue a license for the real printer."""
    return issuer(owner, portal, printer.address)
