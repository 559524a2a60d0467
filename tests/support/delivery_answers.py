"""The answers of a portal and its key desk that keep to what was agreed; `delivery_portal` runs them."""

import gzip
import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imprimatur import schemas
from imprimatur.chain.orders import file_hash_to_int
from imprimatur.chain.signature_check import is_signed_by, typed_data_digest
from imprimatur.chain.typed_data import FAILURE, USE, CompactSignature, Failure, Signed, Use
from imprimatur.device_auth import NotAuthenticated, authenticate, origin_of
from imprimatur.key_answer import KeyAnswer, Question, Refusal
from imprimatur.license_id import parse_id
from imprimatur.sealing import wrap_key

if TYPE_CHECKING:
    from support.delivery_portal import DeliveryPortal

SCHEMA = "device-api.v1"
API = "/api/v1"
_STATUS = {
    Refusal.NOT_CONSUMED: 425,
    Refusal.NOT_FINAL: 425,
    Refusal.TOO_MANY_REQUESTS: 429,
    Refusal.CHAIN_UNAVAILABLE: 503,
    Refusal.NO_KEY: 503,
    Refusal.UNAVAILABLE: 503,
}


class Problem(Exception):
    def __init__(self, status: int, code: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def _json(status: int, document: Any, **headers: str) -> Answer:
    body = json.dumps(document).encode()
    return Answer(status, body, {"Content-Type": "application/json", **headers})


class Service:
    """Answers requests."""

    def __init__(self, portal: "DeliveryPortal") -> None:
        self.portal = portal

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        portal = self.portal
        path, _, query = target.partition("?")
        if (method, path) == ("GET", f"{API}/portal"):
            return _json(200, portal.info)
        try:
            request = authenticate(headers.get("Authorization"), method, origin_of(portal.url), target, body)
        except NotAuthenticated as error:
            raise Problem(401, "not_authentic", str(error)) from error
        if request.nonce in portal.nonces:
            raise Problem(401, "not_authentic", "This request came before.")
        portal.nonces.add(request.nonce)
        device = request.address
        if (method, path) == ("POST", f"/desk{API}/keys"):
            return self.key(device, self.document(body, "keyRequest"))
        if (method, path) == ("POST", f"{API}/enrolments"):
            return self.enrol(device, self.document(body, "enrolment"))
        if device not in portal.devices:
            raise Problem(403, "not_enrolled", "This device isn't enrolled.")
        if device in portal.disabled:
            raise Problem(403, "device_disabled", "The owner has disabled this device.")
        if (method, path) == ("GET", f"{API}/device/jobs"):
            return self.jobs(query)
        if found := re.fullmatch(rf"{API}/device/jobs/(0x[0-9a-f]{{64}})/file", path):
            return self.file(parse_id(found[1]), headers)
        if found := re.fullmatch(rf"{API}/device/(use|failure)s(?:/(0x[0-9a-f]{{64}}))?", path):
            if method == "POST":
                return self.relay(device, found[1], self.document(body, found[1]))
            if found[2] in portal.relayed:
                return _json(200, portal.relayed[found[2]])
            raise Problem(404, "not_found", "There is no such message.")
        if (method, path) == ("POST", f"{API}/device/outcomes"):
            return self.outcome(device, self.document(body, "outcome"))
        raise Problem(404, "not_found", "There is nothing here.")

    def document(self, body: bytes, part: str) -> Any:
        document = json.loads(body)
        if problem := schemas.problem_in(document, SCHEMA, part):
            raise Problem(400, "malformed", problem)
        return document

    def enrol(self, device: str, document: dict[str, Any]) -> Answer:
        portal = self.portal
        code = document["invitation"]
        if code not in portal.invitations:
            raise Problem(404, "invitation_unknown", "There is no such invitation.")
        user = portal.invitations[code]
        if user not in (None, device):
            raise Problem(409, "invitation_used", "Another device has used this invitation.")
        portal.invitations[code] = device
        portal.devices.add(device)
        enrolled = {
            "device": device,
            "wallet": document["wallet"],
            "printer": "Left bay",
            "owner": "Aero Spares",
            "portal": portal.info,
        }
        return _json(200 if user else 201, enrolled)

    def jobs(self, query: str) -> Answer:
        portal = self.portal
        asked = dict(part.split("=") for part in query.split("&") if part)
        entries = [served.entry for served in portal.served.values()] + portal.extra_entries
        start = int(asked.get("after", "0"))
        size = min(portal.page, int(asked.get("limit", "50")))
        after = start + size
        page = entries[start:after]
        return _json(200, {"jobs": page, "next": str(after) if after < len(entries) else None})

    def file(self, id: int, headers: Any) -> Answer:
        portal = self.portal
        portal.ranges.append(headers.get("Range"))
        if id not in portal.served:
            raise Problem(404, "not_found", "There is no such license for this printer.")
        served = portal.served[id]
        sealed = served.sealed
        if portal.spoil:
            sealed = sealed[:-1] + bytes([sealed[-1] ^ 1])
        tag = f'"{served.sealing.sha256}"'
        common = {"Content-Type": "application/octet-stream", "ETag": tag, "Accept-Ranges": "bytes"}
        if "gzip" in headers.get("Accept-Encoding", ""):
            return Answer(200, gzip.compress(sealed), common | {"Content-Encoding": "gzip"})
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("Range") or "")
        if wanted is None or headers.get("If-Range") != tag:
            return Answer(200, sealed, common)
        start, size = int(wanted[1]), len(sealed)
        if start >= size:
            raise Problem(416, "", "The file ends before.", **{"Content-Range": f"bytes */{size}"})
        common["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        return Answer(206, sealed[start:], common)

    def relay(self, device: str, kind: str, document: dict[str, Any]) -> Answer:
        portal = self.portal
        signed = _signed_use(document) if kind == "use" else _signed_failure(document)
        types = USE if kind == "use" else FAILURE
        digest = "0x" + typed_data_digest(portal.domain, types, signed.message.values()).hex()
        where = {"Location": f"{API}/device/{kind}s/{digest}"}
        if digest in portal.relayed:
            return _json(200, portal.relayed[digest], **where)
        if not is_signed_by(device, _full(signed.signature), portal.domain, types, signed.message.values()):
            raise Problem(422, "signature_invalid", "This device didn't sign it.")
        if not time.time() + 60 <= signed.message.deadline <= time.time() + 7 * 86400:
            raise Problem(422, "deadline_out_of_range", "The deadline is too near or too far.")
        if isinstance(signed.message, Use):
            self.simulate(device, signed.message)
        portal.relayed[digest] = {
            "digest": digest,
            "state": "waiting",
            "reason": None,
            "transaction": None,
            "block": None,
        }
        portal.waiting[digest] = (kind, signed)
        answer = _json(202, portal.relayed[digest], **where)
        if portal.carries and portal.chain is not None:
            portal.carry()
        return answer

    def simulate(self, device: str, use: Use) -> None:
        if self.portal.chain is None:
            return
        licenses = self.portal.chain.licenses
        usable = licenses.can_use(use.id, use.file_hash, device)
        license = licenses.license_of(use.id)
        if not usable or license is None:
            raise Problem(422, "would_be_refused", str(usable.reason))
        if use.copy != license.used + 1:
            raise Problem(422, "would_be_refused", "CopyOutOfOrder")

    def outcome(self, device: str, document: dict[str, Any]) -> Answer:
        key = (document["id"], document["copy"], device)
        known = self.portal.outcomes.setdefault(key, document)
        if known is document:
            return _json(201, document)
        if known != document:
            raise Problem(409, "outcome_known", "Another outcome was reported before.")
        return _json(200, document)

    def key(self, device: str, document: dict[str, Any]) -> Answer:
        portal = self.portal
        question = Question(
            portal.chain_id,
            portal.contract,
            parse_id(document["id"]),
            document["copy"],
            bytes.fromhex(document["keyRecipient"]),
        )
        refusal = self.refusal(device, question)
        key = None
        if refusal is None:
            key = wrap_key(portal.served[question.id].file_key, question.key_recipient)
        answer = KeyAnswer(question, int(time.time()), key, refusal)
        if portal.change_answer:
            answer = portal.change_answer(answer)
        portal.answers.append(answer)
        status = 200 if answer.refusal is None else _STATUS.get(answer.refusal, 403)
        headers = {"Retry-After": "1"} if answer.refusal and answer.refusal.is_temporary else {}
        return Answer(status, answer.signed(portal.desk), {"Content-Type": "application/json", **headers})

    def refusal(self, device: str, question: Question) -> Refusal | None:
        portal = self.portal
        if portal.refusal is not None:
            return portal.refusal
        if question.id not in portal.served:
            return Refusal.UNKNOWN_LICENSE
        if portal.chain is None:
            return None
        licenses = portal.chain.licenses
        events = [
            event
            for event in licenses.events("LicenseUsed", "PrintFailed", id=question.id)
            if event.values["copy"] == question.copy
        ]
        used = next((event for event in events if event.name == "LicenseUsed"), None)
        if used is None:
            return Refusal.NOT_CONSUMED
        if used.values["device"] != device:
            return Refusal.OTHER_DEVICE
        if used.values["keyRecipient"] != question.key_recipient:
            return Refusal.OTHER_RECIPIENT
        if any(event.name == "PrintFailed" for event in events):
            return Refusal.FAILED
        if question.id in portal.stopped:
            return Refusal.STOPPED
        head = int(portal.chain.rpc.call("eth_blockNumber", []), 16)
        if head - used.block_number < portal.confirmations:
            return Refusal.NOT_FINAL
        assert used.values["fileHash"] == file_hash_to_int(portal.served[question.id].manifest.file_hash)
        return None


def _signed_use(document: dict[str, Any]) -> Signed[Use]:
    use = Use(
        parse_id(document["id"]),
        document["fileHash"],
        document["copy"],
        *(bytes.fromhex(document[name]) for name in ("keyRecipient", "encryptedSerial", "commitment")),
        document["deadline"],
    )
    return Signed(use, _compact(document["signature"]))


def _signed_failure(document: dict[str, Any]) -> Signed[Failure]:
    failure = Failure(
        parse_id(document["id"]),
        document["copy"],
        bytes.fromhex(document["evidence"]),
        document["deadline"],
    )
    return Signed(failure, _compact(document["signature"]))


def _compact(text: str) -> CompactSignature:
    raw = bytes.fromhex(text[2:])
    return CompactSignature(raw[:32], raw[32:])


def _full(signature: CompactSignature) -> bytes:
    vs = int.from_bytes(signature.vs, "big")
    s = vs & ((1 << 255) - 1)
    return signature.r + s.to_bytes(32, "big") + bytes([27 + (vs >> 255)])


def problem_answer(problem: Problem) -> Answer:
    document = {
        "type": f"urn:imprimatur:problem:{problem.code}" if problem.code else "about:blank",
        "title": "Refused",
        "status": problem.status,
        "detail": problem.detail,
    }
    answer = _json(problem.status, document, **problem.headers)
    answer.headers["Content-Type"] = "application/problem+json"
    return answer
