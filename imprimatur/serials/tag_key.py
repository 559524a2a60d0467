"""The key of one part: what its commitment binds, and what checks the part out.

Each part has a secp256k1 key of its own. The chain sees only the commitment; the secret key is in the part's
tag. Whoever holds the part can therefore sign, once, that it was checked out (decommissioned).
"""

import re
import secrets
from dataclasses import dataclass
from typing import Any

from imprimatur.chain.keccak import keccak256
from imprimatur.chain.signature_check import is_signed_by
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import Domain, Types
from imprimatur.errors import ImprimaturError
from imprimatur.serials.text import WORD_SIZE, to_word

KEY_SIZE = 32
MAX_COPY = (1 << 16) - 1
"""Copies of a license are counted in 16 bits."""

DECOMMISSION: Types = {
    "Decommission": [
        {"name": "commitment", "type": "bytes32"},
        {"name": "actor", "type": "address"},
        {"name": "deadline", "type": "uint256"},
    ]
}

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
_SIGNATURE = re.compile("0x[0-9a-f]{130}")
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1's group (SEC 2)."""


class TagKeyInvalid(ImprimaturError):
    """The bytes are no secp256k1 key."""


class PartInvalid(ImprimaturError):
    """A license id, copy, commitment or tag address that no part can have."""


class CheckOutRefused(ImprimaturError):
    """The check-out isn't one, or isn't signed with the part's tag key."""


class TagKey:
    """A part's secret key. Neither repr nor str show it."""

    __slots__ = ("_secret", "_signer")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_SIZE or not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise TagKeyInvalid("A tag key is a secp256k1 key of 32 bytes.")
        self._secret = bytes(secret)
        self._signer = KeySigner(self._secret)

    @classmethod
    def generate(cls) -> "TagKey":
        """A new random key."""
        # Zero and numbers beyond the group's order come up once in 2^128.
        return cls((secrets.randbelow(_ORDER - 1) + 1).to_bytes(KEY_SIZE, "big"))

    @property
    def secret(self) -> bytes:
        """The raw 32 bytes: for the tag and the printer's journal only."""
        return self._secret

    @property
    def address(self) -> str:
        """Checksum address of the key."""
        return self._signer.address

    def sign_check_out(self, domain: Domain, message: "CheckOut") -> str:
        """Signature (0x and 65 bytes) of a check-out."""
        return self._signer.sign_typed_data(domain, DECOMMISSION, message.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TagKey) and secrets.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self.address)

    def __copy__(self) -> "TagKey":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "TagKey":
        # It never changes, and `dataclasses.asdict` of a tag copies it; the secret stays in one place.
        return self

    def __repr__(self) -> str:
        return f"TagKey({self.address})"


@dataclass(frozen=True, slots=True)
class CheckOut:
    """The end of a part's life, stated once: `commitment` (32 bytes) names the part, `actor` (address) is who
    may hand the statement in, until the Unix second `deadline` (256 bits).

    Raises:
        CheckOutRefused: a value is out of bounds.
    """

    commitment: bytes
    actor: str
    deadline: int

    def __post_init__(self) -> None:
        if not isinstance(self.commitment, bytes) or len(self.commitment) != WORD_SIZE:
            raise CheckOutRefused(f"The check-out names no part: a commitment has {WORD_SIZE} bytes.")
        if type(self.deadline) is not int or not 0 <= self.deadline < 1 << 256:
            raise CheckOutRefused("The check-out's deadline isn't a Unix second.")
        try:
            object.__setattr__(self, "actor", checked_address(self.actor))
        except PartInvalid as error:
            raise CheckOutRefused("The check-out's actor isn't an account's address.") from error

    def values(self) -> dict[str, Any]:
        """The message's fields by their names in the contract."""
        return {"commitment": self.commitment, "actor": self.actor, "deadline": self.deadline}


def checked_address(address: str) -> str:
    """The address with its checksum (EIP-55). Written in lower case it has none, and is taken too.

    Raises:
        PartInvalid: not 0x and 40 hexadecimal digits, or a wrong checksum.
    """
    from eth_utils.address import to_checksum_address

    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise PartInvalid("An address is 0x followed by 40 hexadecimal digits.")
    normal = str(to_checksum_address(address))
    if address not in (normal, normal.lower()):
        raise PartInvalid("The address's checksum (EIP-55) is wrong: a character was mistyped.")
    return normal


def check_place(id: int, copy: int) -> None:
    """Refuse what can't be a license's id (256 bits) and a copy of it. Raises PartInvalid."""
    if not 0 <= id < 1 << 256:
        raise PartInvalid("The license id doesn't fit 256 bits.")
    if not 1 <= copy <= MAX_COPY:
        raise PartInvalid(f"A copy is a number between 1 and {MAX_COPY}.")


def commitment_of(id: int, copy: int, serial: str, tag_address: str) -> bytes:
    """keccak256(abi.encode(uint256 id, uint256 copy, bytes32 serial, address tag key)): 32 bytes.

    License and copy are in it, so it can't be copied into another license.

    Raises:
        SerialInvalid: the text is no serial.
        PartInvalid: id, copy or address is out of bounds.
    """
    check_place(id, copy)
    address = bytes.fromhex(checked_address(tag_address)[2:])
    words = [id.to_bytes(32, "big"), copy.to_bytes(32, "big"), to_word(serial), address.rjust(32, b"\0")]
    return keccak256(b"".join(words))


def verify_check_out(domain: Domain, message: CheckOut, signature: str, tag_address: str) -> None:
    """Nothing, when the tag key with this address signed exactly this check-out.

    Args:
        signature: 0x and 130 hexadecimal digits in lower case; no second spelling is taken.

    Raises:
        CheckOutRefused: it didn't.
    """
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise CheckOutRefused("The check-out can't be accepted: its signature isn't 0x and 130 digits.")
    try:
        address = checked_address(tag_address)
    except PartInvalid as error:
        raise CheckOutRefused(f"The check-out can't be accepted: its tag is unknown. {error}") from error
    raw = bytes.fromhex(signature[2:])
    if not is_signed_by(address, raw, domain, DECOMMISSION, message.values()):
        raise CheckOutRefused(
            f"The check-out wasn't signed with the part's tag key ({address}). Scan the part again."
        )
