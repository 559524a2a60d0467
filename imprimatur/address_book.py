"""The address book: which contracts we trust on which chain, one JSON file per chain id."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imprimatur.errors import ImprimaturError


class NotDeployed(ImprimaturError):
    """The address book doesn't name this contract on this chain."""


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
    """Entry of `contract` on `chain_id`.

    Raises:
        NotDeployed: there is none.
    """
    path = path_for(folder, chain_id)
    if not path.exists():
        raise NotDeployed(
            f"No contracts are known on chain {chain_id}: {path} doesn't exist. Deploy them first."
        )
    entry = json.loads(path.read_text())["contracts"].get(contract)
    if entry is None:
        raise NotDeployed(f"{path} has no entry for {contract}. Deploy it first.")
    return Deployment(chain_id, contract, entry["address"], entry["block"], entry["transaction"])


def store(folder: Path, deployment: Deployment) -> Path:
    """Add or replace one entry; returns the file."""
    path = path_for(folder, deployment.chain_id)
    book: dict[str, Any] = {"chainId": deployment.chain_id, "contracts": {}}
    if path.exists():
        book = json.loads(path.read_text())
    book["contracts"][deployment.contract] = {
        "address": deployment.address,
        "block": deployment.block,
        "transaction": deployment.transaction,
    }
    folder.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: a half-written book would hide every contract of this chain.
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(book, indent=2) + "\n")
    partial.replace(path)
    return path
