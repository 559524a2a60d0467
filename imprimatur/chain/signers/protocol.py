"""What every signer can do."""

from typing import Any, Protocol

from imprimatur.errors import ImprimaturError

Types = dict[str, list[dict[str, str]]]
"""Types of EIP-712: fields (`name`, `type`) by the type's name."""


class SignerUnusable(ImprimaturError):
    """The key can't be used. Nothing was signed."""


class Signer(Protocol):
    """An account that can sign. Every signature has its s in the lower half (EIP-2) and v 27 or 28."""

    @property
    def address(self) -> str:
        """Checksum address."""

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        """Signed bytes and transaction hash (0x…) of an EIP-1559 transaction.

        Raises:
            SignerUnusable: by signers whose key is elsewhere, here and below.
        """

    def sign_message(self, message: bytes) -> str:
        """EIP-191 signature (0x and 65 bytes) of a message."""

    def sign_typed_data(self, domain: dict[str, Any], types: Types, message: dict[str, Any]) -> str:
        """EIP-712 signature (0x and 65 bytes) of a message; `types` holds its type and no EIP712Domain."""
