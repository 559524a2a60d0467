"""What the contract would say about signed messages now, and what it has said: asked in batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.models import RelayKind
from app.services.relay_messages import Message, word
from imprimatur.chain.contract import revert_of
from imprimatur.chain.interface import MalformedData, interface_of
from imprimatur.chain.logs import Log, is_about_the_range, read_in_windows
from imprimatur.chain.orders import Terms
from imprimatur.chain.outbox import Finality
from imprimatur.chain.outbox.purpose import REVERTED
from imprimatur.chain.print_license import CONTRACT, PrintLicense
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, quantity
from imprimatur.chain.typed_data import Use

ENTRY_GAS = 45_000
"""What an entry of a batch may use: 24,475 as measured, with room for a bound device, an approved file and
the dearer calldata of EIP-7623."""
TRUSTED_GAS = 60_000
"""What TRUSTED_DEVICE may add: eight attestors, three words of storage each, that were never touched."""
NAMELESS = "Reverted"
"""Reason of what reverts without saying why."""

_FLAGS, _USED = 2, 4
"""Places in `IPrintLicense.License`."""
NOBODY = "0x" + "00" * 20

Question = tuple[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a message would get in a batch now: the name of an error, or None; and the gas to reserve."""

    reason: str | None
    gas: int = ENTRY_GAS


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block, and up to which one blocks are final."""

    number: int
    timestamp: int
    gas_limit: int
    tagged: int | None

    def is_final(self, number: int, finality: Finality) -> bool:
        return finality.witness(number, self.number, self.tagged) is not None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message's own log stands."""

    transaction: str
    block: int


def forecasts(licenses: PrintLicense, messages: Sequence[Message]) -> list[Forecast]:
    """What each message would get now, if nothing else happened to its license.

    Signature and deadline aren't looked at: they don't need the chain.

    Raises:
        NodeUnreachable, NodeRefused: nothing is known.
        MalformedData: there is no such contract.
    """
    questions = [_questions(licenses, message) for message in messages]
    answers = iter(licenses.rpc.batch([question for asked in questions for question in asked]))
    return [
        _forecast(licenses, message, [next(answers) for _ in asked])
        for message, asked in zip(messages, questions, strict=True)
    ]


def head(licenses: PrintLicense, finality: Finality) -> Head:
    """Where the chain stands.

    Raises:
        NodeUnreachable, NodeRefused
    """
    tags = ["latest"] if finality.tag is None else ["latest", finality.tag]
    blocks = licenses.rpc.batch([("eth_getBlockByNumber", [tag, False]) for tag in tags])
    newest, *tagged = [_checked(block) for block in blocks]
    if not isinstance(newest, dict):
        raise NodeUnreachable("The chain node has no newest block.")
    return Head(
        quantity(newest.get("number")),
        quantity(newest.get("timestamp")),
        quantity(newest.get("gasLimit")),
        quantity(tagged[0].get("number")) if tagged and tagged[0] else None,
    )


def places(
    licenses: PrintLicense, messages: Sequence[Message], until: float = math.inf
) -> list[Place | None]:
    """Where each message's own log stands at the newest block, whoever submitted it.

    Args:
        until: moment of `time.monotonic` after which a node that gives few events at once isn't asked more.

    Raises:
        NodeUnreachable, NodeRefused
    """
    own = [message.own_log for message in messages]
    asked: list[Question] = [
        (
            "eth_getLogs",
            [
                {
                    "address": licenses.address,
                    "fromBlock": hex(licenses.since),
                    "toBlock": "latest",
                    "topics": list(log.topics),
                }
            ],
        )
        for log in own
    ]
    answers = licenses.rpc.batch(asked) if asked else []
    refused = [answer for answer in answers if isinstance(answer, NodeRefused)]
    if refused and all(map(is_about_the_range, refused)):
        answers = [_histories(licenses, messages, refused[0], until)] * len(own)
    found = (
        next((log for log in _checked(logs) if mine.is_in(log)), None)
        for mine, logs in zip(own, answers, strict=True)
    )
    return [
        None if log is None else Place(str(log["transactionHash"]), quantity(log["blockNumber"]))
        for log in found
    ]


def _histories(
    licenses: PrintLicense, messages: Sequence[Message], refused: NodeRefused, until: float
) -> list[Log]:
    """What happened to the messages' licenses, read once for all of them: by a node that gives few blocks at
    once. A license's history begins with its issuing."""
    last = quantity(licenses.rpc.call("eth_blockNumber", []))
    issued = licenses.interface.topic("LicenseIssued")
    topics = {message.own_log.topics[0] for message in messages}
    ids = {message.own_log.topics[1] for message in messages}
    query = {
        "address": licenses.address,
        "fromBlock": hex(licenses.since),
        "topics": [[issued, *sorted(topics)], sorted(ids)],
    }

    def enough(logs: list[Log]) -> bool:
        return {log["topics"][1] for log in logs if log["topics"][0] == issued} == ids

    return read_in_windows(licenses.rpc, query, last, refused, enough, until)


def _questions(licenses: PrintLicense, message: Message) -> list[Question]:
    signed = message.signed.message
    if isinstance(signed, Use):
        id = word(signed.id).hex()
        rest = signed.file_hash + word(int(message.device, 16)).hex()
        can_use, license_of = _selectors()
        data = [can_use + id + rest, license_of + id]
        return [("eth_call", [{"to": licenses.address, "data": text}, "latest"]) for text in data]
    call = {
        "from": message.device,
        "to": licenses.address,
        "data": licenses.report_failure_call(signed.id, signed.copy, signed.evidence),
    }
    return [("eth_call", [call, "latest"])]


def _forecast(licenses: PrintLicense, message: Message, answers: list[Any]) -> Forecast:
    if message.kind is RelayKind.FAILURE:
        (answer,) = answers
        if not isinstance(answer, NodeRefused):
            return Forecast(None)
        if (reverted := revert_of(answer)) is not None:
            return Forecast(reverted.name)
        if not is_about_the_call(answer):
            raise answer
        return Forecast(NAMELESS)
    usable, selector = _cut("canUse", answers[0], 2)
    if not usable:
        return Forecast(licenses.interface.error_name(word(selector)[:4]))
    license = _cut("licenseOf", answers[1], 9)
    if message.signed.message.copy != license[_USED] + 1:
        return Forecast("CopyOutOfOrder")
    return Forecast(None, ENTRY_GAS + TRUSTED_GAS * bool(license[_FLAGS] & Terms.TRUSTED_DEVICE))


@cache
def _selectors() -> tuple[str, str]:
    """Of `canUse` and `licenseOf`: what they take and give has fixed places, and eth-abi takes ten times as
    long."""
    encode = interface_of(CONTRACT).encode_call
    return encode("canUse", 0, 0, NOBODY)[:10], encode("licenseOf", 0)[:10]


def _cut(function: str, answer: Any, count: int) -> list[int]:
    """The words that a function gave back.

    Raises:
        NodeRefused, MalformedData
    """
    answer = _checked(answer)
    try:
        raw = bytes.fromhex(answer[2:])
    except (TypeError, ValueError) as error:
        raise MalformedData(f"The answer of {function} isn't hexadecimal.") from error
    if len(raw) != 32 * count:
        raise MalformedData(f"The answer of {function} has {len(raw)} bytes instead of {32 * count}.")
    return [int.from_bytes(raw[place : place + 32], "big") for place in range(0, len(raw), 32)]


def is_about_the_call(error: NodeRefused) -> bool:
    """Whether a node refuses what was asked, not the asking, such as too many questions."""
    message = error.message.lower()
    words = ("revert", "out of gas", "gas required", "gas limit")
    return error.code == REVERTED or any(word in message for word in words)


def _checked(answer: Any) -> Any:
    if isinstance(answer, NodeRefused):
        raise answer
    return answer
