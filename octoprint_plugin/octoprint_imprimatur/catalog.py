"""The list of licensed jobs. The chain says which and how many copies, the portal what they are called.

Of the portal only what the chain bears out is shown. A portal that says something else for longer than its
index may need is a portal that lies, and the list says so.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from imprimatur.chain import node
from imprimatur.chain.print_license import License, PrintLicense
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, quantity
from imprimatur.chain.signers import SignerUnusable
from imprimatur.device import Offer, PortalError
from octoprint_imprimatur.cards import ENDED, Card, CardState, FilesOf, state_of
from octoprint_imprimatur.connection import MAX_REASON, Connection, node_trouble, portal_trouble
from octoprint_imprimatur.messages import Message, Refused
from octoprint_imprimatur.own_licenses import OwnLicenses

ENDED_FOR = 30 * 86400
"""Seconds for which a license that can't be printed any more is listed."""
MOST_ENDED = 50
"""Of those, the newest."""
MOST_CLAIMS = 200
"""Licenses that only the portal lists, and are looked for on the chain; what it says of more isn't kept."""
LAG = 1800.0
"""Seconds that a portal may say something else than the chain: it may believe final blocks only, which are a
quarter of an hour old on some chains."""
_log = logging.getLogger("octoprint.plugins.imprimatur.catalog")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The list as it was at the Unix second `at` (0: never read)."""

    cards: tuple[Card, ...] = ()
    problem: Message | None = None
    """Why the chain couldn't be read; the cards are the last known ones then."""
    portal_problem: Message | None = None
    at: float = 0.0

    def card(self, id: int) -> Card | None:
        return next((card for card in self.cards if card.id == id), None)

    def wanted(self) -> set[str]:
        """SHA-256 of the files that operators have to have themselves."""
        usable = (card for card in self.cards if card.state is CardState.READY and not card.is_sealed)
        return {card.file_hash for card in usable}

    def as_json(self, files_of: FilesOf) -> dict[str, Any]:
        return {
            "loaded": self.at > 0,
            "at": self.at,
            "problem": self.problem and self.problem.as_json(),
            "portal_problem": self.portal_problem and self.portal_problem.as_json(),
            "licenses": [card.as_json(files_of) for card in self.cards],
        }


class Catalog:
    """Keeps the last snapshot; reads again on demand, in one thread however many ask.

    Args:
        connect: the way to chain and portal by the settings of now, or `Refused`.
        changed: told after each reading.
        lag: seconds that a portal may be behind the chain.
        steady: seconds that only go forward.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        changed: Callable[[], None],
        lag: float = LAG,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._changed = changed
        self._lag = lag
        self._steady = steady
        self._turn = threading.Condition()
        self._asked = self._answered = 0
        self._is_reading = False
        self._own = OwnLicenses()
        self._ends: dict[License, float] = {}
        self._claims: dict[tuple[int, int | None], float] = {}
        self.snapshot = Snapshot()

    def refresh(self, within: float | None = None) -> Snapshot:
        """Read chain and portal now. Troubles are part of the snapshot, never raised.

        Args:
            within: seconds to wait at most; what isn't read by then comes later, and the last list stays.
        """
        ticket = self._ask()
        with self._turn:
            self._turn.wait_for(lambda: self._answered >= ticket, within)
        return self.snapshot

    def refresh_soon(self, older_than: float = 0.0) -> None:
        """Read in the background, unless the list is younger than `older_than` seconds. A reading that is
        under way may have missed what has just happened: another one follows."""
        # A clock that was set back makes no list young.
        if not 0 <= time.time() - self.snapshot.at < older_than and not (older_than and self._is_reading):
            self._ask()

    def _ask(self) -> int:
        """Number of a reading that begins from now on; it is answered when `_answered` has come to it."""
        with self._turn:
            self._asked += 1
            if not self._is_reading:
                # It waits for our turn to end. Where no thread can be had, the next one who asks tries again.
                threading.Thread(target=self._work, name="imprimatur-catalog", daemon=True).start()
                self._is_reading = True
            return self._asked

    def _work(self) -> None:
        while True:
            with self._turn:
                if self._answered == self._asked:
                    self._is_reading = False
                    return
                asked = self._asked
            self.snapshot = self._read()
            try:
                self._changed()
            except Exception:
                _log.exception("A new list of licenses couldn't be told.")
            with self._turn:
                self._answered = asked
                self._turn.notify_all()

    def _read(self) -> Snapshot:
        now = time.time()
        try:
            connection = self._connect()
            connection.require_chain()
            if not node.has_code(connection.rpc, connection.licenses.address):
                raise Refused("no_contract", address=connection.licenses.address)
            return self._compared(connection, now)
        except Refused as error:
            return replace(self.snapshot, problem=error.message, at=now)
        except (NodeUnreachable, NodeRefused) as error:
            return replace(self.snapshot, problem=node_trouble(error).message, at=now)
        except SignerUnusable as error:
            # A token was pulled out: the portal wants a signature.
            reason = Message("key_unusable", {"reason": str(error)[:MAX_REASON]})
            return replace(self.snapshot, problem=reason, at=now)
        except Exception as error:
            _log.exception("The list of licenses couldn't be read.")
            reason = Message("node_trouble", {"reason": f"{type(error).__name__}."})
            return replace(self.snapshot, problem=reason, at=now)

    def _compared(self, connection: Connection, now: float) -> Snapshot:
        """Chain and portal beside each other. Raises Refused, NodeUnreachable, NodeRefused."""
        licenses, accounts = connection.licenses, connection.accounts()
        given = self._own.look(licenses, connection.address.chain_id, accounts)
        known = frozenset(given.ids)
        offers, problem = _offers(connection, known)
        # By this machine's clock, which may have been set back, a license can be valid once more.
        over = {id: license for id, license in given.over.items() if _is_over(license, now)}
        claimed = [id for id in offers or () if id not in known]
        asked = [id for id in (*given.ids, *claimed) if id not in over]
        found = over | dict(zip(asked, licenses.licenses_of(asked), strict=True))
        own = [license for id in given.ids if (license := found[id]) and license.printer in accounts]
        cards = list(self._cards(connection, own, offers, now))
        self._own.keep(given, licenses, (license for license in own if _is_over(license, now)))
        early, lies = self._doubtful(offers or {}, found, accounts)
        if lies:
            names = ", ".join(sorted(lies))
            problem = Message("portal_lies", {"count": len(lies), "licenses": names[:200]})
        return Snapshot((*early, *cards), None, problem, now)

    def _cards(
        self, connection: Connection, own: list[License], offers: dict[int, Offer] | None, now: float
    ) -> Iterable[Card]:
        """A card for each license of this printer, without those that ended long ago."""
        described = {license.id: _described(connection.licenses, license, offers) for license in own}
        files = [
            (license.id, _file_of(license, described[license.id][0]))
            for license in own
            if not _is_over(license, now)
        ]
        usable = connection.licenses.can_use_each(files, connection.signer.address)
        refused = {id: answer.reason for (id, _hash), answer in zip(files, usable, strict=True)}
        ended = 0
        for license in own:
            state = state_of(license, refused.get(license.id), now)
            if state in ENDED:
                ended += 1
                if ended > MOST_ENDED or now - self._end_of(connection.licenses, license, state) > ENDED_FOR:
                    continue
            offer, problem = described[license.id]
            needs_file = connection.portal is None or (offer is not None and offer.manifest.sealing is None)
            yield Card(license.id, license, offer, problem, state, needs_file)

    def _end_of(self, licenses: PrintLicense, license: License, state: CardState) -> float:
        """When a license ended: its date, or the time of the last block that changed it."""
        if state is CardState.EXPIRED:
            return float(license.valid_until)
        if license not in self._ends:
            names = ("LicenseIssued", "LicenseUsed", "LicenseRevoked", "LicenseTransferred")
            last = max((event.block_number for event in licenses.events(*names, id=license.id)), default=0)
            header = licenses.rpc.call("eth_getBlockByNumber", [hex(last), False])
            self._ends[license] = float(quantity((header or {}).get("timestamp")))
        return self._ends[license]

    def _doubtful(
        self,
        offers: dict[int, Offer],
        found: dict[int, License | None],
        accounts: list[str],
    ) -> tuple[list[Card], set[str]]:
        """Cards of what isn't on the chain yet; and the numbers of what the portal says for too long although
        the chain says something else."""
        claims: dict[tuple[int, int | None], float] = {}
        early, lies, now = [], set(), self._steady()
        for id, offer in offers.items():
            license = found[id]
            if license is not None and license.printer not in accounts:
                # Passed on to another printer, or never this one's: not a word about copies.
                continue
            if license is not None and offer.remaining in (None, license.remaining):
                continue
            key = (id, offer.remaining)
            claims[key] = self._claims.get(key, now)
            if now - claims[key] >= self._lag:
                lies.add(offer.number or f"0x…{id % 16**12:012x}")
            elif license is None:
                early.append(Card(id, None, offer, None, CardState.NOT_YET_ON_CHAIN, False))
        self._claims = claims
        return early, lies


def _offers(connection: Connection, known: frozenset[int]) -> tuple[dict[int, Offer] | None, Message | None]:
    """What the portal offers, by license; None with the reason when it doesn't say anything.

    Args:
        known: this printer's licenses. Of others a portal could tell until the memory is full.
    """
    if connection.portal is None:
        return None, Message("portal_not_set_up")
    offers: dict[int, Offer] = {}
    claims = 0
    try:
        for offer in connection.portal.jobs():
            claims += offer.id not in known
            if offer.id in known or claims <= MOST_CLAIMS:
                offers[offer.id] = offer
        return offers, None
    except PortalError as error:
        return None, portal_trouble(error).message


def _is_over(license: License, now: float) -> bool:
    """Whether the license alone says that nobody can use a copy of it."""
    return state_of(license, None, now) in ENDED


def _described(
    licenses: PrintLicense, license: License, offers: dict[int, Offer] | None
) -> tuple[Offer | None, Message | None]:
    """What the portal offers for a license, if that is a file of the license."""
    if offers is None:
        return None, None
    offer = offers.get(license.id)
    if offer is None:
        return None, Message("no_entry")
    file_hash = offer.manifest.file_hash
    if file_hash != license.file_hash and not licenses.check_hash(license.id, file_hash):
        return None, Message("other_description")
    return offer, None


def _file_of(license: License, offer: Offer | None) -> str:
    return license.file_hash if offer is None else offer.manifest.file_hash
