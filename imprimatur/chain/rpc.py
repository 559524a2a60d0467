"""Talking JSON-RPC to an Ethereum node."""

import itertools
import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from imprimatur.chain.http import HttpPeer, NoAnswer
from imprimatur.chain.json_depth import parse
from imprimatur.errors import ImprimaturError

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 20.0
DEADLINE = 30.0
"""Seconds."""
RETRIES = 2
FIRST_PAUSE = 0.1
"""Seconds before the first repetition; doubled each time."""
LARGEST_ANSWER = 256 << 20
"""Bytes."""
BUSY = (429, 503)
"""HTTP status of a node that asks for patience."""
BATCH_SIZE = 100
"""Calls in one request: what public nodes commonly allow."""

REPEATABLE = frozenset(
    {
        "eth_accounts",
        "eth_blobBaseFee",
        "eth_blockNumber",
        "eth_call",
        "eth_chainId",
        "eth_createAccessList",
        "eth_estimateGas",
        "eth_feeHistory",
        "eth_gasPrice",
        "eth_getBalance",
        "eth_getBlockByHash",
        "eth_getBlockByNumber",
        "eth_getBlockReceipts",
        "eth_getBlockTransactionCountByHash",
        "eth_getBlockTransactionCountByNumber",
        "eth_getCode",
        "eth_getLogs",
        "eth_getProof",
        "eth_getStorageAt",
        "eth_getTransactionByBlockHashAndIndex",
        "eth_getTransactionByBlockNumberAndIndex",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_maxPriorityFeePerGas",
        "eth_syncing",
        "net_version",
        "web3_clientVersion",
    }
)
"""Methods that only read: asking again changes nothing. Sending is not among them; the outbox repeats it."""


_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
"""A number as the Ethereum JSON-RPC specification writes it; leading zeros, which it forbids, do no harm."""


class NodeUnreachable(ImprimaturError):
    """No answer from the node: whether it did what was asked is unknown."""


class NodeBusy(NodeUnreachable):
    """The node asks for patience (HTTP 429 or 503); `retry_after` are seconds, if it said how many."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        when = "later" if retry_after is None else f"in {retry_after:.0f} s"
        super().__init__(f"The chain node is busy (HTTP {status}). Try again {when}.")
        self.status = status
        self.retry_after = retry_after


class NodeRefused(ImprimaturError):
    """The node answered with a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        text = message if len(message) <= 300 else f"{message[:300]}…"
        super().__init__(f"The chain node refused: {text} (code {code}).")
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

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Results of several calls (method, parameters) in their order, asked at once where that is possible.

        A call that the node refuses has its `NodeRefused` in the list; it isn't raised. Classes that derive
        from this one and don't know better ask one call after the other.

        Raises:
            NodeUnreachable: no usable answer, to all or to some.
        """
        return [self._answer(method, params) for method, params in calls]

    def _answer(self, method: str, params: list[Any]) -> Any:
        try:
            return self.call(method, params)
        except NodeRefused as refused:
            return refused


def result_of(answer: Any) -> Any:
    """The result in a JSON-RPC answer.

    Raises:
        NodeUnreachable: it isn't one.
        NodeRefused: it is an error.
    """
    if not isinstance(answer, dict):
        raise NodeUnreachable("The chain node's answer isn't JSON-RPC.")
    refusal = answer.get("error")
    if isinstance(refusal, dict):
        code, message = refusal.get("code"), refusal.get("message")
        raise NodeRefused(code if isinstance(code, int) else 0, str(message or ""), refusal.get("data"))
    if refusal is not None:
        raise NodeRefused(0, str(refusal))
    if "result" not in answer:
        raise NodeUnreachable("The chain node's answer isn't JSON-RPC.")
    return answer["result"]


def result_or_refusal(answer: Any) -> Any:
    """As `result_of`, with a refusal handed back as batches have it."""
    try:
        return result_of(answer)
    except NodeRefused as refused:
        return refused


def quantity(answer: Any) -> int:
    """The number (0x…, up to 256 bits) in a node's answer.

    Raises:
        NodeUnreachable: it isn't one; null, for example.
    """
    if not isinstance(answer, str) or not _QUANTITY.fullmatch(answer):
        raise NodeUnreachable("The chain node's answer isn't a number.")
    return int(answer, 16)


class HttpRpc(Rpc):
    """JSON-RPC over HTTP(S). Each thread keeps a connection of its own, so one object serves all threads.

    Args:
        url: of the node; may hold credentials, which then stand in no error and no log of this class.
        read_timeout: seconds without a byte of the answer.
        connect_timeout: seconds to connect.
        deadline: seconds for a call with its repetitions and pauses, however slowly the node answers.
        retries: how often a call that only reads (`REPEATABLE`) is repeated when no usable answer came.
        largest_answer: bytes that an answer may have, unpacked.
        batch_size: calls in one request; longer batches are asked in several.
    """

    def __init__(
        self,
        url: str,
        read_timeout: float = READ_TIMEOUT,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        deadline: float = DEADLINE,
        retries: int = RETRIES,
        largest_answer: int = LARGEST_ANSWER,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.url = url
        self._peer = HttpPeer(url, connect_timeout, read_timeout, largest_answer)
        self._deadline = deadline
        self._retries = retries
        self._batch_size = batch_size
        self._ids = itertools.count(1)

    def __repr__(self) -> str:
        return f"HttpRpc({self._peer.host})"

    def call(self, method: str, params: list[Any], *, timeout: float | None = None) -> Any:
        """Result of one call; `timeout` replaces the seconds of both `read_timeout` and `deadline`."""
        id = next(self._ids)
        request = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        answer = self._ask(request, method in REPEATABLE, timeout, lambda answer: _answer_to(id, answer))
        return result_of(answer)

    def batch(self, calls: Sequence[tuple[str, list[Any]]], *, timeout: float | None = None) -> list[Any]:
        """Results of several calls in their order; `timeout` holds for each request of `batch_size` calls."""
        results: list[Any] = []
        for start in range(0, len(calls), self._batch_size):
            results += self._batch(calls[start : start + self._batch_size], timeout)
        return results

    def _batch(self, calls: Sequence[tuple[str, list[Any]]], timeout: float | None) -> list[Any]:
        ids = [next(self._ids) for _ in calls]
        request = [
            {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
            for id, (method, params) in zip(ids, calls, strict=True)
        ]
        repeatable = all(method in REPEATABLE for method, _ in calls)
        results: list[Any] = self._ask(request, repeatable, timeout, lambda answer: _results_of(ids, answer))
        return results

    def _ask(self, request: Any, repeatable: bool, timeout: float | None, read: Callable[[Any], Any]) -> Any:
        """What `read` makes of the answer, asking again where that is safe."""
        import random

        body = json.dumps(request).encode()
        deadline = time.monotonic() + (self._deadline if timeout is None else timeout)
        pause = FIRST_PAUSE
        left = self._retries if repeatable else 0
        while True:
            try:
                return read(self._json(body, deadline, timeout))
            except NodeUnreachable as trouble:
                # Spread, so that clients that failed together don't come back together.
                wait = pause * random.SystemRandom().uniform(0.5, 1)
                if isinstance(trouble, NodeBusy) and trouble.retry_after is not None:
                    wait += trouble.retry_after
                if left == 0 or time.monotonic() + wait >= deadline:
                    raise
            left -= 1
            pause *= 2
            time.sleep(wait)

    def _json(self, body: bytes, deadline: float, timeout: float | None) -> Any:
        """The JSON value that the node answers."""
        try:
            answer = self._peer.ask(body, deadline, timeout)
        except NoAnswer as error:
            raise NodeUnreachable(f"The chain node doesn't answer: {error}.") from error
        if answer.status in BUSY:
            raise NodeBusy(answer.status, answer.retry_after)
        try:
            return parse(answer.content)
        except ValueError as error:
            # Errors of JSON quote the document's length and place, never the URL.
            raise NodeUnreachable(
                f"The chain node's answer isn't JSON-RPC (HTTP {answer.status})."
            ) from error


def _answer_to(id: int, answer: Any) -> Any:
    """The answer, if it is one to this question. A node that couldn't read the question answers to null."""
    if isinstance(answer, dict) and _id_of(answer) != id and not _refuses_all(answer):
        raise NodeUnreachable("The chain node answers another question than it was asked.")
    if not isinstance(answer, dict) or not ("result" in answer or answer.get("error") is not None):
        raise NodeUnreachable("The chain node's answer isn't JSON-RPC.")
    return answer


def _id_of(answer: dict[str, Any]) -> int | None:
    id = answer.get("id")
    # Python takes True for 1.
    return id if type(id) is int else None


def _refuses_all(answer: dict[str, Any]) -> bool:
    return answer.get("id") is None and answer.get("error") is not None


def _results_of(ids: list[int], answer: Any) -> list[Any]:
    """Results or refusals in the order of the questions, whatever the order of the answers."""
    if isinstance(answer, dict) and _refuses_all(answer):
        return [result_or_refusal(answer)] * len(ids)
    if not isinstance(answer, list) or not all(isinstance(entry, dict) for entry in answer):
        raise NodeUnreachable("The chain node's answer isn't a JSON-RPC batch.")
    found = {_id_of(entry): entry for entry in answer}
    if len(found) != len(answer) or found.keys() != set(ids):
        raise NodeUnreachable("The chain node's answers don't fit the questions of the batch.")
    return [result_or_refusal(found[id]) for id in ids]
