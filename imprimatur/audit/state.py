"""Asking contracts for their state at the block of an audit."""

from collections.abc import Sequence
from typing import Any

from imprimatur.chain.contract import EXECUTION_REVERTED, Contract, block_parameter, revert_of
from imprimatur.chain.interface import ContractReverted, MalformedData, Values
from imprimatur.chain.rpc import NodeRefused, Rpc

Refusal = ContractReverted | MalformedData
"""The contract's own no, or an answer that isn't one of our contract."""


class State:
    """What contracts say at the end of the block with the hash `block`.

    `unavailable` is what the node said when it couldn't answer, such as for a state that it has forgotten;
    None as long as it could. That says nothing about the contracts, and takes nothing back of what others of
    its answers said.
    """

    def __init__(self, rpc: Rpc, block: str) -> None:
        self._rpc = rpc
        self._block = block_parameter(block)
        self.unavailable: str | None = None

    def code(self, contract: Contract) -> bytes | None:
        """The contract's code; None when the node couldn't say.

        Raises:
            NodeUnreachable: no usable answer.
        """
        answer = self._batch([("eth_getCode", [contract.address, self._block])])[0]
        return None if answer is None else bytes.fromhex(answer.removeprefix("0x"))

    def ask(
        self, contract: Contract, function: str, arguments: Sequence[tuple[Any, ...]]
    ) -> list[Values | Refusal | None]:
        """The function's values for each of the arguments, asked at once; None where the node couldn't say.

        Raises:
            NodeUnreachable: no usable answer.
        """
        calls = [
            {"to": contract.address, "data": contract.interface.encode_call(function, *some)}
            for some in arguments
        ]
        answers = self._batch([("eth_call", [call, self._block]) for call in calls])
        return [_read(contract, function, answer) for answer in answers]

    def _batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Answers, with reverts as `ContractReverted` and other refusals as None."""
        answers: list[Any] = []
        for answer in self._rpc.batch(calls) if calls else ():
            if isinstance(answer, NodeRefused):
                refused, answer = answer, _revert(answer)
                if answer is None and self.unavailable is None:
                    self.unavailable = str(refused)
            answers.append(answer)
        return answers


def _read(contract: Contract, function: str, answer: Any) -> Values | Refusal | None:
    if answer is None or isinstance(answer, ContractReverted):
        return answer
    try:
        return contract.interface.decode_result(function, answer)
    except MalformedData as error:
        return error


def _revert(refused: NodeRefused) -> ContractReverted | None:
    """The revert behind a refusal; also one without a word, which none of our contracts says."""
    if revert := revert_of(refused):
        return revert
    if refused.code == EXECUTION_REVERTED or "revert" in refused.message.lower():
        return ContractReverted("Error", {"message": refused.message})
    return None
