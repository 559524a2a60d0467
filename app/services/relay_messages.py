"""What devices sign and the relay carries: read from its document, hashed, checked, recognised in a log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.models import RelayKind
from imprimatur.chain import typed_data
from imprimatur.chain.interface import interface_of
from imprimatur.chain.orders import file_hash_to_int
from imprimatur.chain.print_license import CONTRACT
from imprimatur.chain.signature_check import typed_data_digest
from imprimatur.chain.signers.payloads import NotOurSignature, Signature, check
from imprimatur.chain.typed_data import CompactSignature, Failure, Signed, Use
from imprimatur.license_id import parse_id

_TYPES = {RelayKind.USE: typed_data.USE, RelayKind.FAILURE: typed_data.FAILURE}
_S_BITS = 255


@dataclass(frozen=True, slots=True)
class OwnLog:
    """The one log that shows that a message took effect: topics and data (0x…) as nodes write them."""

    topics: tuple[str, ...]
    data: str

    def is_in(self, log: Mapping[str, Any]) -> bool:
        """Whether this JSON-RPC log, of the contract, is it."""
        topics = tuple(str(topic).lower() for topic in log["topics"])
        return (topics, str(log["data"]).lower()) == (self.topics, self.data)


@dataclass(frozen=True, slots=True)
class Message:
    """A use or failure with the device that sent it. `digest` (0x…) is what the device signed (EIP-712)."""

    kind: RelayKind
    signed: Signed[Use] | Signed[Failure]
    device: str
    digest: str

    @property
    def license(self) -> int:
        return self.signed.message.id

    @property
    def words(self) -> bytes:
        """The contract's struct of the signed message: every value takes 32 bytes."""
        signature = self.signed.signature
        return _words(self.signed.message) + signature.r + signature.vs

    @property
    def is_signed(self) -> bool:
        """Whether the signature is the device's own, in the one form that the contract takes."""
        vs = int.from_bytes(self.signed.signature.vs, "big")
        odd, s = vs >> _S_BITS, vs & (1 << _S_BITS) - 1
        signature = Signature(int.from_bytes(self.signed.signature.r, "big"), s, odd)
        try:
            check(bytes.fromhex(self.digest[2:]), signature, self.device)
        except NotOurSignature:
            return False
        return True

    @property
    def own_log(self) -> OwnLog:
        """The message's `LicenseUsed` or `PrintFailed`. A failure's doesn't say which device reported it."""
        message = self.signed.message
        indexed: tuple[int, ...]
        plain: list[int | bytes]
        if isinstance(message, Use):
            indexed, event = (message.id, int(self.device, 16)), "LicenseUsed"
            plain = [message.copy, file_hash_to_int(message.file_hash), message.key_recipient]
        else:
            indexed, event = (message.id,), "PrintFailed"
            plain = [message.copy, message.evidence]
        topics = tuple("0x" + word(value).hex() for value in indexed)
        return OwnLog((interface_of(CONTRACT).topic(event), *topics), "0x" + b"".join(map(word, plain)).hex())


def read(kind: RelayKind, document: Mapping[str, Any], device: str, chain_id: int, contract: str) -> Message:
    """A document that follows `use` or `failure` of the schema `device-api.v1`, meant for one contract."""
    signature = bytes.fromhex(document["signature"][2:])
    compact = CompactSignature(signature[:32], signature[32:])
    id, copy, deadline = parse_id(document["id"]), document["copy"], document["deadline"]
    signed: Signed[Use] | Signed[Failure]
    if kind is RelayKind.USE:
        recipient, serial, commitment = (
            bytes.fromhex(document[name]) for name in ("keyRecipient", "encryptedSerial", "commitment")
        )
        use = Use(id, document["fileHash"], copy, recipient, serial, commitment, deadline)
        signed = Signed(use, compact)
    else:
        signed = Signed(Failure(id, copy, bytes.fromhex(document["evidence"]), deadline), compact)
    domain = typed_data.license_domain(chain_id, contract)
    digest = typed_data_digest(domain, _TYPES[kind], signed.message.values())
    return Message(kind, signed, device, "0x" + digest.hex())


def batch_call(kind: RelayKind, messages: Sequence[Message]) -> str:
    """Calldata of `useLicensesSigned` or `reportFailuresSigned` with these messages.

    As `PrintLicense.use_licenses_signed_call`, ten times as fast: one array of structs of a fixed size.
    """
    selector = _empty_batch(kind)[:10]
    words = b"".join([word(32), word(len(messages)), *(message.words for message in messages)])
    return selector + words.hex()


def word(value: int | bytes) -> bytes:
    """A number, or 32 bytes, as the contract ABI has it."""
    return value if isinstance(value, bytes) else value.to_bytes(32, "big")


def _words(message: Use | Failure) -> bytes:
    return b"".join(map(word, message.values().values()))


@cache
def _empty_batch(kind: RelayKind) -> str:
    function = "useLicensesSigned" if kind is RelayKind.USE else "reportFailuresSigned"
    return interface_of(CONTRACT).encode_call(function, [])
