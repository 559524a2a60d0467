"""The portal as the printer sees it: a source of names and bytes that is never believed.

What it says is bounded in size and checked for its type here; whether a license exists, how many copies are
left and which bytes are the right ones is asked of the chain.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from imprimatur.chain.signers import Signer
from imprimatur.device_auth import authorization
from imprimatur.license_id import InvalidLicenseNumber, format_id, number_from_text, number_of, parse_id
from octoprint_imprimatur.messages import Refused

LISTING = "/api/v1/device/licenses"
TIMEOUT = (3.0, 15.0)
"""Seconds to connect, and between two pieces of an answer."""
MAX_LISTING = 4 << 20
MAX_ENTRIES = 2000
MAX_THUMBNAIL = 64 << 10
MAX_FILE = 512 << 20
"""Bytes of a print file."""
MAX_PROBLEM = 16 << 10
CHUNK = 64 << 10
MAX_DEPTH = 16
"""Nesting of JSON. Some libraries raise Python's recursion limit so far that an answer of nothing but opening
brackets would end the process."""
_PNG = b"\x89PNG\r\n\x1a\n"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BRACKET = re.compile(rb'[\[\]{}"]|\\.', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the portal tells about the file of one license. Nothing here is proven but `number`."""

    id: int
    number: str
    """Text whose hash is part of the id; empty when the portal gave another one."""
    owner_name: str
    name: str
    size: int
    sha256: str
    material: str | None
    print_time: float | None
    """Seconds."""
    filament: float | None
    """Grams."""
    layer_height: float | None
    """Millimeters."""
    thumbnail: str | None
    """PNG in base64."""


def _text(value: Any, limit: int) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value if c.isprintable())[:limit].strip()


def _amount(value: Any, limit: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= limit else None


def _thumbnail(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > MAX_THUMBNAIL * 4 // 3 + 4:
        return None
    try:
        data = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return None
    return value if data.startswith(_PNG) and len(data) <= MAX_THUMBNAIL else None


def _number(value: Any, id: int) -> str:
    text = _text(value, 64)
    try:
        return text if number_from_text(text) == number_of(id) else ""
    except InvalidLicenseNumber:
        return ""


def _json(body: bytes) -> Any:
    """The value behind JSON from a stranger.

    Raises:
        ValueError: it isn't JSON, or nested too deeply.
    """
    depth, in_text = 0, False
    for found in _BRACKET.finditer(body):
        mark = found[0]
        if mark == b'"':
            in_text = not in_text
        elif not in_text and mark in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("nested too deeply")
        elif not in_text and mark in (b"]", b"}"):
            depth -= 1
    return json.loads(body)


def _offer(entry: Any) -> Offer | None:
    """One entry of the listing, or None when it can't be one."""
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), dict):
        return None
    file = entry["file"]
    try:
        id = parse_id(_text(entry.get("id"), 66))
    except InvalidLicenseNumber:
        return None
    size, sha256 = _amount(file.get("size"), MAX_FILE), _text(file.get("sha256"), 64).lower()
    if size is None or not _SHA256.fullmatch(sha256):
        return None
    return Offer(
        id=id,
        number=_number(entry.get("number"), id),
        owner_name=_text(entry.get("owner_name"), 80),
        name=_text(file.get("name"), 120),
        size=int(size),
        sha256=sha256,
        material=_text(file.get("material"), 40) or None,
        print_time=_amount(file.get("print_time_s"), 90 * 86400),
        filament=_amount(file.get("filament_g"), 1e6),
        layer_height=_amount(file.get("layer_height_mm"), 100),
        thumbnail=_thumbnail(file.get("thumbnail_png")),
    )


class Sink(Protocol):
    """Where downloaded bytes go."""

    def write(self, data: bytes) -> int: ...


class Portal:
    """The device API of the portal at `url`, asked in the name of `signer`."""

    def __init__(self, url: str, signer: Signer) -> None:
        self._url = url.rstrip("/")
        self._signer = signer

    def _open(self, path: str) -> Any:
        """A streamed answer with status 200."""
        import requests

        if not self._url:
            raise Refused("portal_not_set_up")
        parts = urlsplit(self._url + path)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Authorization": authorization(self._signer, "GET", target),
            # Bytes as they are: a length that can be compared, and no compressed bombs.
            "Accept-Encoding": "identity",
        }
        try:
            answer = requests.get(
                self._url + path, headers=headers, timeout=TIMEOUT, stream=True, allow_redirects=False
            )
        except (requests.RequestException, ValueError) as error:
            raise Refused("portal_down", reason=type(error).__name__) from error
        if answer.status_code == 200 and answer.headers.get("Content-Encoding", "identity") == "identity":
            return answer
        with answer:
            if answer.status_code == 404:
                raise Refused("file_missing")
            raise Refused("portal_refused", reason=self._problem(answer))

    @staticmethod
    def _problem(answer: Any) -> str:
        """The reason in a problem document (RFC 9457), in one bounded line."""
        import requests

        status = f"HTTP {answer.status_code}."
        try:
            document = _json(answer.raw.read(MAX_PROBLEM, decode_content=False))
        except (ValueError, requests.RequestException, OSError):
            return status
        detail = document.get("detail") or document.get("title") if isinstance(document, dict) else None
        return f"{_text(detail, 200)} ({status})" if detail else status

    def listing(self) -> dict[int, Offer]:
        """What the portal tells about this printer's licenses, by id.

        Raises:
            Refused: portal_not_set_up, portal_down, portal_refused or portal_confused.
        """
        import requests

        body = bytearray()
        with self._open(LISTING) as answer:
            try:
                for chunk in answer.iter_content(CHUNK):
                    body += chunk
                    if len(body) > MAX_LISTING:
                        raise Refused("portal_confused", reason="the list is too long.")
            except requests.RequestException as error:
                raise Refused("portal_down", reason=type(error).__name__) from error
        try:
            entries = _json(bytes(body))["licenses"]
            offers = [_offer(entry) for entry in entries[:MAX_ENTRIES]]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("portal_confused", reason="the list isn't what was agreed.") from error
        return {offer.id: offer for offer in offers if offer}

    def download(self, id: int, sink: Sink, progress: Callable[[int, int], None]) -> None:
        """Write the file of license `id` to `sink`; `progress` gets bytes done and bytes expected.

        Raises:
            Refused: with the reason; what was written is of no use then.
            OSError: the sink can't take the bytes.
        """
        import requests

        with self._open(f"{LISTING}/{format_id(id)}/file") as answer:
            length = answer.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) == 0:
                raise Refused("portal_confused", reason="the file comes without its length.")
            expected, received = int(length), 0
            if expected > MAX_FILE:
                raise Refused("download_too_big", limit=MAX_FILE)
            try:
                for chunk in answer.iter_content(CHUNK):
                    received += len(chunk)
                    if received > expected:
                        raise Refused("download_too_big", limit=expected)
                    sink.write(chunk)
                    progress(received, expected)
            except requests.RequestException as error:
                raise Refused("download_broken", received=received, expected=expected) from error
            if received != expected:
                raise Refused("download_broken", received=received, expected=expected)
