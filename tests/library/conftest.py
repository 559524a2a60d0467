"""For each module: a real node, a portal on it; for each test: a printer's device."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal, running_portal
from support.keystores import cheap_keystores
from support.node import Chain, running_chain
from support.printing_device import PrintingDevice

__all__ = ["cheap_keystores"]


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with running_chain() as chain:
        yield chain


@pytest.fixture(scope="module")
def book(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the chain's address book."""
    folder = tmp_path_factory.mktemp("book")
    chain.write_address_book(folder)
    return folder


@pytest.fixture(scope="module")
def portal(chain: Chain) -> Iterator[DeliveryPortal]:
    with running_portal(chain) as portal:
        yield portal


@pytest.fixture
def device(chain: Chain, portal: DeliveryPortal, tmp_path: Path) -> Iterator[PrintingDevice]:
    portal.reset()
    device = PrintingDevice(chain, portal, tmp_path, chain.account(), KeySigner(os.urandom(32)))
    yield device
    device.stop()
