"""A chain, a portal and one real OctoPrint 2.0 that the tests of this folder share.

They see it from outside, by HTTP and with a browser.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.delivery_portal import DeliveryPortal
from support.licensed_printer import STARTER, Printer, running_printer, write_start_script
from support.node import ROOT, Chain
from support.octoprint import OctoPrint, running_octoprint
from support.printer_fixtures import chain, issue, owner, portal, printer, shared_portal

__all__ = ["chain", "issue", "owner", "portal", "printer", "shared_portal"]

ENVIRONMENT = ROOT / ".venv-octoprint2"
CONNECTOR = Path(__file__).parent / "quiet_connector.py"


@pytest.fixture(scope="session")
def shared_printer(
    chain: Chain, shared_portal: DeliveryPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Printer]:
    basedir = tmp_path_factory.mktemp("octoprint2")
    with running_printer(chain, shared_portal, basedir, [STARTER, CONNECTOR], ENVIRONMENT) as printer:
        printer.octoprint.card = "printer"
        yield printer


@pytest.fixture(scope="session")
def without_plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OctoPrint]:
    """OctoPrint 2.0 with everything but our plugin: the control."""
    basedir = tmp_path_factory.mktemp("control2")
    write_start_script(basedir)
    extra = [STARTER, CONNECTOR]
    with running_octoprint(basedir, {}, extra, ["imprimatur"], environment=ENVIRONMENT) as octoprint:
        octoprint.card = "printer"
        yield octoprint
