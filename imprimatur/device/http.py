"""Asking a portal or a key desk: requests signed by the device, answers bounded in size and time."""

import ipaddress
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from imprimatur import schemas
from imprimatur.chain import json_depth
from imprimatur.chain.deadline import set_deadline
from imprimatur.chain.http import PIECE, HttpPeer, NoAnswer
from imprimatur.chain.signers import Signer
from imprimatur.device.errors import (
    AddressRefused,
    PortalBusy,
    PortalConfused,
    PortalError,
    PortalRefused,
    PortalUnreachable,
)
from imprimatur.device.messages import SCHEMA, shown
from imprimatur.device_auth import authorization, origin_of

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0
DEADLINE = 60.0
"""Seconds for one question; of a download, for each piece."""
LEAST = 16 << 10
"""Bytes of a download that come within DEADLINE."""
MOST_PATIENCE = 3600.0
"""Seconds: a server that asks for more is asked again earlier."""
_PROBLEM = "application/problem+json"
_CODE = re.compile(r"urn:imprimatur:problem:([a-z_]{1,40})")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; header names are in lower case."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def is_problem(self) -> bool:
        """Whether it is a problem document (RFC 9457)."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == _PROBLEM

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks for."""
        return _seconds(self.headers.get("retry-after"))


class SignedHttp(HttpPeer):
    """The server at `url`, asked in the name of a device. One object serves all threads.

    Args:
        url: of the server, perhaps with a path in front of the API's.
        signer: the device's key.
        largest_answer: bytes.
        allow_http: whether another machine may be asked without TLS, such as in a network of one's own.

    Raises:
        AddressRefused: no http or https address, with a user name, a query or a fragment; or without TLS.
    """

    def __init__(self, url: str, signer: Signer, largest_answer: int, allow_http: bool = False) -> None:
        check_address(url, allow_http)
        super().__init__(url.rstrip("/"), CONNECT_TIMEOUT, READ_TIMEOUT, largest_answer)
        self._signer = signer
        self._origin = origin_of(url)

    def send(self, method: str, path: str, body: bytes | None = None, sign: bool = True) -> Reply:
        """What the server answers, whatever its status.

        Raises:
            PortalUnreachable
        """
        with self._open(method, path, body, {}, sign) as response:
            return self._reply(response)

    @contextmanager
    def stream(self, path: str, headers: dict[str, str]) -> Iterator[Any]:
        """The answer (of requests) to a signed GET, with its body still to come, as it was stored: `pieces`.

        Raises:
            PortalUnreachable
            PortalBusy, PortalRefused: another status than 200 and 206.
        """
        # Bytes as they are: lengths that can be compared, and no compressed bombs.
        with self._open("GET", path, None, {"Accept-Encoding": "identity", **headers}, True) as response:
            if response.status_code not in (200, 206):
                raise self.failure_of(self._reply(response))
            yield response

    def pieces(self, response: Any) -> Iterator[bytes]:
        """The body of a streamed answer. Each piece has a deadline of its own, so that a slow line isn't cut
        off; a server that says nothing is, or a byte now and then.

        Raises:
            PortalUnreachable
        """
        begun, got = time.monotonic(), 0
        while True:
            set_deadline(time.monotonic() + DEADLINE)
            with self._network():
                piece = response.raw.read1(PIECE, decode_content=False)
            if not piece:
                return
            yield piece
            got += len(piece)
            if time.monotonic() - begun > DEADLINE:
                if got < LEAST:
                    raise PortalUnreachable(self.host, "it sends almost nothing")
                begun, got = time.monotonic(), 0

    def failure_of(self, reply: Reply) -> PortalError:
        """What an answer without the agreed content means."""
        code, detail = _problem_in(reply.content) if reply.is_problem else ("", "")
        status = reply.status
        if status in (429, 503):
            return PortalBusy(self.host, status, reply.retry_after, code)
        if status == 408 or status >= 500:
            return PortalUnreachable(self.host, f"it has a fault (HTTP {status})")
        if status >= 400:
            return PortalRefused(self.host, status, code, detail)
        return PortalConfused(self.host, f"HTTP {status} wasn't agreed")

    def document_in(self, reply: Reply, part: str) -> Any:
        """The JSON value of an answer that follows the definition `part` of the schema; not checked without
        one.

        Raises:
            PortalConfused
        """
        try:
            document = json_depth.parse(reply.content)
        except ValueError as error:
            raise PortalConfused(self.host, "it isn't JSON") from error
        if part and (problem := schemas.problem_in(document, SCHEMA, part)):
            raise PortalConfused(self.host, f"it isn't valid at {shown(problem)}")
        return document

    def _open(self, method: str, path: str, body: bytes | None, headers: dict[str, str], sign: bool) -> Any:
        """The answer of requests; close it."""
        import requests

        set_deadline(time.monotonic() + DEADLINE)
        session = self._session()
        request = session.prepare_request(requests.Request(method, self.url + path, headers, data=body))
        if sign:
            # The target as it is sent, which is not always as it was given.
            header = authorization(self._signer, method, self._origin, request.path_url, body or b"")
            request.headers["Authorization"] = header
        limits = (CONNECT_TIMEOUT, READ_TIMEOUT)
        with self._network():
            response = session.send(request, timeout=limits, stream=True, allow_redirects=False)
        if 300 <= response.status_code < 400:
            response.close()
            raise PortalUnreachable(self.host, "it points to another address, which has to be given itself")
        return response

    def _reply(self, response: Any) -> Reply:
        with self._network():
            content = self._content(response.raw, time.monotonic() + DEADLINE)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, headers, content)

    @contextmanager
    def _network(self) -> Iterator[None]:
        """Turns what happens to connections into PortalUnreachable."""
        import requests
        import urllib3

        try:
            yield
            return
        except NoAnswer as error:
            trouble = str(error)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            trouble = type(error).__name__
        # Outside of the handler: the cause's text holds the address.
        raise PortalUnreachable(self.host, trouble)


def check_address(url: str, allow_http: bool) -> None:
    """Raises AddressRefused."""
    try:
        parts = urlsplit(url)
        sound = bool(origin_of(url)) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise AddressRefused("That isn't the address of a portal: it has to begin with https://.")
    if parts.username is not None or parts.query or parts.fragment:
        raise AddressRefused(
            "The address of a portal has no user name, ? and #: a device signs in with its own key."
        )
    if parts.scheme == "http" and not allow_http and not _is_loopback(str(parts.hostname)):
        raise AddressRefused(
            f"{parts.hostname} is another machine, and http:// protects nothing on the way there. Use "
            "https://, or allow http where you trust the network."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _seconds(text: str | None) -> float | None:
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return min(float(text[:9]), MOST_PATIENCE)


def _problem_in(content: bytes) -> tuple[str, str]:
    """Code and sentence of a problem document; empty where it has none."""
    try:
        document = json_depth.parse(content)
    except ValueError:
        return "", ""
    if schemas.problem_in(document, SCHEMA, "problem"):
        return "", ""
    code = _CODE.fullmatch(document["type"])
    return code[1] if code else "", shown(document["detail"])
