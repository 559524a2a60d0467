"""The portal's connection to the chain: web3.py below, the library's typed contract client above."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imprimatur import address_book
from imprimatur.address_book import NotDeployed
from imprimatur.chain import node
from imprimatur.chain.account import kept_recursion_limit
from imprimatur.chain.adapters import ProviderRpc
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.print_license import CONTRACT, PrintLicense
from imprimatur.chain.rpc import CONNECT_TIMEOUT, READ_TIMEOUT

if TYPE_CHECKING:
    from web3.providers import BaseProvider


def http_rpc(url: str) -> ProviderRpc:
    """The node at `url`. Nothing is asked yet."""
    with kept_recursion_limit():
        from web3 import HTTPProvider

    # Callers decide what to repeat and when: the worker by its loop, a page by saying so.
    provider = HTTPProvider(
        url,
        request_kwargs={"timeout": (CONNECT_TIMEOUT, READ_TIMEOUT)},
        exception_retry_configuration=None,
    )
    return ProviderRpc(provider)


class ChainConnection:
    """Finds the trusted contract on the node's chain when it is first needed, and keeps it."""

    def __init__(self, url: str, deployments: Path, provider: "BaseProvider | None" = None) -> None:
        self.url = url
        self._deployments = deployments
        self._provider = provider
        self._licenses: PrintLicense | None = None
        self._devices: DeviceRegistry | None = None
        self._lock = threading.Lock()

    def licenses(self) -> PrintLicense:
        """The contract.

        Raises:
            NodeUnreachable: the node doesn't answer.
            NotDeployed: the address book has no contract on the node's chain.
        """
        with self._lock:
            if self._licenses is None:
                rpc = http_rpc(self.url) if self._provider is None else ProviderRpc(self._provider)
                chain_id = node.chain_id(rpc)
                entry = address_book.load(self._deployments, chain_id, CONTRACT)
                self._licenses = PrintLicense(rpc, entry.address, entry.block)
            return self._licenses

    def devices(self) -> DeviceRegistry:
        """The registry that the contract believes.

        When the address book doesn't name it, its events are read from the contract's own first block:
        bindings that are older than the contract are then missing in the picture.

        Raises:
            NodeUnreachable, NotDeployed: as `licenses`.
        """
        licenses = self.licenses()
        with self._lock:
            if self._devices is None:
                address, since = licenses.devices(), licenses.since
                with suppress(NotDeployed):
                    chain_id = node.chain_id(licenses.rpc)
                    entry = address_book.load(self._deployments, chain_id, DeviceRegistry.NAME)
                    if entry.address.lower() == address.lower():
                        since = entry.block
                self._devices = DeviceRegistry(licenses.rpc, address, since)
            return self._devices
