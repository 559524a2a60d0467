"""The printer's key in a keystore or a token: opened late, kept apart, never asked with a wrong PIN twice."""

import secrets
import stat
from pathlib import Path
from typing import Any

import pytest

from imprimatur.chain.signers import KeySigner, SignerUnusable, Token, create_token_key
from imprimatur.chain.signers.pkcs11 import WrongPin
from imprimatur.device.fingerprint import fingerprint
from octoprint_imprimatur import device_key, keys
from octoprint_imprimatur.device_key import PKCS11, KeyChoice, Keys, PinDiffers, keep_pin, open_signer
from octoprint_imprimatur.messages import Refused
from octoprint_imprimatur.settings import DEFAULTS
from support import softhsm


@pytest.fixture
def token() -> Token:
    return softhsm.new_token(f"shop-{secrets.token_hex(4)}")


def chosen(token: Token, label: str = "printer") -> KeyChoice:
    return KeyChoice(PKCS11, str(token.module), token.label, label)


def settings_with(choice: KeyChoice) -> dict[str, Any]:
    return DEFAULTS | choice.as_settings()


def test_settings_without_a_choice_mean_the_keystore(tmp_path: Path) -> None:
    opened = Keys(tmp_path, lambda: DEFAULTS)
    assert opened.as_json()["state"] == "opening"
    opened.open()
    address = keys.open_or_create(tmp_path).address
    assert opened.as_json() == {
        "state": "ready",
        "store": "keystore",
        "address": address,
        "fingerprint": fingerprint(address),
        "problem": None,
    }
    assert KeyChoice.of({}) == KeyChoice()


def test_a_key_in_a_token_signs_after_each_start(token: Token, tmp_path: Path) -> None:
    made = open_signer(chosen(token), tmp_path, token.pin, create_id=b"\x01")
    keep_pin(chosen(token), tmp_path, token.pin)
    assert stat.S_IMODE((tmp_path / keys.PIN).stat().st_mode) == 0o600
    opened = Keys(tmp_path, lambda: settings_with(chosen(token)))
    opened.open()
    assert opened.signer().address == made.address
    assert opened.as_json()["store"] == "pkcs11"
    assert opened.signer().sign_message(b"hello").startswith("0x")
    assert token.pin not in str(settings_with(chosen(token)))
    assert not (tmp_path / keys.KEYSTORE).exists()


def test_a_key_that_was_chosen_meanwhile_stays(tmp_path: Path) -> None:
    opened = Keys(tmp_path, lambda: DEFAULTS)
    chosen_now = KeySigner(secrets.token_bytes(32))
    opened.adopt(chosen_now)
    opened.open()
    assert opened.address == chosen_now.address
    assert list(tmp_path.iterdir()) == []


def test_a_second_key_by_the_same_name_isnt_made(token: Token, tmp_path: Path) -> None:
    create_token_key(token, "printer", b"\x01")
    with pytest.raises(SignerUnusable, match="has a key"):
        open_signer(chosen(token), tmp_path, token.pin, create_id=b"\x02")


def test_a_token_that_is_plugged_in_late_is_found(
    token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_pin(chosen(token), tmp_path, token.pin)
    opened = Keys(tmp_path, lambda: settings_with(chosen(token)))
    opened.open()
    assert opened.as_json()["state"] == "unusable"
    assert opened.as_json()["problem"]["key"] == "key_unusable"
    with pytest.raises(Refused, match="can't be opened"):
        opened.signer()
    opened.look_again()
    assert opened.address is None, "not every few seconds"
    monkeypatch.setattr(device_key, "AGAIN_AFTER", 0.0)
    create_token_key(token, "printer", b"\x01")
    opened.look_again()
    assert opened.as_json()["state"] == "ready"


def test_a_refused_pin_isnt_tried_again(
    token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_key, "AGAIN_AFTER", 0.0)
    create_token_key(token, "printer", b"\x01")
    # Logs this process out.
    softhsm.new_token("another")
    keep_pin(chosen(token), tmp_path, "00000")
    tries = []
    real = device_key.open_signer
    monkeypatch.setattr(device_key, "open_signer", lambda *given: tries.append(given) or real(*given))
    opened = Keys(tmp_path, lambda: settings_with(chosen(token)))
    opened.open()
    for _ in range(5):
        opened.look_again()
    assert len(tries) == 1
    assert opened.as_json()["state"] == "unusable"
    with pytest.raises(WrongPin):
        real(chosen(token), tmp_path)


def test_an_open_token_takes_no_other_pin(token: Token, tmp_path: Path) -> None:
    """The token itself would: this process is logged in, even when nobody signs with it any more."""
    open_signer(chosen(token), tmp_path, token.pin, create_id=b"\x01")
    with pytest.raises(PinDiffers):
        open_signer(chosen(token), tmp_path, "00000")
    assert open_signer(chosen(token), tmp_path, token.pin).address


def test_a_pin_is_tried_at_its_own_token_only(token: Token, tmp_path: Path) -> None:
    """Whatever a crash between the PIN's file and the settings leaves: wrong PINs lock a token."""
    create_token_key(token, "printer", b"\x01")
    keep_pin(KeyChoice(PKCS11, str(token.module), "another", "printer"), tmp_path, "00000")
    with pytest.raises(SignerUnusable, match="belongs to another token"):
        open_signer(chosen(token), tmp_path)
    keys.write_secret(tmp_path / keys.PIN, token.pin)
    with pytest.raises(SignerUnusable, match="Choose the key anew"):
        open_signer(chosen(token), tmp_path)


def test_no_half_of_a_secret_stays_behind(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        keys.write_secret(tmp_path / keys.PIN, "1234\ud800")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"key_store": "drawer"},
        {"key_store": "pkcs11"},
        {"key_store": "pkcs11", "pkcs11_module": "/nowhere.so", "pkcs11_token": "t", "pkcs11_label": "l"},
    ],
)
def test_nonsense_makes_no_key(settings: dict[str, Any], tmp_path: Path) -> None:
    keys.write_secret(tmp_path / keys.PIN, "1234")
    opened = Keys(tmp_path, lambda: settings)
    opened.open()
    opened.look_again()
    assert opened.as_json()["state"] == "unusable"
    assert [path.name for path in tmp_path.iterdir()] == [keys.PIN]
