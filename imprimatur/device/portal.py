"""The portal as a device sees it: where jobs and sealed files come from, and who carries what it signed.

Nothing that a portal says is believed. Files are named by their hash, manifests are compared with the chain,
and what became of a signed message is read from the chain.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

from imprimatur import canonical_json, schemas
from imprimatur.chain.signers import Signer
from imprimatur.chain.typed_data import Failure, Signed, Use
from imprimatur.device.errors import PortalConfused, PortalRefused, PortalUnreachable
from imprimatur.device.http import SignedHttp
from imprimatur.device.messages import (
    SCHEMA,
    Enrolment,
    Outcome,
    PortalInfo,
    Relayed,
    WrongSpelling,
    failure_document,
    use_document,
)
from imprimatur.device.offers import Offer, OfferInvalid, Skipped, id_in, read_offer
from imprimatur.license_id import format_id
from imprimatur.manifest.document import Sealing

API = "/api/v1"
LARGEST_ANSWER = 16 << 20
"""Bytes: a page of jobs whose manifests are as large as they may be, twice."""
PAGE = 50
"""Jobs asked for at once, and the most that the schema allows."""
MAX_PAGES = 200
LIST_WITHIN = 300.0
"""Seconds for all pages together: each of them may be slow."""

Message = TypeVar("Message", PortalInfo, Enrolment)

log = logging.getLogger(__name__)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


class Download:
    """The sealed bytes from `start` on, to be iterated once.

    `start` is where the portal begins: where it was asked to, or 0 when it can't. Iterating raises
    PortalUnreachable when the connection breaks, PortalConfused when there are more bytes than agreed.
    """

    def __init__(self, http: SignedHttp, response: Any, start: int, size: int) -> None:
        self._http = http
        self._response = response
        self.start = start
        self.size = size
        """Bytes of the whole file."""

    def __iter__(self) -> Iterator[bytes]:
        done, trouble = self.start, ""
        try:
            for piece in self._http.pieces(self._response):
                done += len(piece)
                if done > self.size:
                    raise PortalConfused(self._http.host, f"the file has more than its {self.size} bytes")
                yield piece
        except PortalUnreachable as error:
            trouble = error.trouble
        if done < self.size:
            raise PortalUnreachable(
                self._http.host, f"the file broke off after {done} of {self.size} bytes {trouble}".strip()
            )


class Portal:
    """The portal at `url`, asked in the name of the device `signer`. One object serves all threads.

    Every method raises PortalUnreachable (nobody knows whether it was done: ask again), PortalBusy (ask again
    later), PortalRefused (it won't help) and PortalConfused (the answer isn't what was agreed); only others
    are named below.

    Args:
        url: of the portal, with https://; http:// is for this machine.
        allow_http: whether http:// may go to another machine too.

    Raises:
        AddressRefused
    """

    def __init__(self, url: str, signer: Signer, allow_http: bool = False) -> None:
        self._http = SignedHttp(url, signer, LARGEST_ANSWER, allow_http)
        self._device = signer.address

    @property
    def url(self) -> str:
        return self._http.url

    def describe(self) -> PortalInfo:
        """The portal's contract and key desk. Whoever enrolled keeps what was said then."""
        return self._read(PortalInfo.from_document, self._json("GET", "/portal", "portal", sign=False))

    def enrol(self, invitation: str, wallet: str, encryption_key: bytes) -> Enrolment:
        """Accept an owner's invitation for this device. The same again gives the same answer.

        Args:
            invitation: the one-time code; dashes and letters as it was shown.
            wallet: account that holds the licenses (checksum): the device's own, or one that has bound it.
            encryption_key: X25519 public key of the device (32 bytes).

        Raises:
            PortalRefused: with the code invitation_unknown, invitation_expired, invitation_used or not_bound.
        """
        document = {"invitation": invitation, "wallet": wallet, "encryptionKey": encryption_key.hex()}
        answer = self._json("POST", "/enrolments", "enrolled", ("enrolment", document))
        enrolment = self._read(Enrolment.from_document, answer)
        if (enrolment.device, enrolment.wallet) != (self._device, wallet):
            raise PortalConfused(self._http.host, "it has enrolled another device or wallet")
        return enrolment

    def jobs(self, on_skipped: Callable[[Skipped], None] | None = None) -> Iterator[Offer]:
        """The licenses of the device's wallet, newest first, page by page as they are iterated.

        Entries that can't be offers are left out and told to `on_skipped`, or to the log.

        Raises:
            PortalRefused: with the code not_enrolled or device_disabled.
        """
        after: str | None = None
        seen: set[str | None] = {None}
        ids: set[int] = set()
        begun = time.monotonic()
        for _ in range(MAX_PAGES):
            if time.monotonic() - begun > LIST_WITHIN:
                raise PortalUnreachable(self._http.host, "its list takes too long")
            entries, after = self._page(after)
            for entry in entries:
                try:
                    offer = read_offer(entry)
                    if offer.id in ids:
                        raise OfferInvalid("it is listed twice")
                except OfferInvalid as error:
                    (on_skipped or _log_skipped)(Skipped(id_in(entry), str(error)))
                    continue
                ids.add(offer.id)
                yield offer
            if after is None:
                return
            if after in seen:
                raise PortalConfused(self._http.host, "its pages of jobs go round in a circle")
            seen.add(after)
        raise PortalConfused(self._http.host, f"it has more than {MAX_PAGES} pages of jobs")

    @contextmanager
    def download(self, id: int, sealing: Sealing, start: int = 0) -> Iterator[Download]:
        """The sealed file of a license from byte `start` on, as far as the portal can begin there.

        Whether the bytes are the right ones tells their SHA-256 in the end.

        Raises:
            ValueError: `start` isn't within the file.
            PortalConfused: it offers another file, or of another size.
        """
        if not 0 <= start < sealing.size:
            raise ValueError(f"a file of {sealing.size} bytes has no rest from byte {start} on")
        tag = f'"{sealing.sha256}"'
        headers = {"Range": f"bytes={start}-", "If-Range": tag} if start else {}
        with self._http.stream(f"{API}/device/jobs/{format_id(id)}/file", headers) as response:
            if response.headers.get("ETag", tag).removeprefix("W/") != tag:
                raise PortalConfused(self._http.host, "it has another file for this license")
            begins, size = _extent(response)
            if size != sealing.size or begins not in (0, start):
                raise PortalConfused(self._http.host, "the file's size or place isn't what was agreed")
            yield Download(self._http, response, begins, size)

    def relay_use(self, signed: Signed[Use]) -> Relayed:
        """Hand over a signed use to be carried to the chain; the same again tells how far it is.

        Raises:
            PortalRefused: with the code signature_invalid, deadline_out_of_range or would_be_refused.
            PortalBusy: too many are waiting; the code too_many_waiting says that they are this device's.
        """
        return self._relay("uses", "use", use_document(signed))

    def relayed_use(self, digest: str) -> Relayed | None:
        """How far the use with this EIP-712 digest (0x…) is; None when the portal doesn't know it."""
        return self._relayed("uses", digest)

    def relay_failure(self, signed: Signed[Failure]) -> Relayed:
        """Hand over a signed failure report, as `relay_use` does with a use."""
        return self._relay("failures", "failure", failure_document(signed))

    def relayed_failure(self, digest: str) -> Relayed | None:
        """How far the failure report with this EIP-712 digest (0x…) is, or None."""
        return self._relayed("failures", digest)

    def report(self, outcome: Outcome) -> None:
        """Tell how a print ended. The same again changes nothing.

        Raises:
            PortalRefused: with the code outcome_known when this device has said something else before.
        """
        self._json("POST", "/device/outcomes", "", ("outcome", outcome.to_document()), read=False)

    def _relay(self, place: str, part: str, document: dict[str, Any]) -> Relayed:
        answer = self._json("POST", f"/device/{place}", "relayed", (part, document))
        return Relayed.from_document(answer)

    def _relayed(self, place: str, digest: str) -> Relayed | None:
        try:
            answer = self._json("GET", f"/device/{place}/{quote(digest, safe='')}", "relayed")
        except PortalRefused as refused:
            if refused.status == 404:
                return None
            raise
        if answer["digest"] != digest:
            raise PortalConfused(self._http.host, "it tells about another message")
        return Relayed.from_document(answer)

    def _page(self, after: str | None) -> tuple[list[Any], str | None]:
        """Entries as they came, and where the next page begins."""
        query = f"?limit={PAGE}" + ("" if after is None else f"&after={quote(after, safe='')}")
        page = self._json("GET", f"/device/jobs{query}", "")
        entries = page.get("jobs") if isinstance(page, dict) else None
        # The entries are judged one by one: a bad one must not hide the others.
        if not isinstance(entries, list) or schemas.problem_in(page | {"jobs": []}, SCHEMA, "jobs"):
            raise PortalConfused(self._http.host, "its list of jobs has another form")
        if len(entries) > PAGE:
            raise PortalConfused(self._http.host, f"it gives more than {PAGE} jobs at once")
        return entries, page["next"]

    def _json(
        self,
        method: str,
        path: str,
        part: str,
        sent: tuple[str, dict[str, Any]] | None = None,
        *,
        sign: bool = True,
        read: bool = True,
    ) -> Any:
        """The answer's JSON value, which follows the definition `part`; `sent` is one of that of its name."""
        body = None if sent is None else body_of(*sent)
        reply = self._http.send(method, API + path, body, sign)
        if reply.status not in (200, 201, 202):
            raise self._http.failure_of(reply)
        return self._http.document_in(reply, part) if read else None

    def _read(self, read: Callable[[dict[str, Any]], Message], document: dict[str, Any]) -> Message:
        try:
            return read(document)
        except WrongSpelling as error:
            raise PortalConfused(self._http.host, str(error)) from error


def body_of(part: str, document: dict[str, Any]) -> bytes:
    """The bytes of a document that follows the definition `part`.

    Raises:
        ValueError: it doesn't.
    """
    if problem := schemas.problem_in(document, SCHEMA, part):
        raise ValueError(f"a {part} that can't be sent, at {problem}")
    return canonical_json.dumps(document)


def _extent(response: Any) -> tuple[int, int]:
    """First byte of what comes, and size of the whole file; (-1, -1) when the headers don't say it."""
    if response.status_code == 206:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None:
            return -1, -1
        first, last, size = map(int, found.groups())
        return (first, size) if last == size - 1 else (-1, -1)
    length = response.headers.get("Content-Length", "")
    return (0, int(length)) if length.isascii() and length.isdigit() and len(length) < 16 else (-1, -1)


def _log_skipped(skipped: Skipped) -> None:
    license = "An entry" if skipped.id is None else f"License {format_id(skipped.id)}"
    log.warning("%s of the portal's list is left out: %s", license, skipped.reason)
