"""A printer's signed request: nothing of it can be changed, nor kept for later."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprimatur import device_auth
from imprimatur.chain.signers import KeySigner
from imprimatur.device_auth import MAX_SKEW, NotAuthenticated, authenticate, authorization, origin_of

DEVICE = KeySigner(bytes(range(1, 33)))
ORIGIN = "https://portal.example"
TARGET = "/api/v1/device/jobs?page=2"


def test_signed_request_names_its_device():
    request = authenticate(
        authorization(DEVICE, "POST", ORIGIN, TARGET, b"body"), "POST", ORIGIN, TARGET, b"body"
    )
    assert request.address == DEVICE.address


def test_every_request_has_its_own_nonce():
    nonces = {
        authenticate(authorization(DEVICE, "GET", ORIGIN, TARGET), "GET", ORIGIN, TARGET).nonce
        for _ in range(20)
    }
    assert len(nonces) == 20


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [("GET", TARGET, b"body"), ("POST", "/api/v1/device/other", b"body"), ("POST", TARGET, b"other")],
)
def test_changed_request_is_refused(method, target, body):
    header = authorization(DEVICE, "POST", ORIGIN, TARGET, b"body")
    with pytest.raises(NotAuthenticated):
        authenticate(header, method, ORIGIN, target, body)


def test_another_devices_name_is_refused():
    other = KeySigner(secrets.token_bytes(32))
    header = authorization(DEVICE, "GET", ORIGIN, TARGET).replace(DEVICE.address, other.address)
    with pytest.raises(NotAuthenticated, match="made with another key"):
        authenticate(header, "GET", ORIGIN, TARGET)


@pytest.mark.parametrize("seconds", [-MAX_SKEW - 5, MAX_SKEW + 5])
def test_old_and_future_requests_are_refused(monkeypatch, seconds):
    header = authorization(DEVICE, "GET", ORIGIN, TARGET)
    now = device_auth.time.time()
    monkeypatch.setattr(device_auth.time, "time", lambda: now + seconds)
    with pytest.raises(NotAuthenticated, match="clocks"):
        authenticate(header, "GET", ORIGIN, TARGET)


@pytest.mark.parametrize("header", [None, "", "Bearer x", "Imprimatur", "Imprimatur address=0x1"])
def test_unsigned_requests_are_refused(header):
    with pytest.raises(NotAuthenticated):
        authenticate(header, "GET", ORIGIN, TARGET)


def test_a_request_is_for_one_server():
    header = authorization(DEVICE, "POST", ORIGIN, TARGET, b"body")
    for other in ("https://portal.example:8443", "http://portal.example", "https://portal.example.org"):
        with pytest.raises(NotAuthenticated, match=f"for another address than {other}.*PUBLIC_URL"):
            authenticate(header, "POST", other, TARGET, b"body")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Portal.Example", "https://portal.example"),
        ("HTTPS://portal.example:443/under/a/path/", "https://portal.example"),
        ("http://portal.example:80", "http://portal.example"),
        ("http://portal.example:443", "http://portal.example:443"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_has_one_spelling(url, origin):
    assert origin_of(url) == origin == origin_of(origin)


@pytest.mark.parametrize("url", ["", "portal.example", "ftp://portal.example", "https://", "https://a:99999"])
def test_what_has_no_origin(url):
    with pytest.raises(ValueError):  # noqa: PT011
        origin_of(url)


@given(st.binary(min_size=65, max_size=65))
def test_no_other_signature_passes(signature):
    header = authorization(DEVICE, "GET", ORIGIN, TARGET)
    forged = header[: header.index("signature=")] + f"signature=0x{signature.hex()}"
    with pytest.raises(NotAuthenticated):
        authenticate(forged, "GET", ORIGIN, TARGET)
