"""The chain that a command asks: a node, and the contracts that the reader's address book names."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imprimatur import address_book
from imprimatur.chain import json_depth
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.node import chain_id
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc, Rpc
from imprimatur.cli.checked_node import CheckedRpc
from imprimatur.cli.failure import CommandFailed
from imprimatur.cli.options import BOOK

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")


@dataclass(frozen=True, slots=True)
class Connection:
    """A node and our contracts on its chain."""

    rpc: Rpc
    chain_id: int
    licenses: PrintLicense
    devices: DeviceRegistry


def connect(node: str, book: Path) -> Connection:
    """Ask the node which chain it is on, and the address book for our contracts there.

    Raises:
        NodeUnreachable, NodeRefused: no usable answer.
        NotDeployed: the address book doesn't know this chain.
        CommandFailed: there is no address book, or it is damaged.
    """
    require_book(book)
    rpc = CheckedRpc(HttpRpc(node))
    chain = chain_id(rpc)
    return Connection(
        rpc,
        chain,
        PrintLicense(rpc, *_place(book, chain, PrintLicense.NAME)),
        DeviceRegistry(rpc, *_place(book, chain, DeviceRegistry.NAME)),
    )


def require_book(folder: Path) -> None:
    """That the folder holds address books that can be read.

    Raises:
        CommandFailed: it doesn't.
    """
    if not folder.is_dir():
        raise CommandFailed(
            f"There is no address book at {folder}. Name its folder by --address-book or in {BOOK}."
        )
    for path in folder.glob("*.json"):
        try:
            for entry in json_depth.parse(path.read_bytes())["contracts"].values():
                _require_sound(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CommandFailed(
                f"The address book {path} can't be read. Take it again from whom you trust."
            ) from error


def _require_sound(entry: dict[str, Any]) -> None:
    """Raises ValueError, KeyError, TypeError or AttributeError."""
    for address in (entry["address"], *entry.get("retired", [])):
        if not _ADDRESS.fullmatch(address):
            raise ValueError("not an address")
    if type(entry["block"]) is not int or entry["block"] < 0 or type(entry["transaction"]) is not str:
        raise ValueError("not a place on a chain")


def _place(book: Path, chain: int, contract: str) -> tuple[str, int]:
    """Checksum address and first block."""
    from eth_utils.address import to_checksum_address

    found = address_book.load(book, chain, contract)
    return to_checksum_address(found.address), found.block
