"""A printer's signed request: nothing of it can be changed, nor kept for later."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprimatur import device_auth
from imprimatur.chain.signers import KeySigner
from imprimatur.device_auth import MAX_SKEW, NotAuthenticated, authenticate, authorization

DEVICE = KeySigner(bytes(range(1, 33)))
TARGET = "/api/v1/device/licenses?page=2"


def test_signed_request_names_its_device():
    request = authenticate(authorization(DEVICE, "POST", TARGET, b"body"), "POST", TARGET, b"body")
    assert request.address == DEVICE.address


def test_every_request_has_its_own_nonce():
    nonces = {authenticate(authorization(DEVICE, "GET", TARGET), "GET", TARGET).nonce for _ in range(20)}
    assert len(nonces) == 20


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [("GET", TARGET, b"body"), ("POST", "/api/v1/device/other", b"body"), ("POST", TARGET, b"other")],
)
def test_changed_request_is_refused(method, target, body):
    header = authorization(DEVICE, "POST", TARGET, b"body")
    with pytest.raises(NotAuthenticated):
        authenticate(header, method, target, body)


def test_another_devices_name_is_refused():
    other = KeySigner(secrets.token_bytes(32))
    header = authorization(DEVICE, "GET", TARGET).replace(DEVICE.address, other.address)
    with pytest.raises(NotAuthenticated, match="another key"):
        authenticate(header, "GET", TARGET)


@pytest.mark.parametrize("seconds", [-MAX_SKEW - 5, MAX_SKEW + 5])
def test_old_and_future_requests_are_refused(monkeypatch, seconds):
    header = authorization(DEVICE, "GET", TARGET)
    now = device_auth.time.time()
    monkeypatch.setattr(device_auth.time, "time", lambda: now + seconds)
    with pytest.raises(NotAuthenticated, match="clocks"):
        authenticate(header, "GET", TARGET)


@pytest.mark.parametrize("header", [None, "", "Bearer x", "Imprimatur", "Imprimatur address=0x1"])
def test_unsigned_requests_are_refused(header):
    with pytest.raises(NotAuthenticated):
        authenticate(header, "GET", TARGET)


@given(st.binary(min_size=65, max_size=65))
def test_no_other_signature_passes(signature):
    header = authorization(DEVICE, "GET", TARGET)
    forged = header[: header.index("signature=")] + f"signature=0x{signature.hex()}"
    with pytest.raises(NotAuthenticated):
        authenticate(forged, "GET", TARGET)
