"""What a key desk answers, signed: a released key or a refusal that either side can show afterwards.

    KeyAnswer(uint256 id,uint256 copy,bytes32 keyRecipient,bytes32 answerHash)

is signed (EIP-712) in the domain of the PrintLicense contract, which holds chain and address. `answerHash` is
the SHA-256 of the answer's canonical JSON. Schema: `device-api.v1`, definitions `answer` and `keyAnswer`.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imprimatur import canonical_json, schemas
from imprimatur.chain.signature_check import is_signed_by
from imprimatur.chain.signers import Signer
from imprimatur.chain.typed_data import Domain, Types, license_domain
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import format_id, parse_id

SCHEMA = "device-api.v1"
MAX_SIZE = 16 * 1024
"""Bytes of a signed answer."""
KEY_ANSWER: Types = {
    "KeyAnswer": [
        {"name": "id", "type": "uint256"},
        {"name": "copy", "type": "uint256"},
        {"name": "keyRecipient", "type": "bytes32"},
        {"name": "answerHash", "type": "bytes32"},
    ]
}


class AnswerInvalid(ImprimaturError):
    """This isn't an answer of the desk, or not to this question. Ask again."""


class Refusal(StrEnum):
    """Why a desk gives no key."""

    UNKNOWN_LICENSE = "unknown_license"
    NOT_CONSUMED = "not_consumed"
    """No use of this copy is to be seen."""
    NOT_FINAL = "not_final"
    """There is one, but its block could still be replaced: ask again in a moment."""
    OTHER_DEVICE = "other_device"
    """Another device consumed this copy."""
    OTHER_RECIPIENT = "other_recipient"
    """The copy was consumed for another job key."""
    FAILED = "failed"
    """The copy was reported as failed and given back."""
    STOPPED = "stopped"
    """The owner has stopped delivery. She owes the consumed copy."""
    TOO_MANY_REQUESTS = "too_many_requests"
    CHAIN_UNAVAILABLE = "chain_unavailable"
    NO_KEY = "no_key"
    """The desk can't open the key of this file: a fault on its side."""
    UNAVAILABLE = "unavailable"
    """The desk can't write its records, so it gives nothing out."""

    @property
    def is_temporary(self) -> bool:
        """Whether the same question may be answered otherwise a moment later."""
        return self in (
            Refusal.NOT_CONSUMED,
            Refusal.NOT_FINAL,
            Refusal.TOO_MANY_REQUESTS,
            Refusal.CHAIN_UNAVAILABLE,
            Refusal.NO_KEY,
            Refusal.UNAVAILABLE,
        )


@dataclass(frozen=True, slots=True)
class Question:
    """Which key: that of copy `copy` of license `id`, for the public job key `key_recipient` (32 bytes)."""

    chain_id: int
    contract: str
    id: int
    copy: int
    key_recipient: bytes

    @property
    def domain(self) -> Domain:
        return license_domain(self.chain_id, self.contract)


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """What the desk says at the Unix second `at`: a wrapped key, or why there is none."""

    question: Question
    at: int
    wrapped_key: bytes | None = None
    refusal: Refusal | None = None

    def __post_init__(self) -> None:
        if (self.wrapped_key is None) == (self.refusal is None):
            raise ValueError("An answer has a key or a refusal.")

    def to_document(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        question = self.question
        key = None if self.wrapped_key is None else base64.b64encode(self.wrapped_key).decode()
        return {
            "version": 1,
            "chainId": question.chain_id,
            "contract": question.contract,
            "id": format_id(question.id),
            "copy": question.copy,
            "keyRecipient": question.key_recipient.hex(),
            "at": self.at,
            "outcome": "released" if self.refusal is None else "refused",
            "reason": None if self.refusal is None else self.refusal.value,
            "wrappedKey": key,
        }

    @property
    def hash(self) -> bytes:
        """SHA-256 of the canonical bytes: what is signed."""
        return hashlib.sha256(canonical_json.dumps(self.to_document())).digest()

    def _message(self) -> dict[str, Any]:
        question = self.question
        return {
            "id": question.id,
            "copy": question.copy,
            "keyRecipient": question.key_recipient,
            "answerHash": self.hash,
        }

    def signed(self, signer: Signer) -> bytes:
        """The canonical bytes of the answer with the desk's signature."""
        signature = signer.sign_typed_data(self.question.domain, KEY_ANSWER, self._message())
        document = {"answer": self.to_document(), "signer": signer.address, "signature": signature}
        return canonical_json.dumps(document)


def read_answer(data: bytes, question: Question, desk: str) -> KeyAnswer:
    """The answer to `question` in signed bytes.

    Args:
        desk: address whose signature counts (checksum).

    Raises:
        AnswerInvalid: malformed, about something else, or not signed by this desk.
    """
    try:
        document = canonical_json.parse(data, MAX_SIZE)
    except canonical_json.NotCanonical as error:
        raise AnswerInvalid(f"The key desk's answer can't be read: {error}") from error
    if problem := schemas.problem_in(document, SCHEMA, "keyAnswer"):
        raise AnswerInvalid(f"The key desk's answer isn't valid at {problem}")
    answer = _answer(document["answer"])
    if answer.question != question:
        raise AnswerInvalid("The key desk answered another question.")
    signature = bytes.fromhex(document["signature"].removeprefix("0x"))
    message = answer._message()
    signed = is_signed_by(desk, signature, question.domain, KEY_ANSWER, message)
    if document["signer"] != desk or not signed:
        raise AnswerInvalid(f"The answer isn't signed by the key desk {desk}.")
    return answer


def _answer(document: dict[str, Any]) -> KeyAnswer:
    question = Question(
        chain_id=document["chainId"],
        contract=document["contract"],
        id=parse_id(document["id"]),
        copy=document["copy"],
        key_recipient=bytes.fromhex(document["keyRecipient"]),
    )
    try:
        key = None if (text := document["wrappedKey"]) is None else base64.b64decode(text, validate=True)
        reason = None if (code := document["reason"]) is None else Refusal(code)
        answer = KeyAnswer(question, document["at"], key, reason)
    except (binascii.Error, ValueError) as error:
        raise AnswerInvalid("The key desk's answer contradicts itself.") from error
    if answer.to_document() != document:
        raise AnswerInvalid("The key desk's answer contradicts itself.")
    return answer
