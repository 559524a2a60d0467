"""A chain that ends where an audit ends, though the real one grows meanwhile."""

from collections.abc import Sequence
from typing import Any

from imprimatur.chain.rpc import Rpc


class PinnedRpc(Rpc):
    """Asks `rpc`, and calls the block with the number `newest` the latest."""

    def __init__(self, rpc: Rpc, newest: int) -> None:
        self._rpc = rpc
        self._newest = newest

    def call(self, method: str, params: list[Any]) -> Any:
        return self._rpc.call(method, self._pinned(params))

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        return self._rpc.batch([(method, self._pinned(params)) for method, params in calls])

    def _pinned(self, params: list[Any]) -> list[Any]:
        return [hex(self._newest) if param == "latest" else self._in_query(param) for param in params]

    def _in_query(self, param: Any) -> Any:
        if isinstance(param, dict) and param.get("toBlock") == "latest":
            return param | {"toBlock": hex(self._newest)}
        return param
