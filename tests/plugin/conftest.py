"""A chain, a portal and one real OctoPrint that the tests of this folder share."""

import gc
import warnings
from collections.abc import Iterator

import pytest

from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal, running_portal
from support.licensed_printer import (
    START_SCRIPT,
    STARTER,
    WATCHER,
    Issue,
    Issued,
    Printer,
    address_in,
    issuer,
    part,
    plugin_settings,
    write_start_script,
)
from support.node import Chain, running_chain
from support.octoprint import running_octoprint

with warnings.catch_warnings():
    # OctoPrint leaves a socket open when it is imported.
    warnings.simplefilter("ignore", ResourceWarning)
    import octoprint.util.net  # noqa: F401

    gc.collect()

__all__ = [
    "STARTER",
    "START_SCRIPT",
    "WATCHER",
    "Issue",
    "Issued",
    "Printer",
    "address_in",
    "issuer",
    "part",
    "plugin_settings",
    "write_start_script",
]


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
    basedir = tmp_path_factory.mktemp("octoprint")
    address = address_in(basedir)
    write_start_script(basedir)
    settings = plugin_settings(chain, shared_portal)
    with running_octoprint(basedir, settings, [STARTER, WATCHER]) as octoprint:
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
