"""The address book: which contracts we trust on which chain, one JSON file per chain id.

An entry's `retired` lists the addresses that it had before. New prints go to the new contract only;
certificates of prints under an old one stay valid, and a key desk still gives keys of copies that were
consumed there. Whoever doesn't want that deletes it from the list.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imprimatur.chain import json_depth
from imprimatur.errors import ImprimaturError


class NotDeployed(ImprimaturError):
    """The address book doesn't name this contract on this chain."""


class AddressBookDamaged(ImprimaturError):
    """The file of a chain's contracts is torn, or holds something else."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The address book {path} can't be read. Take it again from whom you trust, or from a backup."
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployed contract: where it is, since which block, by which transaction."""

    chain_id: int
    contract: str
    address: str
    block: int
    transaction: str


def path_for(folder: Path, chain_id: int) -> Path:
    return folder / f"{chain_id}.json"


def load(folder: Path, chain_id: int, contract: str) -> Deployment:
    """Entry of `contract` on `chain_id`; its address with checksum, however the file spells it.

    Raises:
        NotDeployed: there is none.
        AddressBookDamaged: the file can't be read.
    """
    from eth_utils.address import to_checksum_address

    entry = _entry(folder, chain_id, contract)
    try:
        address = str(to_checksum_address(entry["address"]))
    except ValueError as error:
        raise AddressBookDamaged(path_for(folder, chain_id)) from error
    return Deployment(chain_id, contract, address, entry["block"], entry["transaction"])


def trusted(folder: Path, chain_id: int, contract: str) -> frozenset[str]:
    """All addresses that `contract` has or had on `chain_id`, in lower case. Raises as `load`."""
    entry = _entry(folder, chain_id, contract)
    return frozenset(address.lower() for address in [entry["address"], *entry.get("retired", [])])


def chains_with(folder: Path, contract: str, address: str) -> list[int]:
    """The chains on which `contract` has or had this address.

    Raises:
        AddressBookDamaged: a file can't be read.
    """
    numbers = sorted(int(path.stem) for path in folder.glob("[1-9]*.json") if path.stem.isdigit())
    return [
        number
        for number in numbers
        if contract in _contracts(path_for(folder, number))
        and address.lower() in trusted(folder, number, contract)
    ]


def _entry(folder: Path, chain_id: int, contract: str) -> dict[str, Any]:
    path = path_for(folder, chain_id)
    if not path.exists():
        raise NotDeployed(
            f"No contracts are known on chain {chain_id}: {path} doesn't exist. Deploy them first."
        )
    entry = _contracts(path).get(contract)
    if entry is None:
        raise NotDeployed(f"{path} has no entry for {contract}. Deploy it first.")
    return entry


def _contracts(path: Path) -> dict[str, dict[str, Any]]:
    """The entries in a file, all of them with the members that an entry has."""
    try:
        contracts: dict[str, dict[str, Any]] = json_depth.parse(path.read_bytes())["contracts"]
        sound = all(map(_is_entry, contracts.values()))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AddressBookDamaged(path) from error
    if not sound:
        raise AddressBookDamaged(path)
    return contracts


def _is_entry(entry: dict[str, Any]) -> bool:
    retired = entry.get("retired", [])
    texts = [entry["address"], entry["transaction"], *retired]
    return type(entry["block"]) is int and type(retired) is list and all(type(text) is str for text in texts)


def store(folder: Path, deployment: Deployment) -> Path:
    """Add or replace one entry; returns the file. An address that is replaced is kept as a retired one.

    Raises:
        AddressBookDamaged: the file can't be read; it stays as it is.
    """
    path = path_for(folder, deployment.chain_id)
    contracts = _contracts(path) if path.exists() else {}
    before = contracts.get(deployment.contract, {})
    known = [address for address in (*before.get("retired", []), before.get("address")) if address]
    retired = [address for address in known if address.lower() != deployment.address.lower()]
    contracts[deployment.contract] = {
        "address": deployment.address,
        "block": deployment.block,
        "transaction": deployment.transaction,
    } | ({"retired": list(dict.fromkeys(retired))} if retired else {})
    book = {"chainId": deployment.chain_id, "contracts": contracts}
    folder.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: a half-written book would hide every contract of this chain.
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(book, indent=2) + "\n")
    partial.replace(path)
    return path
