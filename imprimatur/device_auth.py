"""Requests that a printer signs with its own key, so that no password has to be shared.

The device signs (EIP-191) a text of five lines: a title, method and address, Unix time, a nonce, and the
SHA-256 of the body. Header:

    Authorization: Imprimatur address=0x…, time=…, nonce=…, signature=0x…

The address begins with the origin of the server that the device means, and the receiver puts its own there:
nobody can take the request to another server.
"""

import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from imprimatur.chain.account import load_account
from imprimatur.chain.signers import Signer
from imprimatur.errors import ImprimaturError

SCHEME = "Imprimatur"
MAX_SKEW = 120
"""Seconds that the clocks of printer and portal may differ."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HEADER = re.compile(
    SCHEME
    + r" address=(0x[0-9a-fA-F]{40}), time=(\d{1,12}), nonce=([0-9a-f]{32}), signature=(0x[0-9a-fA-F]{130})"
)


class NotAuthenticated(ImprimaturError):
    """The request isn't signed, or not by the key it names, or too long ago."""


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """Who signed a request. The receiver refuses a `nonce` that it has seen before."""

    address: str
    time: int
    nonce: str


@lru_cache(maxsize=64)
def origin_of(url: str) -> str:
    """Scheme and server of an http or https address, in the one spelling that is signed:
    `https://portal.example`, `http://127.0.0.1:5000`. Lower case, ASCII, without a default port.

    Raises:
        ValueError: it isn't such an address.
    """
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ValueError("not an http or https address")
    if not host.isascii():
        host = host.encode("idna").decode()
    server = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{server}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


def _text(method: str, origin: str, target: str, timestamp: int, nonce: str, body: bytes) -> bytes:
    digest = hashlib.sha256(body).hexdigest()
    return f"Imprimatur device request\n{method} {origin}{target}\n{timestamp}\n{nonce}\n{digest}".encode()


def authorization(signer: Signer, method: str, origin: str, target: str, body: bytes = b"") -> str:
    """Value of the Authorization header. `origin` is the server's (`origin_of`), `target` path and query as
    sent."""
    timestamp = int(time.time())
    nonce = secrets.token_hex(16)
    signature = signer.sign_message(_text(method, origin, target, timestamp, nonce, body))
    return f"{SCHEME} address={signer.address}, time={timestamp}, nonce={nonce}, signature={signature}"


def authenticate(
    header: str | None, method: str, origin: str, target: str, body: bytes = b""
) -> DeviceRequest:
    """The device behind a request.

    Args:
        origin: of the receiver as devices are told to call it. Never from the request, whose Host header
            says whatever its sender likes.

    Raises:
        NotAuthenticated: with the reason.
    """
    account = load_account()
    from eth_account.messages import encode_defunct
    from eth_utils.address import to_checksum_address

    match = _HEADER.fullmatch(header or "")
    if match is None:
        raise NotAuthenticated("The request isn't signed by a device.")
    claimed, timestamp, nonce = to_checksum_address(match[1]), int(match[2]), match[3]
    if abs(time.time() - timestamp) > MAX_SKEW:
        raise NotAuthenticated(f"The clocks of printer and portal differ by more than {MAX_SKEW} s.")
    message = encode_defunct(primitive=_text(method, origin, target, timestamp, nonce, body))
    try:
        signer = account.recover_message(message, signature=match[4])
    except Exception as error:  # eth-keys raises several unrelated types for bytes that are no signature
        raise NotAuthenticated("The signature is malformed.") from error
    if signer != claimed:
        raise NotAuthenticated(
            f"The signature isn't that of {claimed} over this request. It was made with another key, or the "
            f"request was changed on its way, or it was signed for another address than {origin}: the "
            "device has to call this server by that address, or the server has to be told its right one "
            "(IMPRIMATUR_PUBLIC_URL, at a key desk IMPRIMATUR_DESK_URL)."
        )
    return DeviceRequest(claimed, timestamp, nonce)
