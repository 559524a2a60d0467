"""The address book names the contracts that we trust on a chain."""

import json

import pytest
from eth_utils.address import to_checksum_address

from imprimatur.address_book import (
    AddressBookDamaged,
    Deployment,
    NotDeployed,
    chains_with,
    load,
    path_for,
    store,
    trusted,
)


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


OLD, NEW = "0x" + "1" * 40, "0x" + "aB" * 20


def entry(address, chain_id=1):
    return Deployment(chain_id, "PrintLicense", address, 7, "0x" + "a" * 64)


def test_replaced_addresses_stay_trusted(tmp_path):
    store(tmp_path, entry(OLD))
    assert trusted(tmp_path, 1, "PrintLicense") == {OLD}
    store(tmp_path, entry(OLD))
    assert "retired" not in path_for(tmp_path, 1).read_text()
    store(tmp_path, entry(NEW))
    store(tmp_path, entry(NEW.lower()))
    assert load(tmp_path, 1, "PrintLicense").address == to_checksum_address(NEW)
    assert trusted(tmp_path, 1, "PrintLicense") == {OLD, NEW.lower()}
    store(tmp_path, entry(OLD))
    assert json.loads(path_for(tmp_path, 1).read_text())["contracts"]["PrintLicense"]["retired"] == [
        NEW.lower()
    ]


def test_chains_of_an_address(tmp_path):
    for chain_id, address in ((1, OLD), (5, NEW), (10, OLD), (100, NEW)):
        store(tmp_path, entry(address, chain_id))
    store(tmp_path, entry(NEW, 10))
    store(tmp_path, Deployment(7, "DeviceRegistry", OLD, 7, "0x"))
    (tmp_path / "notes.json").write_text("none of ours")
    assert chains_with(tmp_path, "PrintLicense", OLD) == [1, 10]
    assert chains_with(tmp_path, "PrintLicense", NEW) == [5, 10, 100]
    assert chains_with(tmp_path, "PrintLicense", "0x" + "2" * 40) == []


SOUND = {"address": OLD, "block": 7, "transaction": "0x"}


@pytest.mark.parametrize(
    "book",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        json.dumps({"contracts": []}),
        json.dumps({"contracts": {"PrintLicense": []}}),
        *(
            json.dumps({"contracts": {"PrintLicense": SOUND | {name: value}}})
            for name, value in (
                ("address", None),
                ("block", "7"),
                ("block", True),
                ("transaction", 5),
                ("retired", OLD),
                ("retired", [5]),
                ("retired", None),
            )
        ),
        *(
            json.dumps({"contracts": {"PrintLicense": {k: v for k, v in SOUND.items() if k != missing}}})
            for missing in SOUND
        ),
    ],
)
def test_damaged_books(tmp_path, book):
    """Nothing is read from them, and nothing is written over them."""
    path = path_for(tmp_path, 1)
    path.write_text(book)
    for use in (
        lambda: load(tmp_path, 1, "PrintLicense"),
        lambda: trusted(tmp_path, 1, "PrintLicense"),
        lambda: chains_with(tmp_path, "PrintLicense", OLD),
        lambda: store(tmp_path, entry(NEW)),
    ):
        with pytest.raises(AddressBookDamaged, match=r"1\.json"):
            use()
    assert path.read_text() == book
