"""A chain, a portal and one real OctoPrint that the tests of this folder share."""

from collections.abc import Iterator

import pytest
from start_paths import clean, prepare

from support.delivery_portal import DeliveryPortal
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
    running_printer,
    write_start_script,
)
from support.node import Chain
from support.octoprint import OctoPrint
from support.printer_fixtures import chain, issue, owner, portal, printer, shared_portal

__all__ = [
    "STARTER",
    "START_SCRIPT",
    "WATCHER",
    "Issue",
    "Issued",
    "Printer",
    "address_in",
    "chain",
    "issue",
    "issuer",
    "owner",
    "part",
    "plugin_settings",
    "portal",
    "printer",
    "running_printer",
    "shared_portal",
    "write_start_script",
]


@pytest.fixture(scope="session")
def shared_printer(
    chain: Chain, shared_portal: DeliveryPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Printer]:
    basedir = tmp_path_factory.mktemp("octoprint")
    with running_printer(chain, shared_portal, basedir, [STARTER, WATCHER]) as printer:
        yield printer


@pytest.fixture(scope="module")
def prepared(shared_printer: Printer) -> Iterator[int]:
    """The shared OctoPrint has the files of `start_paths` during this module; how long its log was before."""
    prepare(shared_printer.octoprint)
    yield len(shared_printer.octoprint.log())
    clean(shared_printer.octoprint)


@pytest.fixture
def octoprint(prepared: int, printer: Printer) -> OctoPrint:
    """With the files of `start_paths`."""
    return printer.octoprint
