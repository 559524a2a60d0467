"""The printer's key."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import address_in
from imprimatur.chain.signers import KeystoreUnusable
from octoprint_imprimatur import keys


def test_the_command_makes_a_key_and_prints_only_its_address(tmp_path: Path) -> None:
    address = address_in(tmp_path)
    assert address.startswith("0x")
    assert len(address) == 42
    assert keys.open_or_create(keys.data_folder(tmp_path)).address == address
    for file in keys.data_folder(tmp_path).iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_keystore_without_its_password_is_never_replaced(tmp_path: Path) -> None:
    keys.open_or_create(tmp_path)
    before = (tmp_path / keys.KEYSTORE).read_bytes()
    (tmp_path / keys.PASSWORD).unlink()
    with pytest.raises(KeystoreUnusable, match="missing beside it"):
        keys.open_or_create(tmp_path)
    assert (tmp_path / keys.KEYSTORE).read_bytes() == before


def test_two_who_make_the_key_at_once_make_one(tmp_path: Path) -> None:
    """At the first start the service opens it, and the wizard may choose it."""
    with ThreadPoolExecutor() as threads:
        opened = list(threads.map(lambda _: keys.open_or_create(tmp_path).address, range(3)))
    assert set(opened) == {keys.open_or_create(tmp_path).address}


def test_another_password(tmp_path: Path) -> None:
    keys.open_or_create(tmp_path)
    (tmp_path / keys.PASSWORD).write_text("another")
    with pytest.raises(KeystoreUnusable):
        keys.open_or_create(tmp_path)
