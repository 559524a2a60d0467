"""A portal and its key desk as a device meets them: real signatures, sealed files and chain, faults on order.

It keeps to what was agreed until a test says otherwise: `faults` for what happens to single requests, and
its fields for what it serves. The desk has the path /desk of the same server.
"""

import base64
import io
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

from eth_utils.address import to_checksum_address

from imprimatur.chain.signers import KeySigner, Signer
from imprimatur.chain.typed_data import Signed, license_domain
from imprimatur.key_answer import KeyAnswer, Refusal
from imprimatur.license_id import format_id, number_from_text
from imprimatur.manifest.document import Manifest, Sealing, Thumbnail
from imprimatur.manifest.signature import SignedManifest, sign_manifest
from imprimatur.sealing import seal
from support.delivery_answers import Answer, Problem, Service, problem_answer
from support.node import Chain

CHAIN_ID = 31337
CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
_POURED = 1 << 18
"""Bytes between two looks at the clock."""
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD target" holds `where` (a pattern).

    With `status`, that and `body` are answered instead. Otherwise the request is done, and of its answer only
    the first `keep` bytes of the body are sent before the connection ends; none with 0, not even a status.
    """

    where: str
    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    keep: int | None = None
    times: int = 1


@dataclass
class Served:
    """A license with its file as the portal has it."""

    entry: dict[str, Any]
    sealed: bytes
    file_key: bytes
    manifest: Manifest

    @property
    def sealing(self) -> Sealing:
        assert self.manifest.sealing is not None
        return self.manifest.sealing


@dataclass
class DeliveryPortal:
    """What it serves and what it saw."""

    operator: KeySigner
    """Pays for what it relays."""
    desk: KeySigner
    chain: Chain | None = None
    url: str = ""
    devices: set[str] = field(default_factory=set)
    """Addresses that are enrolled."""
    disabled: set[str] = field(default_factory=set)
    invitations: dict[str, str | None] = field(default_factory=dict)
    """By code: the device that used it."""
    served: dict[int, Served] = field(default_factory=dict)
    extra_entries: list[Any] = field(default_factory=list)
    """Listed behind the jobs as they are."""
    page: int = 50
    faults: list[Fault] = field(default_factory=list)
    carries: bool = True
    """Whether a relayed message goes to the chain at once; else `carry` does it."""
    waiting: dict[str, tuple[str, Signed[Any]]] = field(default_factory=dict)
    relayed: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[tuple[str, int, str], dict[str, Any]] = field(default_factory=dict)
    confirmations: int = 0
    """Blocks upon that of a use before the desk releases its key."""
    stopped: set[int] = field(default_factory=set)
    answers: list[KeyAnswer] = field(default_factory=list)
    refusal: Refusal | None = None
    """What the desk answers instead of looking at the chain."""
    spoil: bool = False
    """Whether the last byte of every sealed file is another one."""
    change_answer: Callable[[KeyAnswer], KeyAnswer] | None = None
    """Lets the desk lie, with its own signature."""
    bytes_per_second: float | None = None
    """How fast bodies leave, as through a network; None as fast as they can."""
    requests: list[str] = field(default_factory=list)
    """METHOD and target of each."""
    ranges: list[str | None] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)
    lock: Any = field(default_factory=threading.RLock)

    @property
    def chain_id(self) -> int:
        return CHAIN_ID if self.chain is None else self.chain.chain_id

    @property
    def contract(self) -> str:
        return CONTRACT if self.chain is None else to_checksum_address(self.chain.licenses.address)

    @property
    def domain(self) -> dict[str, Any]:
        return license_domain(self.chain_id, self.contract)

    @property
    def desk_url(self) -> str:
        return f"{self.url}/desk"

    @property
    def desk_address(self) -> str:
        return self.desk.address

    def reset(self) -> None:
        """Honest again; what it serves and what happened stay."""
        self.faults, self.extra_entries, self.page, self.carries = [], [], 50, True
        self.refusal, self.spoil, self.change_answer, self.confirmations = None, False, None, 0
        self.stopped, self.disabled = set(), set()

    @property
    def info(self) -> dict[str, Any]:
        """The document `portal`."""
        return {
            "version": 1,
            "chainId": self.chain_id,
            "contract": self.contract,
            "since": 0 if self.chain is None else self.chain.licenses.since,
            "deskUrl": self.desk_url,
            "deskAddress": self.desk.address,
        }

    def offer(
        self,
        owner: Signer,
        wallet: str,
        data: bytes,
        copies: int = 3,
        number: str = "4711",
        log_recipient: bytes | None = None,
        issue: bool = True,
        name: str = "clip.gcode",
        thumbnail: bytes | None = PIXEL,
        **terms: Any,
    ) -> int:
        """Seal a file, issue its license where there is a chain, and list it; the license's id.

        Without `issue` the caller issues it; `served[id].manifest.hash` has to stand in the order.
        """
        target = io.BytesIO()
        sealed = seal(io.BytesIO(data), target)
        id = int(owner.address, 16) << 96 | number_from_text(number)
        manifest = Manifest(
            chain_id=self.chain_id,
            contract=self.contract,
            id=id,
            file_name=name,
            file_size=sealed.size,
            file_hash=sealed.sha256,
            sealing=Sealing(sealed.sealed_sha256, sealed.sealed_size, sealed.key_commitment),
            log_recipient=log_recipient,
            material="PLA",
            print_seconds=540,
            layers=25,
            thumbnail=Thumbnail("image/png", thumbnail) if thumbnail else None,
        )
        if self.chain is not None and issue:
            self.chain.issue(
                owner, wallet, sealed.sha256, copies, number, manifest_hash=manifest.hash, **terms
            )
        signed = sign_manifest(manifest, owner)
        self.served[id] = Served(
            self.entry(signed, number, copies), target.getvalue(), sealed.file_key, manifest
        )
        return id

    @staticmethod
    def entry(signed: SignedManifest, number: str, remaining: int | None) -> dict[str, Any]:
        """The document `job`."""
        return {
            "id": format_id(signed.manifest.id),
            "number": number,
            "owner": "Aero Spares",
            "remaining": remaining,
            "filamentGrams": 1.2,
            "filamentMillimeters": 402.5,
            "layerHeight": 0.28,
            "manifest": json.loads(signed.to_bytes()),
        }

    def carry(self) -> None:
        """Send what waits to the chain, one transaction each."""
        assert self.chain is not None
        with self.lock:
            for digest, (kind, signed) in list(self.waiting.items()):
                licenses = self.chain.licenses
                call = licenses.use_licenses_signed_call if kind == "use" else None
                data = (call or licenses.report_failures_signed_call)([signed])
                receipt = self.chain.send(self.operator, data)
                skipped = licenses.skipped_in(receipt)
                self.relayed[digest] |= {
                    "state": "refused" if skipped else "done",
                    "reason": skipped[0][2] if skipped else None,
                    "transaction": receipt["transactionHash"],
                    "block": int(receipt["blockNumber"], 16),
                }
                if not skipped:
                    self._count(signed.message.id, -1 if kind == "use" else 1)
                del self.waiting[digest]

    def _count(self, id: int, change: int) -> None:
        """What the chain did to a license's copies, in the list too."""
        entry = self.served[id].entry if id in self.served else {}
        if isinstance(entry.get("remaining"), int):
            entry["remaining"] += change


def pour(target: BinaryIO, data: bytes, bytes_per_second: float | None) -> None:
    """Write all of it, at most so fast."""
    if bytes_per_second is None or len(data) <= _POURED:
        target.write(data)
        return
    begun, view = time.monotonic(), memoryview(data)
    for place in range(0, len(data), _POURED):
        target.write(view[place : place + _POURED])
        time.sleep(max(0.0, begun + place / bytes_per_second - time.monotonic()))


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A device that went away is no error of the portal; any other one is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(portal: DeliveryPortal) -> type[BaseHTTPRequestHandler]:
    service = Service(portal)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10
        # Else a body waits for the receipt of its head, which a kept connection puts off for 40 ms.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.serve()

        def do_POST(self) -> None:
            self.serve()

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            place = f"{self.command} {self.path}"
            with portal.lock:
                portal.requests.append(place)
                fault = next((fault for fault in portal.faults if re.search(fault.where, place)), None)
                if fault is not None:
                    fault.times -= 1
                    if not fault.times:
                        portal.faults.remove(fault)
                if fault is not None and fault.status is not None:
                    return self.write(Answer(fault.status, fault.body, fault.headers))
                try:
                    answer = service.answer(self.command, self.path, self.headers, body)
                except Problem as problem:
                    answer = problem_answer(problem)
            return self.write(answer, None if fault is None else fault.keep)

        def write(self, answer: Answer, keep: int | None = None) -> None:
            if keep is not None:
                self.close_connection = True
                if keep == 0:
                    return
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.body))} | answer.headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            pour(self.wfile, answer.body[:keep], portal.bytes_per_second)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests print what matters themselves."""

    return Handler


@contextmanager
def running_portal(chain: Chain | None = None) -> Iterator[DeliveryPortal]:
    """A portal. Without a chain, what it relays stays waiting, and its desk gives every key."""
    operator = KeySigner(bytes(range(40, 72))) if chain is None else chain.account()
    portal = DeliveryPortal(operator, KeySigner(bytes(range(80, 112))), chain)
    server = _Server(("127.0.0.1", 0), _handler(portal))
    portal.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield portal
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
