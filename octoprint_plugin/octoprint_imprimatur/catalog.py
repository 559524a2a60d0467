"""The list of licensed jobs. The chain says which and how many copies, the portal what they are called."""

import logging
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from imprimatur.chain import node
from imprimatur.chain.print_license import License
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from imprimatur.device import Offer, PortalError
from imprimatur.license_id import format_id, owner_of
from octoprint_imprimatur.connection import Connection, node_trouble, portal_trouble
from octoprint_imprimatur.messages import Message, Refused

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
            "owner_name": offer.owner if offer else "",
            **_told(offer),
        }


def _told(offer: Offer | None) -> dict[str, Any]:
    """The file as its manifest describes it, for browsers."""
    manifest = offer.manifest if offer else None
    picture = manifest.thumbnail if manifest else None
    return {
        "name": manifest.file_name if manifest else "",
        "size": manifest.file_size if manifest else None,
        "material": manifest.material if manifest else None,
        "print_time": manifest.print_seconds if manifest else None,
        "filament": offer.filament_grams if offer else None,
        "layer_height": offer.layer_height if offer else None,
        "thumbnail": picture and f"data:{picture.media_type};base64,{b64encode(picture.data).decode()}",
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
    accounts = connection.accounts()
    issued = [e for a in accounts for e in connection.licenses.events("LicenseIssued", account=a)]
    issued.sort(key=lambda event: (event.block_number, event.log_index), reverse=True)
    found = (connection.licenses.license_of(id) for id in dict.fromkeys(e.values["id"] for e in issued))
    return [
        license
        for license in found
        if license and license.printer in accounts and license.remaining > 0 and not license.is_expired(now)
    ]


def _card(license: License, offers: dict[int, Offer] | None) -> Card:
    if offers is None:
        return Card(license, None, None)
    offer = offers.get(license.id)
    if offer is None:
        return Card(license, None, Message("no_entry"))
    if offer.manifest.file_hash != license.file_hash:
        return Card(license, None, Message("other_description"))
    return Card(license, offer, None)


def _offers(connection: Connection) -> dict[int, Offer]:
    """What the portal offers, by license.

    Raises:
        Refused: portal_not_set_up, or the portal's reason.
    """
    if connection.portal is None:
        raise Refused("portal_not_set_up")
    try:
        return {offer.id: offer for offer in connection.portal.jobs()}
    except PortalError as error:
        raise portal_trouble(error) from error


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
            connection.require_chain()
            if not node.has_code(connection.rpc, connection.licenses.address):
                raise Refused("no_contract", address=connection.licenses.address)
            licenses = usable_licenses(connection, now)
        except Refused as error:
            return replace(self.snapshot, problem=error.message, at=now)
        except (NodeUnreachable, NodeRefused) as error:
            return replace(self.snapshot, problem=node_trouble(error).message, at=now)
        except Exception as error:
            _log.exception("The list of licenses couldn't be read.")
            reason = Message("node_trouble", {"reason": f"{type(error).__name__}."})
            return replace(self.snapshot, problem=reason, at=now)
        offers, portal_problem = None, None
        try:
            offers = _offers(connection)
        except Refused as error:
            portal_problem = error.message
        return Snapshot(tuple(_card(license, offers) for license in licenses), None, portal_problem, now)
