"""Keystores keep keys; only their password opens them."""

import json
import stat

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from imprimatur.chain.signers import (
    KeySigner,
    KeystoreUnusable,
    create_keystore,
    keystore_address,
    open_keystore,
)


@pytest.fixture(scope="module")
def keystore(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "printer.json"
    return path, create_keystore(path, "correct horse")


def test_keystore_opens_with_its_password(keystore):
    path, created = keystore
    assert open_keystore(path, "correct horse").address == created.address == keystore_address(path)


def test_keystore_is_private_and_encrypted(keystore):
    path, created = keystore
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = json.loads(path.read_text())
    assert content["version"] == 3
    assert created._account.key.hex() not in path.read_text()


def test_wrong_password(keystore):
    with pytest.raises(KeystoreUnusable, match="another password"):
        open_keystore(keystore[0], "wrong")


def test_never_overwrites(keystore):
    with pytest.raises(FileExistsError):
        create_keystore(keystore[0], "other")


def test_missing_and_damaged(tmp_path):
    missing, damaged = tmp_path / "missing.json", tmp_path / "damaged.json"
    damaged.write_text("{}")
    for read in (keystore_address, lambda path: open_keystore(path, "x")):
        with pytest.raises(KeystoreUnusable):
            read(missing)
        with pytest.raises(KeystoreUnusable):
            read(damaged)


def test_signature_is_the_standard_one():
    key = bytes(range(1, 33))
    signer = KeySigner(key)
    signature = signer.sign_message(b"hello")
    assert Account.recover_message(encode_defunct(b"hello"), signature=signature) == signer.address


def test_key_never_shows_in_text():
    key = bytes(range(1, 33))
    assert key.hex() not in repr(KeySigner(key))
