"""EIP-712 messages: what devices and owners sign so that others may submit it.

A signature holds for one chain and one contract (its domain), for one message, until its deadline. The
copy number is the nonce of `Use` and `Failure`, the license number that of `Order`; only `Bind` has one of
its own.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from imprimatur.chain.orders import Order, file_hash_to_int
from imprimatur.chain.signers import Signer
from imprimatur.errors import ImprimaturError

Domain = dict[str, Any]
Types = dict[str, list[dict[str, str]]]

_HALF_BITS = 255


class MalformedSignature(ImprimaturError):
    """Bytes that are no 65-byte signature with low s."""


def license_domain(chain_id: int, contract: str) -> Domain:
    """Domain of the PrintLicense at `contract` (checksum address)."""
    return _domain("Imprimatur PrintLicense", chain_id, contract)


def device_domain(chain_id: int, contract: str) -> Domain:
    """Domain of the DeviceRegistry at `contract` (checksum address)."""
    return _domain("Imprimatur DeviceRegistry", chain_id, contract)


def _domain(name: str, chain_id: int, contract: str) -> Domain:
    return {"name": name, "version": "1", "chainId": chain_id, "verifyingContract": contract}


def _type(text: str) -> Types:
    """Types as eth-account wants them, from a type as EIP-712 writes it: `Name(type field,…)`."""
    name, _, fields = text.rstrip(")").partition("(")
    pairs = (field.split(" ") for field in fields.split(","))
    return {name: [{"name": field, "type": kind} for kind, field in pairs]}


ORDER = _type(
    "Order(address owner,uint96 number,address printer,uint256 fileHash,uint16 copies,uint32 validUntil,"
    "uint8 flags,uint8 failuresAllowed,bytes32 manifestHash,uint256 deadline)"
)
USE = _type(
    "Use(uint256 id,uint256 fileHash,uint256 copy,bytes32 keyRecipient,bytes32 encryptedSerial,"
    "bytes32 commitment,uint256 deadline)"
)
FAILURE = _type("Failure(uint256 id,uint256 copy,bytes32 evidence,uint256 deadline)")
BIND = _type("Bind(address wallet,address device,uint256 nonce,uint256 deadline)")


@dataclass(frozen=True, slots=True)
class CompactSignature:
    """A signature in two words (EIP-2098): `vs` is s with v's parity in its highest bit."""

    r: bytes
    vs: bytes


@dataclass(frozen=True, slots=True)
class Use:
    """The use of one copy; fields as in `IPrintLicense.SignedUse`. `file_hash` is a hexadecimal SHA-256."""

    id: int
    file_hash: str
    copy: int
    key_recipient: bytes
    encrypted_serial: bytes
    commitment: bytes
    deadline: int

    def values(self) -> dict[str, Any]:
        """The message's fields by their names in the contract."""
        return {
            "id": self.id,
            "fileHash": file_hash_to_int(self.file_hash),
            "copy": self.copy,
            "keyRecipient": self.key_recipient,
            "encryptedSerial": self.encrypted_serial,
            "commitment": self.commitment,
            "deadline": self.deadline,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """The report of one failed print. `evidence` is a hash, or zero."""

    id: int
    copy: int
    evidence: bytes
    deadline: int

    def values(self) -> dict[str, Any]:
        """The message's fields by their names in the contract."""
        return {"id": self.id, "copy": self.copy, "evidence": self.evidence, "deadline": self.deadline}


Message = TypeVar("Message", Use, Failure)


@dataclass(frozen=True, slots=True)
class Signed(Generic[Message]):
    """A message with its device's signature, ready for a batch."""

    message: Message
    signature: CompactSignature

    def values(self) -> dict[str, Any]:
        """The contract's struct."""
        return self.message.values() | {"r": self.signature.r, "vs": self.signature.vs}


def compact(signature: str) -> CompactSignature:
    """The compact form of a signature of 65 bytes (0x…, r, s, v).

    Raises:
        MalformedSignature: another length, or s in the upper half, which every contract of ours refuses.
    """
    raw = bytes.fromhex(signature.removeprefix("0x"))
    if len(raw) != 65 or raw[64] not in (27, 28) or raw[32] >= 0x80:
        raise MalformedSignature("A signature is 65 bytes r, s, v with s in the lower half and v 27 or 28.")
    vs = int.from_bytes(raw[32:64], "big") | (raw[64] - 27) << _HALF_BITS
    return CompactSignature(raw[:32], vs.to_bytes(32, "big"))


def sign_use(signer: Signer, domain: Domain, use: Use) -> Signed[Use]:
    """A use, signed by a device; anybody may submit it."""
    return Signed(use, compact(signer.sign_typed_data(domain, USE, use.values())))


def sign_failure(signer: Signer, domain: Domain, failure: Failure) -> Signed[Failure]:
    """A failure report, signed by a device; anybody may submit it."""
    return Signed(failure, compact(signer.sign_typed_data(domain, FAILURE, failure.values())))


def sign_order(signer: Signer, domain: Domain, order: Order) -> str:
    """A voucher: the signature (0x and 65 bytes) with which anybody may redeem the order, once."""
    return signer.sign_typed_data(domain, ORDER, order.values())


def sign_binding(device: Signer, domain: Domain, wallet: str, nonce: int, deadline: int) -> str:
    """A device's consent (0x and 65 bytes) to act for `wallet`; `nonce` as the registry's `nonce_of`."""
    message = {"wallet": wallet, "device": device.address, "nonce": nonce, "deadline": deadline}
    return device.sign_typed_data(domain, BIND, message)
