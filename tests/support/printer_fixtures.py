"""Fixtures of the suites that share one chain, one portal and one real OctoPrint with the plugin.

A suite's conftest takes them in by name, and adds `shared_printer`: the OctoPrint that it wants to look at.
"""

import gc
import warnings
from collections.abc import Iterator

import pytest

from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal, running_portal
from support.licensed_printer import Issue, Printer, issuer
from support.node import Chain, running_chain

with warnings.catch_warnings():
    # OctoPrint leaves a socket open when it is imported.
    warnings.simplefilter("ignore", ResourceWarning)
    import octoprint.util.net  # noqa: F401

    gc.collect()


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
