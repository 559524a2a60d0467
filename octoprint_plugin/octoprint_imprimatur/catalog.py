"""The list of licensed jobs. The chain says which and how many copies, the portal what they are called."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from imprimatur.chain import node
from imprimatur.chain.print_license import License
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from imprimatur.license_id import format_id, owner_of
from octoprint_imprimatur.connection import Connection, node_trouble
from octoprint_imprimatur.messages import Message, Refused
from octoprint_imprimatur.portal import Offer

_log = logging.getLogger("octoprint.plugins.imprimatur.catalog")


@dataclass(frozen=True, slots=True)
class Card:
    """One license with a copy left, and what the portal tells about its file, if that fits."""

    license: License
    offer: Offer | None
    problem: Message | None

    def as_json(self) -> dict[str, Any]:
        license, offer = self.license, self.offer
        return {
            "id": format_id(license.id),
            "owner": owner_of(license.id),
            "remaining": license.remaining,
            "copies": license.remaining + license.used,
            "next_copy": license.used + 1,
            "valid_until": license.valid_until or None,
            "file_hash": license.file_hash,
            "problem": self.problem and self.problem.as_json(),
            "number": offer.number if offer else "",
            "owner_name": offer.owner_name if offer else "",
            "name": offer.name if offer else "",
            "size": offer.size if offer else None,
            "material": offer.material if offer else None,
            "print_time": offer.print_time if offer else None,
            "filament": offer.filament if offer else None,
            "layer_height": offer.layer_height if offer else None,
            "thumbnail": offer.thumbnail if offer else None,
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The list as it was at the Unix second `at` (0: never read)."""

    cards: tuple[Card, ...] = ()
    problem: Message | None = None
    """Why the chain couldn't be read; the cards are the last known ones then."""
    portal_problem: Message | None = None
    at: float = 0.0

    def card(self, id: int) -> Card | None:
        return next((card for card in self.cards if card.license.id == id), None)

    def as_json(self) -> dict[str, Any]:
        return {
            "loaded": self.at > 0,
            "at": self.at,
            "problem": self.problem and self.problem.as_json(),
            "portal_problem": self.portal_problem and self.portal_problem.as_json(),
            "licenses": [card.as_json() for card in self.cards],
        }


def usable_licenses(connection: Connection, now: float) -> list[License]:
    """The licenses of this printer that have a copy left and are valid, newest first; by the chain alone."""
    account = connection.signer.address
    ids = [e.values["id"] for e in connection.licenses.events("LicenseIssued", account=account)]
    found = (connection.licenses.license_of(id) for id in reversed(list(dict.fromkeys(ids))))
    return [
        license
        for license in found
        if license and license.printer == account and license.remaining > 0 and not license.is_expired(now)
    ]


def _card(license: License, offers: dict[int, Offer] | None) -> Card:
    if offers is None:
        return Card(license, None, None)
    offer = offers.get(license.id)
    if offer is None:
        return Card(license, None, Message("no_entry"))
    if offer.sha256 != license.file_hash:
        return Card(license, None, Message("other_file"))
    return Card(license, offer, None)


class Catalog:
    """Keeps the last snapshot; reads again on demand, one reader at a time."""

    def __init__(self, connect: Callable[[], Connection], changed: Callable[[], None]) -> None:
        self._connect = connect
        self._changed = changed
        self._reading = threading.Lock()
        self.snapshot = Snapshot()

    def refresh(self) -> Snapshot:
        """Read chain and portal now. Troubles are part of the snapshot, never raised."""
        with self._reading:
            self.snapshot = self._read()
        self._changed()
        return self.snapshot

    def refresh_soon(self, older_than: float = 0.0) -> None:
        """Read in the background, unless that is under way or younger than `older_than` seconds."""
        if time.time() - self.snapshot.at < older_than or self._reading.locked():
            return
        threading.Thread(target=self.refresh, name="imprimatur-catalog", daemon=True).start()

    def _read(self) -> Snapshot:
        now = time.time()
        try:
            connection = self._connect()
            if not node.has_code(connection.rpc, connection.licenses.address):
                raise Refused("no_contract", address=connection.licenses.address)
            licenses = usable_licenses(connection, now)
        except Refused as error:
            return replace(self.snapshot, problem=error.message, at=now)
        except (NodeUnreachable, NodeRefused) as error:
            return replace(self.snapshot, problem=node_trouble(error).message, at=now)
        except Exception as error:
            _log.exception("The list of licenses couldn't be read.")
            reason = Message("node_refused", {"reason": f"{type(error).__name__}."})
            return replace(self.snapshot, problem=reason, at=now)
        offers, portal_problem = None, None
        try:
            offers = connection.portal.listing()
        except Refused as error:
            portal_problem = error.message
        return Snapshot(tuple(_card(license, offers) for license in licenses), None, portal_problem, now)
