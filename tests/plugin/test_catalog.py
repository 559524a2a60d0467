"""The list: what the chain says, read piece by piece; what a portal says as far as the chain bears it out."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from conftest import Issue, issuer, part
from imprimatur.chain.orders import Terms
from imprimatur.chain.rpc import HttpRpc, NodeRefused, NodeUnreachable, Rpc
from imprimatur.chain.signers import KeySigner, TokenUnusable
from imprimatur.device import portal as portals
from imprimatur.license_id import format_id
from octoprint_imprimatur import catalog as catalogs
from octoprint_imprimatur.catalog import Catalog
from octoprint_imprimatur.connection import Address, Connection, connect
from octoprint_imprimatur.own_licenses import OVERLAP, OwnLicenses
from support.delivery_portal import DeliveryPortal, Fault
from support.limited_node import Limits, limited_node
from support.node import Chain
from support.octoprint import wait_for

DAY = 86400


class CountedRpc(Rpc):
    """The node; remembers what it was asked for, and fails on order."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self.asked: list[tuple[str, list[Any]]] = []
        self.change: Callable[[str, list[Any], Any], Any] = lambda _method, _params, answer: answer

    def call(self, method: str, params: list[Any]) -> Any:
        self.asked.append((method, params))
        return self.change(method, params, self._rpc.call(method, params))

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        self.asked.append(("batch", [len(calls)]))
        answers = self._rpc.batch(calls)
        return [self.change(*call, answer) for call, answer in zip(calls, answers, strict=True)]

    def first_blocks(self) -> list[int]:
        """From which block on events were asked for, since the last time."""
        found = [int(params[0]["fromBlock"], 16) for method, params in self.asked if method == "eth_getLogs"]
        self.asked.clear()
        return found


class Desk:
    """A printer's list, without its printer."""

    def __init__(self, chain: Chain, portal: DeliveryPortal, owner: KeySigner) -> None:
        self.chain, self.portal, self.owner = chain, portal, owner
        self.signer = KeySigner(secrets.token_bytes(32))
        self.issue: Issue = issuer(owner, portal, self.signer.address)
        self.rpc = CountedRpc(chain.rpc)
        self.with_portal = True
        self.files: dict[str, list[str]] = {}
        self.changes = 0
        self.catalog = Catalog(self.connect, self._changed, lag=3600)

    def _changed(self) -> None:
        self.changes += 1

    def connect(self) -> Connection:
        address = Address(
            self.portal.url if self.with_portal else "",
            "",
            self.chain.url,
            self.chain.chain_id,
            self.chain.licenses.address,
            self.chain.licenses.since,
            self.portal.desk_url,
            self.portal.desk_address,
        )
        return connect(address, self.signer, self.rpc)

    def read(self) -> dict[str, Any]:
        self.catalog.refresh()
        return self.shown()

    def shown(self) -> dict[str, Any]:
        return self.catalog.snapshot.as_json(lambda file_hash: self.files.get(file_hash, []))

    def cards(self) -> dict[str, dict[str, Any]]:
        """Cards of this printer and its portal, newly read, by id."""
        return {card["id"]: card for card in self.read()["licenses"]}

    def card(self, id: int) -> dict[str, Any]:
        return self.cards()[format_id(id)]

    def use(self, id: int, data: bytes) -> None:
        self.chain.fund(self.signer.address)
        self.chain.send(
            self.signer, self.chain.licenses.use_license_call(id, hashlib.sha256(data).hexdigest())
        )


@pytest.fixture
def desk(chain: Chain, portal: DeliveryPortal, owner: KeySigner) -> Desk:
    # Only what this test offers: the portal of the tests lists everything to everybody.
    portal.served.clear()
    return Desk(chain, portal, owner)


# States ----------------------------------------------------------------------------------------------------


def test_a_card_says_what_can_be_done(desk: Desk, chain: Chain, owner: KeySigner) -> None:
    ready = desk.issue(copies=4, failures_allowed=2)
    used, revoked = desk.issue(copies=1), desk.issue(copies=2, flags=Terms.REVOCABLE)
    expired = desk.issue(valid_until=int(chain_time(chain)) + DAY)
    untrusted = desk.issue(flags=Terms.TRUSTED_DEVICE)
    untold = desk.issue()
    del desk.portal.served[untold.id]
    desk.use(used.id, used.data)
    chain.send(owner, chain.licenses.revoke_call(revoked.id))

    cards = desk.cards()
    assert {id: card["state"] for id, card in cards.items()} == {
        format_id(ready.id): "ready",
        format_id(used.id): "used_up",
        format_id(revoked.id): "revoked",
        format_id(expired.id): "ready",
        format_id(untrusted.id): "not_trusted",
        format_id(untold.id): "untold",
    }
    for card in cards.values():
        assert (card["reason"] is None) == (card["state"] == "ready")
    card = cards[format_id(ready.id)]
    assert (card["remaining"], card["copies"], card["next_copy"], card["kind"]) == (4, 4, 1, "sealed")
    assert card["terms"] == {"failures_left": 2, "valid_until": None, "license_text": None, "site": None}
    assert cards[format_id(used.id)]["name"] == "clip.gcode", "who looks for it still finds it"
    assert cards[format_id(untold.id)]["problem"]["key"] == "no_entry"
    assert desk.changes == 1


def chain_time(chain: Chain) -> int:
    return int(chain.rpc.call("eth_getBlockByNumber", ["latest", False])["timestamp"], 16)


def test_what_ended_is_shown_for_thirty_days(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    used, valid = desk.issue(copies=1), desk.issue()
    expired = desk.issue(valid_until=int(now) + DAY)
    desk.use(used.id, used.data)
    assert desk.card(used.id)["state"] == "used_up"
    for days, states in [
        (2, {used.id: "used_up", expired.id: "expired", valid.id: "ready"}),
        (29, {used.id: "used_up", expired.id: "expired", valid.id: "ready"}),
        (30.5, {expired.id: "expired", valid.id: "ready"}),
        (32, {valid.id: "ready"}),
    ]:
        monkeypatch.setattr(catalogs.time, "time", lambda days=days: now + days * DAY)
        found = {int(id, 16): card["state"] for id, card in desk.cards().items()}
        assert found == states, days


def test_a_transferred_license_changes_its_list(
    desk: Desk, chain: Chain, portal: DeliveryPortal, owner: KeySigner
) -> None:
    other = chain.account()
    id = portal.offer(owner, other.address, part(), 2, "transfer-1", flags=Terms.TRANSFERABLE)
    assert format_id(id) not in desk.cards(), "it is another printer's"
    chain.send(other, chain.licenses.transfer_license_call(id, desk.signer.address))
    assert desk.card(id)["state"] == "ready"
    chain.fund(desk.signer.address)
    chain.send(desk.signer, chain.licenses.transfer_license_call(id, other.address))
    assert desk.cards().get(format_id(id), {}).get("state") != "ready"


def test_a_device_shows_the_licenses_of_its_wallet(
    desk: Desk, chain: Chain, portal: DeliveryPortal, owner: KeySigner
) -> None:
    wallet = chain.account()
    id = portal.offer(owner, wallet.address, part(), 2, "wallet-1")
    assert format_id(id) not in desk.cards()
    chain.bind(wallet, desk.signer)
    card = desk.card(id)
    assert (card["state"], card["remaining"]) == ("ready", 2)


def test_an_approved_file_is_a_file_of_the_license(
    desk: Desk, chain: Chain, portal: DeliveryPortal, owner: KeySigner
) -> None:
    sliced_again = part()
    license = desk.issue()
    entry = portal.served[license.id].entry
    assert desk.card(license.id)["problem"] is None
    found = portal.offer(owner, desk.signer.address, sliced_again, 1, entry["number"], issue=False)
    assert found == license.id
    assert desk.card(license.id)["problem"]["key"] == "other_description"
    assert desk.card(license.id)["state"] == "untold"
    approved = hashlib.sha256(sliced_again).hexdigest()
    manifest = portal.served[license.id].manifest.hash
    chain.send(owner, chain.licenses.approve_file_call(license.id, approved, manifest))
    card = desk.card(license.id)
    assert (card["state"], card["problem"], card["file_hash"]) == ("ready", None, approved)


# Portals that lie, hide, or are slow -----------------------------------------------------------------------


def test_a_portal_that_lies_is_noticed_and_never_believed(desk: Desk, portal: DeliveryPortal) -> None:
    honest, more = desk.issue(copies=2), desk.issue(copies=2)
    invented = portal.offer(desk.owner, desk.signer.address, part(), 9, "invented-1", issue=False)
    portal.served[more.id].entry["remaining"] = 99
    # Its index may be behind: nobody is accused at once.
    answer = desk.read()
    assert answer["portal_problem"] is None
    early = next(card for card in answer["licenses"] if card["id"] == format_id(invented))
    assert (early["state"], early["remaining"], early["copies"]) == ("not_yet_on_chain", None, None)
    assert desk.card(more.id)["remaining"] == 2

    desk.catalog = Catalog(desk.connect, lambda: None, lag=0.0)
    answer = desk.read()
    assert answer["portal_problem"]["key"] == "portal_lies"
    assert answer["portal_problem"]["values"]["count"] == 2
    assert "invented-1" in answer["portal_problem"]["values"]["licenses"]
    assert answer["problem"] is None
    cards = {card["id"]: card for card in answer["licenses"]}
    assert set(cards) == {format_id(honest.id), format_id(more.id)}
    assert (cards[format_id(more.id)]["remaining"], cards[format_id(more.id)]["state"]) == (2, "ready")

    portal.served[more.id].entry["remaining"] = 2
    del portal.served[invented]
    assert desk.read()["portal_problem"] is None


def test_a_lie_counts_from_when_it_began(desk: Desk) -> None:
    license, clock = desk.issue(copies=2), iter(())
    desk.catalog = Catalog(desk.connect, lambda: None, lag=120.0, steady=lambda: next(clock))
    for second, remaining, problem in [
        (0, 3, None),
        (100, 3, None),
        (130, 3, "portal_lies"),
        (140, 2, None),
        (300, 3, None),
        (310, 4, None),
        (425, 4, None),
        (431, 4, "portal_lies"),
        (440, None, None),
    ]:
        clock = iter([float(second)])
        desk.portal.served[license.id].entry["remaining"] = remaining
        found = desk.read()["portal_problem"]
        assert (found and found["key"]) == problem, second


def test_a_clock_that_jumps_accuses_nobody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small computer without a clock of its own learns the time minutes after its start."""
    license, real = desk.issue(copies=2), time.time
    desk.portal.served[license.id].entry["remaining"] = 3
    assert desk.read()["portal_problem"] is None
    monkeypatch.setattr(catalogs.time, "time", lambda: real() + DAY)
    assert desk.read()["portal_problem"] is None
    monkeypatch.setattr(catalogs.time, "time", real)
    changes = desk.changes
    desk.catalog.refresh_soon(older_than=10.0)
    wait_for("The list isn't young because it is from tomorrow", lambda: desk.changes > changes, 10, 0.02)


def test_of_a_portals_inventions_only_so_many_are_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogs, "MOST_CLAIMS", 2)
    own = desk.issue()
    for n in range(4):
        desk.portal.offer(desk.owner, desk.signer.address, part(), 9, f"flood-{n}", issue=False)
    states = [card["state"] for card in desk.cards().values()]
    assert sorted(states) == ["not_yet_on_chain", "not_yet_on_chain", "ready"]
    assert desk.card(own.id)["state"] == "ready"


def test_a_list_that_never_ends_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    license = desk.issue()
    monkeypatch.setattr(portals, "LIST_WITHIN", -1.0)
    answer = desk.read()
    assert answer["portal_problem"]["key"] == "portal_unreachable"
    assert [card["id"] for card in answer["licenses"]] == [format_id(license.id)]


def test_a_token_that_was_pulled_out_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.issue()

    def gone(_data: bytes) -> str:
        raise TokenUnusable("The token shop doesn't do it (DeviceRemoved). Is it plugged in?")

    monkeypatch.setattr(desk.signer, "sign_message", gone)
    problem = desk.read()["problem"]
    assert (problem["key"], "plugged in" in problem["values"]["reason"]) == ("key_unusable", True)


def test_a_portal_that_is_down_hides_no_license(desk: Desk) -> None:
    license = desk.issue()
    desk.portal.faults.append(Fault("/device/jobs", status=500, times=1))
    answer = desk.read()
    assert answer["portal_problem"]["key"] == "portal_unreachable"
    (card,) = answer["licenses"]
    assert (card["id"], card["state"], card["remaining"]) == (format_id(license.id), "untold", 1)
    assert desk.card(license.id)["state"] == "ready"


# Operators' own files --------------------------------------------------------------------------------------


def test_a_file_of_the_operators_own_makes_a_hidden_license_printable(desk: Desk) -> None:
    license = desk.issue()
    del desk.portal.served[license.id]
    desk.files = {hashlib.sha256(license.data).hexdigest(): ["parts/clip.gcode"]}
    card = desk.card(license.id)
    assert (card["state"], card["kind"], card["reason"]) == ("ready", "own_file", None)
    assert card["files"] == [{"path": "parts/clip.gcode", "name": "clip.gcode"}]
    assert desk.catalog.snapshot.wanted() == {card["file_hash"]}
    desk.files = {}
    (card,) = desk.shown()["licenses"]
    assert (card["state"], card["files"]) == ("untold", []), "without reading anything again"


def test_without_any_portal_each_file_is_the_operators_own(desk: Desk) -> None:
    license = desk.issue(copies=3)
    desk.with_portal = False
    answer = desk.read()
    assert (answer["problem"], answer["portal_problem"]["key"]) == (None, "portal_not_set_up")
    (card,) = answer["licenses"]
    assert (card["state"], card["kind"], card["files"]) == ("ready", "own_file", [])
    assert card["file_hash"] == hashlib.sha256(license.data).hexdigest()


def test_files_that_come_sealed_arent_looked_for(desk: Desk) -> None:
    license = desk.issue()
    desk.files = {hashlib.sha256(license.data).hexdigest(): ["clip.gcode"]}
    card = desk.card(license.id)
    assert (card["kind"], card["files"]) == ("sealed", [])
    assert desk.catalog.snapshot.wanted() == set()


# Reading piece by piece ------------------------------------------------------------------------------------


def test_only_new_blocks_are_read_again(desk: Desk, chain: Chain) -> None:
    first = desk.issue()
    assert format_id(first.id) in desk.cards()
    assert set(desk.rpc.first_blocks()) == {chain.licenses.since}
    chain.rpc.call("anvil_mine", [hex(OVERLAP * 2)])
    desk.read()
    desk.rpc.first_blocks()
    second = desk.issue()
    assert set(desk.cards()) == {format_id(first.id), format_id(second.id)}
    head = int(chain.rpc.call("eth_blockNumber", []), 16)
    assert min(desk.rpc.first_blocks()) >= head - OVERLAP - 2


def test_ten_licenses_cost_as_many_questions_as_one(desk: Desk) -> None:
    desk.issue()
    desk.read()
    desk.rpc.asked.clear()
    desk.read()
    for_one = len(desk.rpc.asked)
    for _ in range(9):
        desk.issue()
    desk.rpc.asked.clear()
    assert len(desk.read()["licenses"]) == 10
    assert len(desk.rpc.asked) == for_one


def test_what_is_over_is_read_again_when_something_happens_to_it(
    desk: Desk, chain: Chain, owner: KeySigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, granted, revoked = (
        desk.issue(copies=1, failures_allowed=1, flags=Terms.REVOCABLE) for _ in range(3)
    )
    for license in (failed, granted, revoked):
        desk.use(license.id, license.data)
    now = time.time()
    stays, passed_on = (desk.issue(valid_until=int(now) + DAY, flags=Terms.TRANSFERABLE) for _ in range(2))
    ready = desk.issue()

    def states() -> dict[int, str]:
        return {int(id, 16): card["state"] for id, card in desk.cards().items()}

    def read_at(later: float) -> dict[int, str]:
        monkeypatch.setattr(catalogs.time, "time", lambda: now + later)
        return states()

    over = read_at(2 * DAY)
    assert sorted(over.values()) == ["expired"] * 2 + ["ready"] + ["used_up"] * 3
    desk.rpc.asked.clear()
    assert states() == over
    assert [params for method, params in desk.rpc.asked if method == "batch"] == [[1], [1]]
    # By a clock that was set right it hasn't expired yet.
    assert read_at(0)[stays.id] == read_at(0)[passed_on.id] == "ready"
    assert read_at(2 * DAY) == over

    calls = chain.licenses
    chain.send(desk.signer, calls.report_failure_call(failed.id, 1, bytes(32)))
    assert states()[failed.id] == "ready"
    chain.send(owner, calls.grant_copies_call(granted.id, 1))
    assert states()[granted.id] == "ready"
    chain.send(owner, calls.revoke_call(revoked.id))
    assert states()[revoked.id] == "revoked"
    chain.send(desk.signer, calls.transfer_license_call(passed_on.id, owner.address))
    assert states().keys() == over.keys() - {passed_on.id}
    assert states()[ready.id] == "ready"


def test_a_use_that_was_replaced_gives_the_copy_back(desk: Desk, chain: Chain) -> None:
    """Also when the list was read just between the block that was looked at and that of the use."""
    early, late = desk.issue(copies=1), desk.issue(copies=1)
    before: list[str] = []

    def happens(method: str, _params: list[Any], answer: Any) -> Any:
        if method == "eth_getLogs" and not before:
            before.append(chain.rpc.call("evm_snapshot", []))
            desk.use(late.id, late.data)
        return answer

    desk.rpc.change = happens
    assert desk.card(late.id)["state"] == "used_up"
    chain.rpc.call("evm_revert", before)
    assert desk.card(late.id)["state"] == "ready"

    before = [chain.rpc.call("evm_snapshot", [])]
    desk.use(early.id, early.data)
    assert [desk.card(early.id)["state"] for _ in range(2)] == ["used_up"] * 2
    chain.rpc.call("evm_revert", before)
    assert desk.card(early.id)["state"] == "ready"


@pytest.mark.parametrize("said", ["0x", NodeRefused(-32602, "invalid argument 1: not a string")])
def test_a_node_that_takes_no_hash_for_a_block_is_asked_again(desk: Desk, said: Any) -> None:
    """Else the list of whoever has a license that ended would stay empty."""
    ended = desk.issue(copies=1)
    desk.use(ended.id, ended.data)

    def knows_none(method: str, params: list[Any], answer: Any) -> Any:
        return said if method == "eth_call" and isinstance(params[1], dict) else answer

    desk.rpc.change = knows_none
    for _ in range(2):
        found = desk.read()
        assert (found["problem"], [card["state"] for card in found["licenses"]]) == (None, ["used_up"])


def test_a_reorganisation_starts_over(desk: Desk, chain: Chain) -> None:
    stays = desk.issue()
    before = chain.rpc.call("evm_snapshot", [])
    goes = desk.issue()
    chain.rpc.call("anvil_mine", ["0x4"])
    assert set(desk.cards()) == {format_id(stays.id), format_id(goes.id)}
    chain.rpc.call("evm_revert", [before])
    chain.rpc.call("anvil_mine", ["0x8"])
    desk.rpc.first_blocks()
    del desk.portal.served[goes.id]
    assert set(desk.cards()) == {format_id(stays.id)}
    assert chain.licenses.since in desk.rpc.first_blocks()


def test_a_node_that_lost_blocks_starts_over(desk: Desk, chain: Chain) -> None:
    license = desk.issue()
    own = OwnLicenses()
    accounts = [desk.signer.address]
    licenses = desk.connect().licenses
    assert own.look(licenses, 1, accounts).ids == [license.id]

    def forgets(method: str, params: list[Any], answer: Any) -> Any:
        return None if method == "eth_getBlockByNumber" and params[0] != "latest" else answer

    desk.rpc.first_blocks()

    def refuses(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] != "latest":
            raise NodeRefused(-32000, "header not found")
        return answer

    for change in (forgets, refuses):
        desk.rpc.change = change
        assert own.look(licenses, 1, accounts).ids == [license.id]
        assert set(desk.rpc.first_blocks()) == {chain.licenses.since}
    assert own.look(licenses, 1, [chain.account().address]).ids == []
    assert own.look(licenses, 2, accounts).ids == [license.id]


def test_a_node_that_gives_few_blocks_at_once(desk: Desk, chain: Chain) -> None:
    """Nothing but the number of questions differs: for events also of licenses that ended."""
    ready, used = desk.issue(), desk.issue(copies=1)
    chain.rpc.call("anvil_mine", ["0x20"])
    desk.use(used.id, used.data)
    usual = desk.read()["licenses"]
    limits = Limits(5)
    with limited_node(chain.url, limits) as url:
        other = Desk(chain, desk.portal, desk.owner)
        other.signer, other.rpc = desk.signer, CountedRpc(HttpRpc(url, retries=0))
        found = other.read()
    assert (found["problem"], found["licenses"]) == (None, usual)
    assert {card["id"] for card in usual} == {format_id(ready.id), format_id(used.id)}
    assert max(last - first for first, last in limits.ranges) > 5


def test_a_broken_reading_is_forgotten(desk: Desk) -> None:
    """Half of the events and a cursor behind them would hide a license for ever."""
    license = desk.issue()

    def breaks(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getLogs" and len(params[0]["topics"]) > 3:
            raise NodeRefused(-32000, "too many")
        return answer

    desk.rpc.change = breaks
    answer = desk.read()
    assert (answer["problem"]["key"], answer["licenses"]) == ("node_trouble", [])
    desk.rpc.change = lambda _method, _params, answer: answer
    assert set(desk.cards()) == {format_id(license.id)}


def test_what_happens_while_the_list_is_read_is_read_too(desk: Desk) -> None:
    first, late = desk.issue(), []

    def happens(method: str, _params: list[Any], answer: Any) -> Any:
        if method == "eth_getLogs" and not late:
            late.append(desk.issue())
            desk.catalog.refresh_soon()
        return answer

    desk.rpc.change = happens
    desk.catalog.refresh_soon()

    def all_there() -> bool:
        return {card.id for card in desk.catalog.snapshot.cards} == {first.id, *(one.id for one in late)}

    wait_for("Both are listed", lambda: late and all_there(), 10, 0.02)
    wait_for("It was read twice", lambda: desk.changes == 2, 10, 0.02)


def test_many_who_ask_wait_for_one_reading_and_not_for_ever(desk: Desk) -> None:
    license, slow = desk.issue(), threading.Event()

    def waits(method: str, _params: list[Any], answer: Any) -> Any:
        if method == "eth_chainId":
            assert slow.wait(30)
        return answer

    desk.rpc.change = waits
    for _ in range(10):
        assert desk.catalog.refresh(within=0.01).cards == ()
    assert [thread.name for thread in threading.enumerate()].count("imprimatur-catalog") == 1
    slow.set()
    assert [card.id for card in desk.catalog.refresh().cards] == [license.id]
    assert desk.changes <= 3, "one for all who asked meanwhile"


def test_while_the_node_is_down_the_last_list_stays(desk: Desk) -> None:
    license = desk.issue()
    assert set(desk.cards()) == {format_id(license.id)}

    def down(_method: str, _params: list[Any], _answer: Any) -> Any:
        raise NodeUnreachable("The chain node doesn't answer: Timeout.")

    desk.rpc.change = down
    answer = desk.read()
    assert answer["problem"]["key"] == "node_down"
    assert [card["id"] for card in answer["licenses"]] == [format_id(license.id)]


def test_where_no_thread_could_be_had_the_next_one_who_asks_gets_a_list(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        with pytest.raises(RuntimeError):
            desk.catalog.refresh_soon()
    assert desk.catalog.refresh(within=20).at > 0
