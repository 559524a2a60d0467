"""An Ethereum chain inside this process (eth-tester with py-evm), behind the library's `Rpc`."""

import ast
from typing import Any

from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed

from imprimatur.chain.rpc import NodeRefused

GAS_LIMIT = 16_000_000
START = 4_000_000_000
"""The chain's clock at the start (Unix seconds): ahead of this machine's, which then plays no role."""


class TesterRpc:
    """As much of JSON-RPC as the client needs. Calls see the state and the clock of the next block."""

    def __init__(self) -> None:
        self.tester = EthereumTester(PyEVMBackend())
        self.tester.time_travel(START)

    def call(self, method: str, params: list[Any]) -> Any:
        match method:
            case "eth_accounts":
                return list(self.tester.get_accounts())
            case "eth_call":
                return self._call(params[0])
            case "eth_sendTransaction":
                return self._send(params[0])
            case "eth_getTransactionReceipt":
                return self._receipt(params[0])
        raise NodeRefused(-32601, f"{method} isn't there")

    def now(self) -> int:
        """Time of the next block."""
        return int(self.tester.get_block_by_number("pending")["timestamp"])

    def _complete(self, call: dict[str, Any]) -> dict[str, Any]:
        gas = int(call["gas"], 16) if "gas" in call else GAS_LIMIT
        return {"from": self.tester.get_accounts()[0], **call, "gas": gas}

    def _call(self, call: dict[str, Any]) -> str:
        try:
            return str(self.tester.call(self._complete(call), "pending"))
        except TransactionFailed as failed:
            # eth-tester gives the revert data as the text of a Python literal.
            data = ast.literal_eval(str(failed.args[0]))
            raise NodeRefused(3, "execution reverted", "0x" + data.hex()) from failed

    def _send(self, transaction: dict[str, Any]) -> str:
        return str(self.tester.send_transaction(self._complete(transaction)))

    def _receipt(self, hash: str) -> dict[str, Any]:
        receipt = self.tester.get_transaction_receipt(hash)
        logs = [
            {
                "address": log["address"],
                "topics": list(log["topics"]),
                "data": log["data"],
                "blockNumber": hex(log["block_number"]),
                "blockHash": log["block_hash"],
                "transactionHash": log["transaction_hash"],
                "logIndex": hex(log["log_index"]),
            }
            for log in receipt["logs"]
        ]
        return {
            "status": hex(receipt["status"]),
            "blockNumber": hex(receipt["block_number"]),
            "contractAddress": receipt["contract_address"],
            "gasUsed": hex(receipt["gas_used"]),
            "logs": logs,
        }
