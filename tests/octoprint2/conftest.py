"""A chain, a portal and one real OctoPrint 2.0 that the tests of this folder share.

They see it from outside, by HTTP and with a browser.
"""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal, running_portal
from support.licensed_printer import (
    STARTER,
    Issue,
    Printer,
    address_in,
    issuer,
    plugin_settings,
    write_start_script,
)
from support.node import ROOT, Chain, running_chain
from support.octoprint import OctoPrint, running_octoprint

with warnings.catch_warnings():
    # OctoPrint leaves a socket open when it is imported.
    warnings.simplefilter("ignore", ResourceWarning)
    import octoprint.util.net  # noqa: F401

    gc.collect()

ENVIRONMENT = ROOT / ".venv-octoprint2"
CONNECTOR = Path(__file__).parent / "quiet_connector.py"


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


@pytest.fixture(scope="session")
def shared_printer(
    chain: Chain, shared_portal: DeliveryPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Printer]:
    basedir = tmp_path_factory.mktemp("octoprint2")
    address = address_in(basedir, ENVIRONMENT)
    write_start_script(basedir)
    settings = plugin_settings(chain, shared_portal)
    with running_octoprint(basedir, settings, [STARTER, CONNECTOR], environment=ENVIRONMENT) as octoprint:
        octoprint.card = "printer"
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


@pytest.fixture(scope="session")
def without_plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OctoPrint]:
    """OctoPrint 2.0 with everything but our plugin: the control."""
    basedir = tmp_path_factory.mktemp("control2")
    write_start_script(basedir)
    extra = [STARTER, CONNECTOR]
    with running_octoprint(basedir, {}, extra, ["imprimatur"], environment=ENVIRONMENT) as octoprint:
        octoprint.card = "printer"
        yield octoprint
