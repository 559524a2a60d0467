"""Which licenses were ever given to a printer, read from the chain piece by piece.

What was read up to a block stays in memory as long as the node still has that block. A reorganisation or
another contract starts over, and so does every hour: one of the nodes behind an address may have left
something out.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, quantity

OVERLAP = 64
"""Blocks that are read again: a node that lagged may have had them without their logs."""
AFRESH = 3600.0
"""Seconds after which all is read anew."""


@dataclass
class _Known:
    """What was read: the place (block, index in it) of the newest event of each license, and up to where."""

    of: tuple[Any, ...]
    number: int
    hash: str
    begun: float
    places: dict[int, tuple[int, int]] = field(default_factory=dict)


class OwnLicenses:
    """Keeps what was read. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def ids(self, licenses: PrintLicense, chain_id: int, accounts: Iterable[str]) -> list[int]:
        """Ids of the licenses that were issued or transferred to one of the accounts, newest first. Whether
        they still hold them is to be looked up.

        Raises:
            NodeUnreachable, NodeRefused
        """
        of = (chain_id, licenses.address, licenses.since, *accounts)
        with self._lock:
            number, hash = _block(licenses, "latest")
            known = self._known
            if known is None or known.of != of or not self._holds(licenses, known):
                known, first = _Known(of, number, hash, time.monotonic()), licenses.since
            else:
                first = max(licenses.since, known.number - OVERLAP)
            places = known.places | _places(licenses, of[3:], first)
            # Kept only when all could be read.
            self._known = _Known(of, number, hash, known.begun, places)
        return sorted(places, key=lambda id: places[id], reverse=True)

    @staticmethod
    def _holds(licenses: PrintLicense, known: _Known) -> bool:
        """Whether the chain still is the one that was read."""
        if time.monotonic() - known.begun > AFRESH:
            return False
        try:
            return _block(licenses, hex(known.number)) == (known.number, known.hash)
        except (NodeUnreachable, NodeRefused):
            # A node that doesn't have that block answers null, or refuses.
            return False


def _places(licenses: PrintLicense, accounts: Iterable[str], first: int) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for account in accounts:
        issued = licenses.events("LicenseIssued", account=account, since=first)
        for event in [*issued, *licenses.transfers_to(account, first)]:
            place = event.block_number, event.log_index
            found[event.values["id"]] = max(place, found.get(event.values["id"], place))
    return found


def _block(licenses: PrintLicense, block: str) -> tuple[int, str]:
    """Number and hash of a block. Raises NodeUnreachable when the node doesn't have it."""
    header = licenses.rpc.call("eth_getBlockByNumber", [block, False])
    if not isinstance(header, dict) or not isinstance(header.get("hash"), str):
        raise NodeUnreachable("The chain node's answer isn't a block.")
    return quantity(header.get("number")), header["hash"]
