"""Talking JSON-RPC to an Ethereum node."""

import itertools
from typing import Any, Protocol

from imprimatur.errors import ImprimaturError

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 20.0
"""Seconds."""


class NodeUnreachable(ImprimaturError):
    """No answer from the node: whether it did what was asked is unknown."""


class NodeRefused(ImprimaturError):
    """The node answered with a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"The chain node refused: {message} (code {code}).")
        self.code = code
        self.message = message
        self.data = data


class Rpc(Protocol):
    """A way to ask a node. Results are the JSON values of the Ethereum JSON-RPC specification."""

    def call(self, method: str, params: list[Any]) -> Any:
        """Result of one call.

        Raises:
            NodeUnreachable: no usable answer.
            NodeRefused: the node answered with an error.
        """


class HttpRpc:
    """JSON-RPC over HTTP(S) on one kept connection."""

    def __init__(self, url: str, read_timeout: float = READ_TIMEOUT) -> None:
        import requests

        self.url = url
        self._timeout = (CONNECT_TIMEOUT, read_timeout)
        self._session = requests.Session()
        self._ids = itertools.count(1)

    def call(self, method: str, params: list[Any]) -> Any:
        import requests

        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            response = self._session.post(self.url, json=request, timeout=self._timeout)
            answer = response.json()
        except requests.RequestException as error:
            raise NodeUnreachable(f"The chain node doesn't answer ({type(error).__name__}).") from error
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise NodeUnreachable(f"The chain node's answer isn't JSON-RPC (HTTP {response.status_code}).")
        if refusal := answer.get("error"):
            raise NodeRefused(refusal.get("code", 0), refusal.get("message", ""), refusal.get("data"))
        return answer["result"]
