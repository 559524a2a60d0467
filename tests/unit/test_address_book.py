"""The address book names the contracts that we trust on a chain."""

import pytest

from imprimatur.address_book import Deployment, NotDeployed, load, store


def test_stored_entries_are_loaded(tmp_path):
    first = Deployment(31337, "PrintLicense", "0x" + "1" * 40, 7, "0x" + "a" * 64)
    second = Deployment(31337, "DeviceRegistry", "0x" + "2" * 40, 8, "0x" + "b" * 64)
    store(tmp_path / "deployments", first)
    path = store(tmp_path / "deployments", second)
    assert path.name == "31337.json"
    assert load(tmp_path / "deployments", 31337, "PrintLicense") == first
    assert load(tmp_path / "deployments", 31337, "DeviceRegistry") == second


def test_redeployment_replaces_the_entry(tmp_path):
    store(tmp_path, Deployment(1, "PrintLicense", "0x" + "1" * 40, 7, "0x" + "a" * 64))
    newer = Deployment(1, "PrintLicense", "0x" + "3" * 40, 9, "0x" + "c" * 64)
    store(tmp_path, newer)
    assert load(tmp_path, 1, "PrintLicense") == newer


def test_unknown_chain_and_contract(tmp_path):
    with pytest.raises(NotDeployed, match="chain 5"):
        load(tmp_path, 5, "PrintLicense")
    store(tmp_path, Deployment(5, "DeviceRegistry", "0x" + "1" * 40, 7, "0x" + "a" * 64))
    with pytest.raises(NotDeployed, match="PrintLicense"):
        load(tmp_path, 5, "PrintLicense")
