"""Requests that a printer signs with its own key, so that no password has to be shared.

The device signs (EIP-191) a text of five lines: a title, method and target, Unix time, a nonce, and the
SHA-256 of the body. Header:

    Authorization: Imprimatur address=0x…, time=…, nonce=…, signature=0x…
"""

import hashlib
import re
import secrets
import time
from dataclasses import dataclass

from imprimatur.chain.account import load_account
from imprimatur.chain.signers import Signer
from imprimatur.errors import ImprimaturError

SCHEME = "Imprimatur"
MAX_SKEW = 120
"""Seconds that the clocks of printer and portal may differ."""
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


def _text(method: str, target: str, timestamp: int, nonce: str, body: bytes) -> bytes:
    digest = hashlib.sha256(body).hexdigest()
    return f"Imprimatur device request\n{method} {target}\n{timestamp}\n{nonce}\n{digest}".encode()


def authorization(signer: Signer, method: str, target: str, body: bytes = b"") -> str:
    """Value of the Authorization header. `target` is path and query as sent."""
    timestamp = int(time.time())
    nonce = secrets.token_hex(16)
    signature = signer.sign_message(_text(method, target, timestamp, nonce, body))
    return f"{SCHEME} address={signer.address}, time={timestamp}, nonce={nonce}, signature={signature}"


def authenticate(header: str | None, method: str, target: str, body: bytes = b"") -> DeviceRequest:
    """The device behind a request.

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
    message = encode_defunct(primitive=_text(method, target, timestamp, nonce, body))
    try:
        signer = account.recover_message(message, signature=match[4])
    except Exception as error:  # eth-keys raises several unrelated types for bytes that are no signature
        raise NotAuthenticated("The signature is malformed.") from error
    if signer != claimed:
        raise NotAuthenticated("The request was signed by another key than it names.")
    return DeviceRequest(claimed, timestamp, nonce)
