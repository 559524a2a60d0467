"""A portal and its key desk in this process: what they take, what they give, and every request a boundary.

Requests and answers have the form of the wire (`device-api.v1`); only their transport is missing, and with it
the header that says who asks. The device's own clients (`Portal`, `Desk`) make and read them.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from crashes.simulation import contract
from crashes.simulation.contract import ADDRESS, Terms
from crashes.simulation.node import LicenseNode
from crashes.simulation.switch import PIECE, Switch
from library.adversary.simulated_node import CHAIN_ID

from imprimatur.chain.interface import interface_of
from imprimatur.chain.print_license import CONTRACT
from imprimatur.chain.signature_check import typed_data_digest
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import FAILURE, USE, Failure, Signed, Use
from imprimatur.device import Desk, Portal
from imprimatur.device.errors import PortalUnreachable
from imprimatur.device.http import Reply
from imprimatur.device.journal_rows import signed_failure, signed_use
from imprimatur.device.offers import Offer, read_offer
from imprimatur.key_answer import KeyAnswer, Question, Refusal
from imprimatur.license_id import parse_id
from imprimatur.manifest.document import Manifest, Sealing
from imprimatur.manifest.signature import sign_manifest
from imprimatur.sealing import seal, wrap_key
from support.delivery_portal import DeliveryPortal

OWNER = KeySigner(bytes(range(2, 34)))
DESK = KeySigner(bytes(range(3, 35)))
OPERATOR = "0x" + "0b" * 20
"""Pays for what is relayed."""
URL = "http://127.0.0.1:9"
GCODE = b"M104 S200\nG28\nM83\nG1 X1 E1\nG1 X2 E1\nM104 S0\n"
_STATUS = {Refusal.NOT_FINAL: 425, Refusal.NOT_CONSUMED: 425}


@dataclass(frozen=True)
class Article:
    """A sealed file with its license, as an owner has prepared them."""

    id: int
    offer: Offer
    sealed: bytes
    file_key: bytes
    manifest: Manifest


@cache
def article(number: int) -> Article:
    """The license `number` of our owner."""
    target = io.BytesIO()
    sealed = seal(io.BytesIO(GCODE), target)
    id = int(OWNER.address, 16) << 96 | number
    manifest = Manifest(
        chain_id=CHAIN_ID,
        contract=ADDRESS,
        id=id,
        file_name="part.gcode",
        file_size=sealed.size,
        file_hash=sealed.sha256,
        sealing=Sealing(sealed.sealed_sha256, sealed.sealed_size, sealed.key_commitment),
    )
    entry = DeliveryPortal.entry(sign_manifest(manifest, OWNER), str(number), 3)
    return Article(id, read_offer(entry), target.getvalue(), sealed.file_key, manifest)


def issue(node: LicenseNode, number: int, printer: str, copies: int, failures: int = 3) -> Article:
    """Put the license `number` on the chain."""
    made = article(number)
    terms = Terms(printer, int(made.manifest.file_hash, 16), copies, failures)
    node.issue(made.id, terms, made.manifest.hash)
    return made


@dataclass
class SimulatedPortal:
    """What it serves and what it was told. A scenario changes how it behaves by taking the place of the
    functions at the end."""

    node: LicenseNode
    articles: dict[int, Article] = field(default_factory=dict)
    uses: dict[str, Signed[Use]] = field(default_factory=dict)
    """Every signed use that it was given, by digest, in order."""
    outcomes: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    on_use: Callable[[Use], None] = lambda use: None
    """Told about every use that arrives, before anything is done with it."""
    is_down: Callable[[str], bool] = lambda place: False
    """Whether it doesn't answer a request."""
    carry: Callable[[str, str], None] | None = None
    """Brings calldata to the chain, by the message's digest."""
    loses_answer: Callable[[str], bool] = lambda place: False
    """Whether what it answers doesn't arrive."""
    refuses_key: Callable[[Question], Refusal | None] = lambda question: None

    def answer(self, method: str, path: str, body: bytes | None) -> Reply:
        """What it answers.

        Raises:
            PortalUnreachable: whether it was done is unknown.
        """
        place = f"{method} {path}"
        if self.is_down(place):
            raise PortalUnreachable("portal", "it is down")
        document = json.loads(body) if body else None
        if path.endswith("/keys"):
            reply = self._key(document)
        elif path.endswith("/device/uses"):
            reply = self._use(signed_use(document))
        elif path.endswith("/device/failures"):
            reply = self._failure(signed_failure(document))
        else:
            assert path.endswith("/device/outcomes"), place
            reply = self._outcome(document)
        if self.loses_answer(place):
            raise PortalUnreachable("portal", "the connection broke")
        return reply

    def sealed(self, path: str) -> bytes:
        """The sealed file behind a path."""
        found = re.search("/jobs/(0x[0-9a-f]{64})/file", path)
        assert found is not None, path
        if self.is_down(f"GET {path}"):
            raise PortalUnreachable("portal", "it is down")
        return self.articles[parse_id(found[1])].sealed

    def _use(self, signed: Signed[Use]) -> Reply:
        digest = digest_of(signed.message)
        self.on_use(signed.message)
        self.uses.setdefault(digest, signed)
        seen = any(event.values["keyRecipient"] == signed.message.key_recipient for event in self.node.uses())
        if not seen:
            self._carry(digest, _calldata("useLicensesSigned", signed))
        return _relayed(digest, done=seen)

    def _failure(self, signed: Signed[Failure]) -> Reply:
        digest, message = digest_of(signed.message), signed.message
        terms = self.node.contract.licenses[message.id]
        if not terms.window >> terms.used - message.copy & 1:
            self._carry(digest, _calldata("reportFailuresSigned", signed))
        return _relayed(digest, done=False)

    def _carry(self, digest: str, data: str) -> None:
        if self.carry is not None:
            self.carry(digest, data)
        elif not any("0x" + waiting.data.hex() == data for waiting in self.node.pool):
            self.node.submit_call(OPERATOR, data)

    def _outcome(self, document: dict[str, Any]) -> Reply:
        key = parse_id(document["id"]), document["copy"]
        known = self.outcomes.setdefault(key, document)
        if known == document:
            return _json(200, document)
        problem = {
            "type": "urn:imprimatur:problem:outcome_known",
            "title": "Refused",
            "status": 409,
            "detail": "Another outcome was reported before.",
        }
        return Reply(409, {"content-type": "application/problem+json"}, json.dumps(problem).encode())

    def _key(self, document: dict[str, Any]) -> Reply:
        id, copy = parse_id(document["id"]), document["copy"]
        recipient = bytes.fromhex(document["keyRecipient"])
        question = Question(CHAIN_ID, ADDRESS, id, copy, recipient)
        refusal = self.refuses_key(question) or self._refusal(question)
        key = None if refusal else _wrapped(self.articles[id].file_key, recipient)
        answer = KeyAnswer(question, int(self.node.clock()) // 60 * 60, key, refusal)
        status = 200 if refusal is None else _STATUS.get(refusal, 403)
        return Reply(status, {"content-type": "application/json"}, _signed(answer))

    def _refusal(self, question: Question) -> Refusal | None:
        terms = self.node.contract.licenses[question.id]
        final = [event for event in self.node.uses(final=True) if _is(event, question)]
        if not final:
            seen = any(_is(event, question) for event in self.node.uses())
            return Refusal.NOT_FINAL if seen else Refusal.NOT_CONSUMED
        if final[0].values["keyRecipient"] != question.key_recipient:
            return Refusal.OTHER_RECIPIENT
        return Refusal.FAILED if terms.window >> terms.used - question.copy & 1 else None


def _is(event: Any, question: Question) -> bool:
    return (event.values["id"], event.values["copy"]) == (question.id, question.copy)


@lru_cache(maxsize=10_000)
def digest_of(message: Use | Failure) -> str:
    """The EIP-712 digest (0x…) of a use or a failure report."""
    types = USE if isinstance(message, Use) else FAILURE
    domain = contract.license_domain(CHAIN_ID, ADDRESS)
    return "0x" + typed_data_digest(domain, types, message.values()).hex()


@lru_cache(maxsize=10_000)
def _calldata(function: str, signed: Signed[Any]) -> str:
    return interface_of(CONTRACT).encode_call(function, [signed.values()])


@lru_cache(maxsize=10_000)
def _wrapped(file_key: bytes, recipient: bytes) -> bytes:
    return wrap_key(file_key, recipient)


@lru_cache(maxsize=10_000)
def _signed(answer: KeyAnswer) -> bytes:
    return answer.signed(DESK)


def _relayed(digest: str, done: bool) -> Reply:
    state = "done" if done else "waiting"
    return _json(202, {"digest": digest, "state": state, "reason": None, "transaction": None, "block": None})


def _json(status: int, document: Any) -> Reply:
    return Reply(status, {"content-type": "application/json"}, json.dumps(document).encode())


class _Body:
    """The answer to a download."""

    def __init__(self, content: bytes, start: int) -> None:
        self.rest = content[start:]
        self.status_code = 206 if start else 200
        size = len(content)
        self.headers = (
            {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {"Content-Length": str(size)}
        )


class Wire:
    """What carries the requests of a device: a boundary before each one, and one when it has arrived."""

    host = "portal"

    def __init__(self, real: Any, server: SimulatedPortal, switch: Switch) -> None:
        self.document_in, self.failure_of = real.document_in, real.failure_of
        self._server = server
        self._switch = switch

    def send(self, method: str, path: str, body: bytes | None = None, sign: bool = True) -> Reply:
        del sign
        place = f"{method} {path}"
        self._switch(f"before {place}")
        try:
            return self._server.answer(method, path, body)
        finally:
            self._switch.changed()
            self._switch(f"after {place}")

    @contextmanager
    def stream(self, path: str, headers: dict[str, str]) -> Iterator[_Body]:
        self._switch("before GET the file")
        start = int(headers["Range"][6:-1]) if "Range" in headers else 0
        yield _Body(self._server.sealed(path), start)

    def pieces(self, body: _Body) -> Iterator[bytes]:
        half = (len(body.rest) + 1) // 2
        for piece in (body.rest[:half], body.rest[half:]):
            self._switch(PIECE)
            # To the disk, and then under another name.
            self._switch.changed()
            yield piece


def clients(signer: KeySigner, server: SimulatedPortal, switch: Switch) -> tuple[Portal, Desk]:
    """A device's own clients, over `Wire`."""
    portal, desk = Portal(URL, signer), Desk(f"{URL}/desk", DESK.address, signer)
    portal._http = Wire(portal._http, server, switch)  # type: ignore[assignment]
    desk._http = Wire(desk._http, server, switch)  # type: ignore[assignment]
    return portal, desk
