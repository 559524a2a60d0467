"""What the key desk's own nodes say about one copy of a license.

Each node is asked in one batch: which chain it belongs to, its newest block, the block with the finality
rule's tag, and the license's events from the contract's deployment to the newest block. A use counts as final
when the rule's witness stands on its block: for a tag the node is asked for the block's header once more, for
n confirmations for the n headers above it as well, which must hang together by their parents' hashes.

Nodes that contradict each other are not believed, whichever of them is right.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imprimatur import address_book
from imprimatur.chain import node
from imprimatur.chain.events.layout import Layout, LogMalformed, checksummed, layouts_of
from imprimatur.chain.logs import AWAITED, is_about_the_range, read_in_windows
from imprimatur.chain.outbox.rules import Finality, Rules
from imprimatur.chain.print_license import CONTRACT
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, Rpc, quantity
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import format_id

_WORD = 64
"""Hexadecimal digits of a value in a log's data."""
_WORD_OF_COPY = {"LicenseUsed": 0, "PrintFailed": 0, "CopiesGranted": 1}
"""Which word of an event's data is the number of the copy that it is about."""


class ChainUnclear(ImprimaturError):
    """Nothing can be said about the copy now: a node doesn't answer, or nodes disagree. Ask again later."""


@dataclass(frozen=True, slots=True)
class Place:
    """The contract that the desk believes: on which chain, at which address, since which block."""

    chain_id: int
    contract: str
    since: int


@dataclass(frozen=True, slots=True)
class Use:
    """A copy's `LicenseUsed` event. `file_hash` is a hexadecimal SHA-256, `block` a number and a hash."""

    device: str
    file_hash: str
    key_recipient: bytes
    block: tuple[int, str]


@dataclass(frozen=True, slots=True)
class Sight:
    """One copy of a license as a node shows it.

    Attributes:
        head: number of the node's newest block.
        manifest_hash: of the license's `LicenseIssued` (32 bytes); None: never issued.
        use: None: the copy wasn't consumed.
        final: whether the use's block can't be replaced any more.
        given_back: whether the print was reported as failed, or the owner granted a copy in its place.
    """

    head: int
    manifest_hash: bytes | None
    use: Use | None
    final: bool
    given_back: bool


class Witnesses:
    """The desk's nodes and the contract that they are asked about.

    Args:
        rpcs: one for each node; at least one.
        deployments: folder of the address books.
        finality: None: as the chain is usually run.
    """

    def __init__(self, rpcs: Sequence[Rpc], deployments: Path, finality: Finality | None = None) -> None:
        self._rpcs = tuple(rpcs)
        self._deployments = deployments
        self._chosen = finality
        self._place: Place | None = None

    def place(self) -> Place:
        """The contract on the nodes' chain; asks them until they have answered once.

        While they never have, it is the contract of the address book, if that knows one chain only.

        Raises:
            ChainUnclear: neither says it.
        """
        if self._place is None:
            try:
                self._place = self._found()
            except ChainUnclear:
                chains = [
                    int(path.stem) for path in self._deployments.glob("[1-9]*.json") if path.stem.isdecimal()
                ]
                if len(chains) != 1:
                    raise
                return self._of(chains[0])
        return self._place

    def place_of(self, contract: str) -> Place | None:
        """Where the contract of a license is believed: it has or had its place in the address book. None: no.

        Of a retired one the first block isn't known; its address alone finds its events.

        Raises:
            ChainUnclear: as `place`, or the address book can't be read.
        """
        place = self.place()
        if contract == place.contract:
            return place
        try:
            known = address_book.trusted(self._deployments, place.chain_id, CONTRACT)
        except (address_book.NotDeployed, address_book.AddressBookDamaged) as error:
            raise ChainUnclear(str(error)) from error
        return Place(place.chain_id, contract, 0) if contract.lower() in known else None

    def finality(self, place: Place) -> Finality:
        """The rule of the contract's chain."""
        return Rules.for_chain(place.chain_id, self._chosen).finality

    def check(self) -> None:
        """Raises ChainUnclear when a node doesn't answer or belongs to another chain."""
        place = self.place()
        if self._found() != place:
            raise ChainUnclear("The desk's nodes have changed to another chain. Restart the desk.")

    def see(self, place: Place, id: int, copy: int) -> Sight:
        """What all nodes say about a copy of a license of the contract at `place`.

        Raises:
            ChainUnclear: one doesn't answer, belongs to another chain, or contradicts the others.
        """
        finality, until = self.finality(place), time.monotonic() + AWAITED
        try:
            sights = [_look(rpc, place, finality, id, copy, until) for rpc in self._rpcs]
        except (NodeUnreachable, NodeRefused, LogMalformed) as error:
            raise ChainUnclear(str(error)) from error
        return _agreed(sights, id, copy)

    def _found(self) -> Place:
        try:
            chains = {node.chain_id(rpc) for rpc in self._rpcs}
        except (NodeUnreachable, NodeRefused) as error:
            raise ChainUnclear(str(error)) from error
        if len(chains) != 1:
            raise ChainUnclear(f"The desk's nodes belong to different chains: {sorted(chains)}.")
        return self._of(chains.pop())

    def _of(self, chain_id: int) -> Place:
        try:
            entry = address_book.load(self._deployments, chain_id, CONTRACT)
        except (address_book.NotDeployed, address_book.AddressBookDamaged) as error:
            raise ChainUnclear(str(error)) from error
        return Place(chain_id, checksummed(entry.address[2:].lower()), entry.block)


def _look(rpc: Rpc, place: Place, finality: Finality, id: int, copy: int, until: float) -> Sight:
    query = {
        "address": place.contract,
        "fromBlock": hex(place.since),
        "toBlock": "latest",
        "topics": [list(_events()), format_id(id)],
    }
    # The newest block is asked for before the events: what comes in between makes them younger, not older.
    calls: list[tuple[str, list[Any]]] = [("eth_chainId", []), ("eth_blockNumber", [])]
    if finality.tag is not None:
        calls.append(("eth_getBlockByNumber", [finality.tag, False]))
    *answers, logs = rpc.batch([*calls, ("eth_getLogs", [query])])
    if isinstance(logs, NodeRefused) and is_about_the_range(logs):
        # Some nodes refuse the whole batch then.
        answers = _granted(rpc.batch(calls))
        logs = read_in_windows(rpc, query, quantity(answers[1]), logs, _hold_the_issuing, until)
    chain, newest, *tagged, logs = _granted([*answers, logs])
    if quantity(chain) != place.chain_id:
        raise NodeUnreachable(f"The chain node belongs to chain {quantity(chain)}, not {place.chain_id}.")
    head = quantity(newest)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("LicenseIssued", *_WORD_OF_COPY)}
    for log in _ours(logs, place, id):
        layout = _events()[log["topics"][0]]
        if _is_about(log, layout.name, copy):
            found[layout.name].append(log | json.loads(layout.read(log["topics"], log["data"])[0]))
    uses, issued = found["LicenseUsed"], found["LicenseIssued"]
    if len(uses) > 1 or len(issued) > 1:
        raise NodeUnreachable("The chain node shows twice what the contract lets happen once.")
    use = _use(uses[0]) if uses else None
    top = _number(tagged[0]) if tagged and tagged[0] else None
    return Sight(
        head=head,
        manifest_hash=bytes.fromhex(issued[0]["manifestHash"][2:]) if issued else None,
        use=use,
        final=use is not None and _is_final(rpc, finality, use.block, head, top),
        given_back=bool(found["PrintFailed"] or found["CopiesGranted"]),
    )


@cache
def _events() -> dict[str, Layout]:
    """The events that say something about a copy, by first topic."""
    layouts = {"0x" + topic: layout for topic, layout in layouts_of(CONTRACT).items()}
    names = ("LicenseIssued", *_WORD_OF_COPY)
    return {topic: layout for topic, layout in layouts.items() if layout.name in names}


def _hold_the_issuing(logs: list[dict[str, Any]]) -> bool:
    """Whether the license's first event is among these: its history begins there."""
    issued = next(topic for topic, layout in _events().items() if layout.name == "LicenseIssued")
    return any(isinstance(topics := log.get("topics"), list) and topics[:1] == [issued] for log in logs)


def _granted(answers: list[Any]) -> list[Any]:
    """The answers of a batch. Raises NodeRefused when the node refused one of them."""
    for answer in answers:
        if isinstance(answer, NodeRefused):
            raise answer
    return answers


def _number(block: Any) -> int:
    return quantity(block.get("number") if isinstance(block, dict) else None)


def _ours(logs: Any, place: Place, id: int) -> list[dict[str, Any]]:
    """The logs, if the node answered what it was asked: of this contract, about this license, in a block."""
    asked = (place.contract.lower(), format_id(id))
    try:
        for log in logs:
            found = (log["address"].lower(), log["topics"][1].lower())
            known = log["topics"][0] in _events() and isinstance(log["data"], str)
            if found != asked or not known or log.get("removed"):
                raise NodeUnreachable("The chain node answered with an event that wasn't asked for.")
        return list(logs)
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise NodeUnreachable("The chain node's answer isn't a list of events.") from error


def _is_about(log: dict[str, Any], name: str, copy: int) -> bool:
    """Whether an event is about the license as a whole, or about this copy. A license may have thousands."""
    if name not in _WORD_OF_COPY:
        return True
    start = len("0x") + _WORD * _WORD_OF_COPY[name]
    try:
        return int(log["data"][start : start + _WORD], 16) == copy
    except (KeyError, TypeError, ValueError) as error:
        raise NodeUnreachable(f"The chain node's log of {name} can't be read.") from error


def _use(event: dict[str, Any]) -> Use:
    hash = event.get("blockHash")
    if not isinstance(hash, str):
        raise NodeUnreachable("The chain node's event doesn't say in which block it is.")
    return Use(
        device=event["device"],
        file_hash=event["fileHash"][2:],
        key_recipient=bytes.fromhex(event["keyRecipient"][2:]),
        block=(quantity(event.get("blockNumber")), hash.lower()),
    )


def _is_final(rpc: Rpc, finality: Finality, block: tuple[int, str], head: int, tagged: int | None) -> bool:
    number, hash = block
    witness = finality.witness(number, head, tagged)
    if witness is None:
        return False
    if finality.tag is None and witness == number:
        return True  # by a rule under which blocks are never replaced
    span = range(number, number + 1 if finality.tag else witness + 1)
    headers = _granted(rpc.batch([("eth_getBlockByNumber", [hex(n), False]) for n in span]))
    expected: Any = None
    for header in headers:
        if not isinstance(header, dict) or (expected is not None and header.get("parentHash") != expected):
            return False
        expected = header.get("hash")
    return str(headers[0].get("hash")).lower() == hash


def _agreed(sights: list[Sight], id: int, copy: int) -> Sight:
    uses = {sight.use for sight in sights if sight.use is not None}
    if not uses:
        return sights[0]
    doubt = ChainUnclear(f"The desk's nodes disagree about copy {copy} of license {format_id(id)}.")
    if len(uses) > 1:
        raise doubt
    use = uses.pop()
    for sight in sights:
        # A node may lag behind the use's block. One that has it must show what the others show.
        if sight.use is None and sight.head >= use.block[0]:
            raise doubt
    seen = [sight for sight in sights if sight.use is not None]
    if len({(sight.given_back, sight.manifest_hash) for sight in seen}) > 1:
        raise doubt
    return Sight(
        head=min(sight.head for sight in sights),
        manifest_hash=seen[0].manifest_hash,
        use=use,
        final=all(sight.final for sight in sights),
        given_back=seen[0].given_back,
    )
