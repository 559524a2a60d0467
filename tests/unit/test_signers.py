"""Keystores keep keys; only their password opens them."""

import json
import os
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
    path, _ = keystore
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        create_keystore(path, "other")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_keystore_appears_whole_and_stays(tmp_path, monkeypatch):
    """Its bytes are on the disk before it has its name, and then the folder that knows the name is."""
    path = tmp_path / "deep" / "printer.json"
    synced = []
    fsync = os.fsync

    def watched(descriptor):
        fsync(descriptor)
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))

    monkeypatch.setattr(os, "fsync", watched)
    create_keystore(path, "correct horse")
    assert synced == [(False, False), (True, True)]
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_nlink == 1


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        create_keystore(tmp_path / "deep" / "printer.json", "\ud800")
    assert list(tmp_path.iterdir()) == []


CRYPTO = {
    "cipher": "aes-128-ctr",
    "cipherparams": {"iv": "00"},
    "ciphertext": "00",
    "kdf": "pbkdf2",
    "kdfparams": {"c": 1, "dklen": 32, "prf": "hmac-sha256", "salt": "00"},
    "mac": "00",
}


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        "null",
        '"x"',
        "7",
        "no JSON",
        "\udcff",
        '{"version": 3}',
        '{"version": 3, "crypto": []}',
        '{"version": 3, "crypto": {"kdf": "argon", "kdfparams": {}}}',
        json.dumps({"version": 3, "crypto": CRYPTO}),
        json.dumps({"version": 3, "crypto": {**CRYPTO, "kdfparams": {**CRYPTO["kdfparams"], "prf": "md5"}}}),
        json.dumps({"version": 3, "crypto": {**CRYPTO, "kdfparams": {**CRYPTO["kdfparams"], "c": 2**99}}}),
    ],
)
def test_damaged(tmp_path, content):
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(content.encode("utf-8", "surrogateescape"))
    for read in (keystore_address, lambda path: open_keystore(path, "x")):
        with pytest.raises(KeystoreUnusable, match=r"damaged\.json"):
            read(damaged)


@pytest.mark.parametrize("version", [1, 2, 4, None, "3", "long " * 50])
def test_other_versions(tmp_path, keystore, version):
    """Even when everything else would fit."""
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**json.loads(keystore[0].read_text()), "version": version}))
    with pytest.raises(KeystoreUnusable, match="only version 3") as refused:
        open_keystore(other, "correct horse")
    assert len(str(refused.value)) < 200 + len(str(other))


def test_names_with_capitals(tmp_path, keystore):
    content = json.loads(keystore[0].read_text())
    other = tmp_path / "capitals.json"
    other.write_text(json.dumps({"Crypto": content["crypto"], "Version": 3}))
    assert open_keystore(other, "correct horse").address == keystore[1].address


def test_what_cannot_be_read(tmp_path, keystore):
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    for read in (keystore_address, lambda path: open_keystore(path, "x")):
        with pytest.raises(KeystoreUnusable, match="There is no keystore"):
            read(tmp_path / "missing.json")
        for path in (tmp_path, loop, keystore[0] / "below", tmp_path / ("x" * 300)):
            with pytest.raises(KeystoreUnusable, match="can't be read: "):
                read(path)


def test_signature_is_the_standard_one():
    key = bytes(range(1, 33))
    signer = KeySigner(key)
    signature = signer.sign_message(b"hello")
    assert Account.recover_message(encode_defunct(b"hello"), signature=signature) == signer.address


def test_key_never_shows_in_text():
    key = bytes(range(1, 33))
    assert key.hex() not in repr(KeySigner(key))


def test_a_deeply_nested_keystore_is_refused(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(KeystoreUnusable):
        open_keystore(path, "secret")
    with pytest.raises(KeystoreUnusable):
        keystore_address(path)
