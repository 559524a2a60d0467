"""Asking a server that may be slow, wrong or malicious: one request, one bounded answer."""

import os
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from imprimatur.chain.deadline import deadline_session, set_deadline
from imprimatur.errors import ImprimaturError

PIECE = 1 << 16
"""Bytes read at once."""


class NoAnswer(ImprimaturError):
    """The server gave no answer that can be read. Its text fits behind "… doesn't answer: "."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; `retry_after` are seconds, if it asked for patience and said how long."""

    status: int
    content: bytes
    retry_after: float | None = None


class HttpPeer:
    """A server at `url`. Each thread keeps a connection of its own, so one object serves all threads.

    The URL may hold credentials; they stand in no error and no log of this class.

    Args:
        url: of the server.
        connect_timeout: seconds to connect.
        read_timeout: seconds without a byte of the answer.
        largest_answer: bytes that an answer may have, unpacked.
    """

    def __init__(self, url: str, connect_timeout: float, read_timeout: float, largest_answer: int) -> None:
        self.url = url
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._largest = largest_answer
        self._threads = threading.local()

    @property
    def host(self) -> str:
        """Name of the server, for people. Keys hide in user names, paths and queries of a URL."""
        return str(urlsplit(self.url).hostname)

    def ask(self, body: bytes | None, deadline: float, read_timeout: float | None = None) -> Answer:
        """What the server answers before `deadline` (of `time.monotonic`) to JSON, or to a GET without any.

        Looking up the name, and connecting to further addresses of one name, aren't stopped by it.

        Raises:
            NoAnswer
        """
        import requests
        import urllib3

        set_deadline(deadline)
        left = max(0.001, deadline - time.monotonic())
        limits = (min(left, self._connect_timeout), min(left, read_timeout or self._read_timeout))
        try:
            session, request = self._session(), self._threads.request
            if body is not None:
                request = request.copy()
                request.method, request.body = "POST", body
                request.headers["Content-Length"] = str(len(body))
            # Not through `session.request`, which prepares everything anew and takes as long as a near node.
            # Cookies, which nodes have no use for, aren't kept by this.
            adapter = session.get_adapter(self.url)
            with adapter.send(
                request, stream=True, timeout=limits, verify=session.verify, proxies=session.proxies
            ) as response:
                status = response.status_code
                if 300 <= status < 400:
                    raise NoAnswer(
                        f"it points to another address (HTTP {status}), which has to be given itself"
                    )
                retry_after = _seconds(response.headers.get("Retry-After"))
                return Answer(status, self._content(response.raw, deadline), retry_after)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            trouble = "it takes too long" if time.monotonic() >= deadline else type(error).__name__
        # Outside of the handler: the cause's text holds the URL.
        raise NoAnswer(trouble)

    def _content(self, stream: Any, deadline: float) -> bytes:
        pieces = []
        size = 0
        while piece := stream.read1(PIECE, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if size > self._largest:
                raise NoAnswer(f"its answer has more than {self._largest} bytes")
            if time.monotonic() > deadline:
                raise NoAnswer("it takes too long")
        return b"".join(pieces)

    def _session(self) -> Any:
        import requests

        session = getattr(self._threads, "session", None)
        if session is None:
            session = deadline_session()
            # What the environment says is looked up once, not at each question, and ~/.netrc not at all.
            session.proxies = requests.utils.get_environ_proxies(self.url)
            session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
            session.trust_env = False
            session.headers["Content-Type"] = "application/json"
            self._threads.request = session.prepare_request(requests.Request("GET", self.url))
            self._threads.session = session
        return session


def _seconds(retry_after: str | None) -> float | None:
    """What a Retry-After header says: seconds, or a date (RFC 9110)."""
    from email.utils import parsedate_to_datetime

    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
