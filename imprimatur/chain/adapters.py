"""For programs that have web3.py or eth-account already: their provider as `Rpc`, their account as `Signer`.

Nothing is imported here; what is handed in is used.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from imprimatur.chain.rpc import BATCH_SIZE, BUSY, NodeUnreachable, Rpc, result_of, result_or_refusal


class ProviderRpc(Rpc):
    """The library's `Rpc` over a provider of web3.py, or anything with its `make_request(method, params)`.

    A batch is one request for every `BATCH_SIZE` calls where the provider has a `make_batch_request(calls)`
    that works, else one after the other.
    """

    def __init__(self, provider: Any) -> None:
        self.provider = provider

    def call(self, method: str, params: list[Any]) -> Any:
        return result_of(_asked(lambda: self.provider.make_request(method, params)))

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        results: list[Any] = []
        for start in range(0, len(calls), BATCH_SIZE):
            results += self._batch(calls[start : start + BATCH_SIZE])
        return results

    def _batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        ask = getattr(self.provider, "make_batch_request", None)
        if ask is not None:
            try:
                # TypeError, AttributeError: web3.py sorts entries before it knows that they are answers.
                answer = _asked(lambda: ask(list(calls)), TypeError, AttributeError)
            except NotImplementedError:
                return super().batch(calls)
            return _results_of(len(calls), answer)
        return super().batch(calls)

    def __repr__(self) -> str:
        return f"ProviderRpc({type(self.provider).__name__})"


def _asked(ask: Callable[[], Any], *more: type[Exception]) -> Any:
    """What a provider answers.

    Raises:
        NodeUnreachable
    """
    # ValueError: an answer that isn't JSON, such as a proxy's error page.
    lost: tuple[type[Exception], ...] = (OSError, ValueError, *_errors_of_web3(), *more)
    try:
        return ask()
    except lost as error:
        trouble, said = type(error).__name__, _refusal_in(error)
    if said is not None:
        return said
    # Outside of the handler: the cause's text may hold the URL, and with it credentials.
    raise NodeUnreachable(f"The chain node doesn't answer: {trouble}.")


def _refusal_in(error: Exception) -> Any:
    """The node's own answer behind an error of HTTP: some refuse with a status, and web3.py looks no further.
    None: there is none, or it only asks for patience."""
    response = getattr(error, "response", None)
    if response is None or response.status_code in BUSY:
        return None
    try:
        said = response.json()
    except ValueError:
        return None
    if isinstance(said, list) and all(isinstance(one, dict) and type(one.get("id")) is int for one in said):
        return sorted(said, key=lambda one: one["id"])
    return said if isinstance(said, dict) and said.get("error") is not None else None


def _results_of(count: int, answer: Any) -> list[Any]:
    """Results or refusals of a batch that the provider sorted by ids. Which ids they are, only it knows."""
    if isinstance(answer, dict) and answer.get("id") is None and answer.get("error") is not None:
        return [result_or_refusal(answer)] * count
    if not isinstance(answer, list) or not all(isinstance(entry, dict) for entry in answer):
        raise NodeUnreachable("The chain node's answer isn't a JSON-RPC batch.")
    ids = [entry.get("id") for entry in answer]
    # Python takes True for 1. An id that is missing or there twice: nobody knows which answer is whose.
    if len(ids) != count or not all(type(id) is int for id in ids) or ids != sorted(set(ids)):
        raise NodeUnreachable("The chain node's answers don't fit the questions of the batch.")
    return [result_or_refusal(entry) for entry in answer]


def _errors_of_web3() -> tuple[type[Exception], ...]:
    """web3.py's own errors, if the program has it."""
    exceptions: Any = sys.modules.get("web3.exceptions")
    return () if exceptions is None else (exceptions.Web3Exception,)


class AccountSigner:
    """The library's `Signer` over eth-account's `LocalAccount`, or anything that signs like it."""

    def __init__(self, account: Any) -> None:
        self._account = account

    @property
    def address(self) -> str:
        return str(self._account.address)

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        signed = self._account.sign_transaction(transaction)
        return bytes(signed.raw_transaction), "0x" + bytes(signed.hash).hex()

    def sign_message(self, message: bytes) -> str:
        from eth_account.messages import encode_defunct

        return "0x" + bytes(self._account.sign_message(encode_defunct(primitive=message)).signature).hex()

    def sign_typed_data(
        self, domain: dict[str, Any], types: dict[str, list[dict[str, str]]], message: dict[str, Any]
    ) -> str:
        return "0x" + bytes(self._account.sign_typed_data(domain, types, message).signature).hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address})"
