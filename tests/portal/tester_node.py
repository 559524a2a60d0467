"""eth-tester behind a web3 provider that answers like a node: JSON-RPC values, reverts with their data."""

import ast
from typing import Any

from eth_tester.exceptions import TransactionFailed
from eth_utils.exceptions import ValidationError
from web3 import EthereumTesterProvider, Web3
from web3.providers import BaseProvider


class TesterNode(BaseProvider):
    """A node in this process. `down` makes it unreachable."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__()
        self._web3 = Web3(EthereumTesterProvider())
        # It mistakes the contract address of a log query for a name.
        self._web3.middleware_onion.remove("ens_name_to_address")
        self.down = False

    def make_request(self, method: str, params: Any) -> Any:
        if self.down:
            raise ConnectionError("the test pulled the plug")
        try:
            if method == "eth_getLogs":
                return {"result": self._logs(params[0])}
            return {"result": _as_json(self._web3.manager.request_blocking(method, params))}
        except ValidationError as failure:
            # Nodes estimate without looking at the balance; eth-tester looks.
            if method != "eth_estimateGas" or "cannot afford" not in str(failure):
                raise
            return {"result": hex(200_000)}
        except TransactionFailed as failure:
            return {"error": {"code": 3, "message": "execution reverted", "data": _revert_data(failure)}}

    def _logs(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """eth-tester knows no alternatives in topics: one question each."""
        first, *others = query["topics"] or [None]
        found = []
        for topic in [first] if isinstance(first, str) else first or [None]:
            one = {**query, "topics": [topic, *others]}
            found += [
                _as_json(dict(log)) for log in self._web3.manager.request_blocking("eth_getLogs", [one])
            ]
        return sorted(found, key=lambda log: (int(log["blockNumber"], 16), int(log["logIndex"], 16)))


def _revert_data(failure: TransactionFailed) -> str:
    text = str(failure.args[0]).removeprefix("execution reverted: ")
    return "0x" + ast.literal_eval(text).hex() if text.startswith("b") else "0x"


def _as_json(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if hasattr(value, "items"):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value]
