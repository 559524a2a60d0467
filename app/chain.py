"""The portal's connection to the chain: web3.py below, the library's typed contract client above."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from imprimatur import address_book
from imprimatur.chain import node
from imprimatur.chain.account import kept_recursion_limit
from imprimatur.chain.adapters import ProviderRpc
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
