"""The portal's connection to the chain: web3.py below, the library's typed contract client above."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprimatur import address_book
from imprimatur.chain.account import kept_recursion_limit
from imprimatur.chain.print_license import CONTRACT, PrintLicense
from imprimatur.chain.rpc import CONNECT_TIMEOUT, READ_TIMEOUT, NodeRefused, NodeUnreachable

if TYPE_CHECKING:
    from web3.providers import BaseProvider


class Web3Rpc:
    """The library's `Rpc` over a web3.py provider."""

    def __init__(self, provider: "BaseProvider") -> None:
        with kept_recursion_limit():
            from web3 import Web3

        self.web3 = Web3(provider)

    def call(self, method: str, params: list[Any]) -> Any:
        import requests
        from web3.exceptions import Web3Exception
        from web3.types import RPCEndpoint

        provider: Any = self.web3.provider
        try:
            answer = provider.make_request(RPCEndpoint(method), params)
        except (requests.RequestException, Web3Exception, ValueError, OSError) as error:
            # ValueError: an answer that isn't JSON, such as a proxy's error page.
            raise NodeUnreachable(f"The chain node doesn't answer ({type(error).__name__}).") from error
        refusal = answer.get("error")
        if isinstance(refusal, str):
            raise NodeRefused(0, refusal)
        if refusal:
            raise NodeRefused(refusal.get("code", 0), refusal.get("message", ""), refusal.get("data"))
        if "result" not in answer:
            raise NodeUnreachable("The chain node's answer isn't JSON-RPC.")
        return answer["result"]


def http_rpc(url: str) -> Web3Rpc:
    """The node at `url`. Nothing is asked yet."""
    with kept_recursion_limit():
        from web3 import HTTPProvider

    # Callers decide what to repeat and when: the worker by its loop, a page by saying so.
    provider = HTTPProvider(
        url,
        request_kwargs={"timeout": (CONNECT_TIMEOUT, READ_TIMEOUT)},
        exception_retry_configuration=None,
    )
    return Web3Rpc(provider)


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
                rpc = http_rpc(self.url) if self._provider is None else Web3Rpc(self._provider)
                chain_id = int(rpc.call("eth_chainId", []), 16)
                entry = address_book.load(self._deployments, chain_id, CONTRACT)
                self._licenses = PrintLicense(rpc, entry.address, entry.block)
            return self._licenses
