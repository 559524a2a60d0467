"""A node whose answers have at least the shape that the Ethereum JSON-RPC specification gives them.

Whoever works with an answer checks what it means. That a number is one and a list is one, is checked here for
all of them, so that nonsense is the node's fault and not a fault of the command.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, Rpc

_QUANTITY = re.compile("0x[0-9a-fA-F]{1,64}")
_DATA = re.compile("0x(?:[0-9a-fA-F]{2})*")
_HASH = re.compile("0x[0-9a-fA-F]{64}")

Shape = Callable[[Any], bool]


def _is(pattern: re.Pattern[str]) -> Shape:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _list_of(shape: Shape) -> Shape:
    return lambda value: isinstance(value, list) and all(map(shape, value))


def _object(**shapes: Shape) -> Shape:
    return lambda value: (
        isinstance(value, dict) and all(shape(value.get(name)) for name, shape in shapes.items())
    )


def _or_none(shape: Shape) -> Shape:
    return lambda value: value is None or shape(value)


_quantity, _data, _hash = _is(_QUANTITY), _is(_DATA), _is(_HASH)
_block = _or_none(_object(number=_quantity, hash=_hash, timestamp=_quantity))
_log = _object(
    address=_data,
    topics=_list_of(_hash),
    data=_data,
    blockNumber=_quantity,
    blockHash=_hash,
    transactionHash=_hash,
    logIndex=_quantity,
)
_receipt = _object(transactionHash=_hash, logs=_list_of(_log))
SHAPES: dict[str, Shape] = {
    "eth_chainId": _quantity,
    "eth_call": _data,
    "eth_getCode": _data,
    "eth_getBlockByHash": _block,
    "eth_getBlockByNumber": _block,
    "eth_getBlockReceipts": _or_none(_list_of(_receipt)),
    "eth_getLogs": _list_of(_log),
    "eth_getProof": _object(
        accountProof=_list_of(_data), storageProof=_list_of(_object(proof=_list_of(_data)))
    ),
    "eth_getTransactionReceipt": _or_none(_receipt),
}
"""By method: what the commands ask."""


class CheckedRpc(Rpc):
    """Asks `rpc`.

    Raises:
        NodeUnreachable: an answer has another shape; beside the errors of `Rpc`.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def call(self, method: str, params: list[Any]) -> Any:
        return _checked(method, self._rpc.call(method, params))

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        answers = self._rpc.batch(calls)
        return [
            answer if isinstance(answer, NodeRefused) else _checked(method, answer)
            for (method, _), answer in zip(calls, answers, strict=True)
        ]


def _checked(method: str, answer: Any) -> Any:
    shape = SHAPES.get(method)
    if shape is not None and not shape(answer):
        raise NodeUnreachable(f"The chain node's answer to {method} makes no sense. Use another node.")
    return answer
