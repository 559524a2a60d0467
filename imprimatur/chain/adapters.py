"""For programs that have web3.py or eth-account already: their provider as `Rpc`, their account as `Signer`.

Nothing is imported here; what is handed in is used.
"""

import sys
from typing import Any

from imprimatur.chain.rpc import NodeUnreachable, Rpc, result_of


class ProviderRpc(Rpc):
    """The library's `Rpc` over a provider of web3.py, or anything with its `make_request(method, params)`.

    A batch is asked one call after the other.
    """

    def __init__(self, provider: Any) -> None:
        self.provider = provider

    def call(self, method: str, params: list[Any]) -> Any:
        # ValueError: an answer that isn't JSON, such as a proxy's error page.
        lost: tuple[type[Exception], ...] = (OSError, ValueError, *_errors_of_web3())
        try:
            return result_of(self.provider.make_request(method, params))
        except lost as error:
            trouble = type(error).__name__
        # Outside of the handler: the cause's text may hold the URL, and with it credentials.
        raise NodeUnreachable(f"The chain node doesn't answer: {trouble}.")

    def __repr__(self) -> str:
        return f"ProviderRpc({type(self.provider).__name__})"


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
