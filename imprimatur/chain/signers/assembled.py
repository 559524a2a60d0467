"""Signers whose key only signs bytes: everything around the signature is put together here."""

from abc import ABC, abstractmethod
from typing import Any

from imprimatur.chain.signers.payloads import (
    Signature,
    message_payload,
    signed_transaction,
    transaction_payload,
)
from imprimatur.chain.signers.protocol import Types
from imprimatur.chain.signers.typed_payload import typed_data_payload


class AssemblingSigner(ABC):
    """A `Signer` by one operation, `_sign`."""

    def __init__(self, address: str) -> None:
        self._address = address

    @property
    def address(self) -> str:
        return self._address

    @abstractmethod
    def _sign(self, payload: bytes) -> Signature:
        """Signature of the Keccak-256 of `payload`, checked to be by `address`."""

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        return signed_transaction(transaction, self._sign(transaction_payload(transaction)))

    def sign_message(self, message: bytes) -> str:
        return self._sign(message_payload(message)).hex

    def sign_typed_data(self, domain: dict[str, Any], types: Types, message: dict[str, Any]) -> str:
        return self._sign(typed_data_payload(domain, types, message)).hex

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address})"
