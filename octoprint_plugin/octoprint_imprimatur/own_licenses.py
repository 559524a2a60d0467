"""Which licenses were ever given to a printer, read from the chain piece by piece.

What was read up to a block stays in memory as long as the node still has that block. A reorganisation or
another contract starts over, and so does every hour: one of the nodes behind an address may have left
something out.

A license that is over stays so until an event names it: a failure report or a grant gives copies back. So it
is read once, and not again with each look at the list.
"""

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from imprimatur.chain.print_license import License, PrintLicense
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, quantity
from imprimatur.errors import ImprimaturError

OVERLAP = 64
"""Blocks that are read again: a node that lagged may have had them without their logs."""
AFRESH = 3600.0
"""Seconds after which all is read anew."""
CHANGES = ("PrintFailed", "CopiesGranted", "LicenseRevoked", "LicenseTransferred")
"""Events of what can happen to a license that nobody can use."""
_log = logging.getLogger("octoprint.plugins.imprimatur.own_licenses")


@dataclass
class _Known:
    """What was read: the place (block, index in it) of the newest event of each license, and up to where."""

    of: tuple[Any, ...]
    number: int
    hash: str
    begun: float
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    over: dict[int, License] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Own:
    """Licenses that were ever given to a printer, and those of them that needn't be read again."""

    ids: list[int]
    """Newest first. Whether the printer still holds them is to be looked up."""
    over: dict[int, License]
    """Nobody could use them when they were read, and nothing has happened to them since."""
    block: str
    """Hash of the one up to which that is so."""


class OwnLicenses:
    """Keeps what was read. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def look(self, licenses: PrintLicense, chain_id: int, accounts: Iterable[str]) -> Own:
        """The licenses that were issued or transferred to one of the accounts, by now.

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
            over = dict(known.over)
            for event in licenses.events(*CHANGES, since=first) if over else ():
                over.pop(event.values["id"], None)
            # Kept only when all could be read.
            self._known = _Known(of, number, hash, known.begun, places, over)
        return Own(sorted(places, key=lambda id: places[id], reverse=True), over, hash)

    def keep(self, own: Own, licenses: PrintLicense, found: Iterable[License]) -> None:
        """Don't read those again of which nobody can use a copy any more.

        Args:
            own: at which look they were found.
        """
        new = {license.id: license for license in found if license.id not in own.over}
        if not new:
            return
        try:
            # What was found may come from a later block, which can be replaced without this one.
            then = licenses.licenses_of(list(new), own.block)
        except ImprimaturError as error:
            # Some nodes give something else to whoever names a block by its hash. The list itself was read.
            _log.debug("Licenses that are over will be read again: %s", error)
            return
        with self._lock:
            own.over.update(
                (license.id, license) for license in then if license and license == new[license.id]
            )

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
