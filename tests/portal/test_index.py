"""The index in the portal's tables, on both databases, and what the worker makes of trouble."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from library.indexer.activity import Activity
from portal.index_stage import Clock, Switch, Switched, dump, read, sessions_on
from portal.stage import Party, TestChain
from portal.test_explorer import issue
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from app.extensions import db
from app.models import ChainBlock, ChainLicense, ChainUse
from app.services import event_rows, picture, picture_drawing
from app.services.event_store import SqlEventStore
from app.services.index import LONGEST_WAIT, Index
from imprimatur.chain.events import (
    Block,
    CursorMoved,
    EventStore,
    OtherIndex,
    Row,
    SqliteEventStore,
)
from imprimatur.chain.rpc import NodeUnreachable
from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import format_id
from support.node import Chain, deploy_contracts, running_chain

ADDRESS = "0x" + "5b" * 20
FILE = "ab" * 32


def hash_of(number: int, branch: str = "a") -> str:
    return "0x" + branch * 2 + f"{number:062x}"


def block(number: int, branch: str = "a") -> Block:
    return Block(number, hash_of(number, branch))


def row(number: int, index: int = 0, branch: str = "a") -> Row:
    values = f'{{"owner": "{ADDRESS}", "operator": "{ADDRESS}", "rights": 1, "until": "0x{number:064x}"}}'
    place = number, hash_of(number, branch), 1000 + number, hash_of(number, "e"), index
    return Row(ADDRESS, "OperatorSet", values, None, *place)


@pytest.fixture(params=["sqlite", "postgresql"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sessionmaker[Session]]:
    url = f"sqlite:///{tmp_path / 'portal.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    with sessions_on(url) as maker:
        yield maker


@pytest.fixture(params=["library", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    if request.param == "library":
        with closing(sqlite3.connect(tmp_path / "index.db")) as connection:
            yield SqliteEventStore(connection)
        return
    url = f"sqlite:///{tmp_path / 'portal.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    with sessions_on(url) as maker:
        yield SqlEventStore(maker)


def events_in(store: EventStore) -> list[Row]:
    if isinstance(store, SqliteEventStore):
        return list(store.events())
    assert isinstance(store, SqlEventStore)
    with store._sessions() as session:
        return event_rows.rows(session, sa.true())


# --- the store ----------------------------------------------------------------------------------------------


def test_a_claim_is_for_good(store: EventStore) -> None:
    store.claim("this")
    store.claim("this")
    with pytest.raises(OtherIndex):
        store.claim("that")


def test_what_is_applied_is_there(store: EventStore) -> None:
    store.claim("this")
    assert store.top() is None
    store.apply([row(1), row(1, 1)], [block(1)], None, keep=2)
    store.apply([row(3)], [block(2), block(3), block(4)], block(1), keep=2)
    assert store.top() == block(4)
    assert store.blocks() == [block(4), block(3)]
    assert events_in(store) == [row(1), row(1, 1), row(3)]


def test_what_is_rolled_back_is_gone(store: EventStore) -> None:
    store.claim("this")
    store.apply([row(1), row(2), row(3)], [block(1), block(2), block(3)], None, keep=9)
    store.rollback(block(1), block(3))
    assert (store.top(), events_in(store)) == (block(1), [row(1)])
    store.apply([row(2, branch="b")], [block(2, "b")], block(1), keep=9)
    assert events_in(store) == [row(1), row(2, branch="b")]
    store.rollback(None, block(2, "b"))
    assert (store.top(), events_in(store)) == (None, [])


def test_writing_after_another_block_is_refused(store: EventStore) -> None:
    store.claim("this")
    store.apply([row(1)], [block(1)], None, keep=9)
    for after in (None, block(1, "b"), block(2)):
        with pytest.raises(CursorMoved) as caught:
            store.apply([row(2)], [block(2)], after, keep=9)
        assert (caught.value.expected, caught.value.found) == (after, block(1))
    with pytest.raises(CursorMoved):
        store.rollback(None, block(2))
    assert (store.top(), events_in(store)) == (block(1), [row(1)])


def test_writing_without_a_claim_is_refused(sessions: sessionmaker[Session]) -> None:
    """A rebuilding was killed after it had deleted all: who goes on must claim anew."""
    store = SqlEventStore(sessions)
    store.claim("this")
    store.wipe()
    with pytest.raises(CursorMoved):
        store.apply([row(1)], [block(1)], None, keep=9)
    assert (store.top(), store.claimed()) == (None, None)
    store.claim("that")
    store.apply([row(1)], [block(1)], None, keep=9)
    assert store.top() == block(1)


def test_writing_is_all_or_nothing(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlEventStore(sessions)
    store.claim("this")
    store.apply([row(1)], [block(1)], None, keep=9)
    before = dump(sessions)

    def die(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(picture_drawing, "follow", die)
    monkeypatch.setattr(picture_drawing, "redraw", die)
    with pytest.raises(OSError, match="full"):
        store.apply([row(2)], [block(2)], block(1), keep=9)
    with pytest.raises(OSError, match="full"):
        store.rollback(None, block(1))
    assert (store.blocks(), dump(sessions)) == ([block(1)], before)


def test_of_two_that_write_one_is_refused(sessions: sessionmaker[Session]) -> None:
    """However often, and in whatever order they come."""
    stores = [SqlEventStore(sessions), SqlEventStore(sessions)]
    stores[0].claim("this")
    barrier, refused, trouble = threading.Barrier(2), [0, 0], []

    def write(mine: int) -> None:
        branch = "ab"[mine]
        try:
            for number in range(1, 21):
                after = stores[mine].top()
                barrier.wait(20)
                try:
                    stores[mine].apply([row(number, branch=branch)], [block(number, branch)], after, keep=99)
                except CursorMoved:
                    refused[mine] += 1
                barrier.wait(20)
        except Exception as error:
            trouble.append(error)
            barrier.abort()

    threads = [threading.Thread(target=write, args=(mine,)) for mine in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not trouble
    assert sum(refused) == 20
    blocks = dict(stores[0].blocks())
    assert len(blocks) == 20
    assert [found.block_hash for found in events_in(stores[0])] == [blocks[n] for n in range(1, 21)]


# --- the worker's steps -------------------------------------------------------------------------------------


def license_on(chain: Chain, number: str = "4711", copies: int = 3) -> int:
    owner, printer = chain.account(), chain.account()
    id = chain.issue(owner, printer.address, FILE, copies, number)
    chain.send(printer, chain.licenses.use_license_call(id, FILE))
    return id


def test_both_databases_and_a_fresh_one_are_equal(anvil: Chain, tmp_path: Path, postgres: str) -> None:
    """Read as it happens, at once, and on the other database: the same to the last column."""
    activity = Activity(anvil, Random(7))
    sqlite, fresh = f"sqlite:///{tmp_path / 'portal.db'}", f"sqlite:///{tmp_path / 'fresh.db'}"
    with sessions_on(sqlite) as live, sessions_on(fresh) as later, sessions_on(postgres) as other:
        index = Index(live, Switched(anvil))
        for _ in range(12):
            activity.block(3)
            read(index)
        for maker in (later, other):
            read(Index(maker, Switched(anvil)))
        found = dump(live)
        assert {name for name, rows in found.items() if rows} >= {"chain_event", "chain_license", "chain_use"}
        assert found == dump(later) == dump(other)


def test_two_indexers_by_mistake_give_one_index(anvil: Chain, sessions: sessionmaker[Session]) -> None:
    activity = Activity(anvil, Random(8))
    trouble: list[Exception] = []

    def run() -> None:
        index = Index(sessions, Switched(anvil), clock=iter(range(10**6)).__next__)
        try:
            for _ in range(40):
                index.step()
        except Exception as error:
            trouble.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        activity.block(3)
    for thread in threads:
        thread.join()
    assert not trouble
    index = Index(sessions, Switched(anvil))
    read(index)
    before = dump(sessions)
    index.rebuild()
    assert dump(sessions) == before


@pytest.mark.parametrize("shorter", [False, True])
def test_a_chain_that_begins_anew_is_read_anew(tmp_path: Path, shorter: bool) -> None:
    """A development chain: same number, same addresses, other blocks. The worker runs on."""
    with running_chain() as first, sessions_on(f"sqlite:///{tmp_path / 'portal.db'}") as sessions:
        contracts = Switched(first)
        index = Index(sessions, contracts)
        old = license_on(first)
        if shorter:
            first.rpc.call("anvil_mine", [hex(1100)])
        read(index)
        # The first block holds the second at which its node was started.
        time.sleep(1)
    with running_chain() as second:
        new = license_on(second, "4712")
        assert second.licenses.address == first.licenses.address
        contracts.node.rpc = second.rpc
        with capture_logs() as logs:
            for _ in range(8):
                index.step()
                index._next = 0.0
        assert [log["because"] for log in logs if log["event"] == "index_reads_anew"] == ["chain_restarted"]
        with sessions() as session:
            assert picture.license(session, format_id(old)) is None
            found = picture.license(session, format_id(new))
            assert found is not None
            assert (found.used, found.remaining) == (1, 2)


def test_other_contracts_on_the_same_chain_are_read_anew(
    anvil: Chain, sessions: sessionmaker[Session]
) -> None:
    license_on(anvil, "4713")
    read(Index(sessions, Switched(anvil)))
    licenses, devices = deploy_contracts(anvil.rpc)
    other = replace(anvil, licenses=licenses, devices=devices)
    id = license_on(other, "4714")
    with capture_logs() as logs:
        read(Index(sessions, Switched(other)))
    assert [log["because"] for log in logs if log["event"] == "index_reads_anew"] == ["contracts_changed"]
    assert [row[0] for row in dump(sessions)["chain_license"]] == [format_id(id)]


def test_another_chain_is_an_alarm_and_nothing_is_deleted(
    anvil: Chain, sessions: sessionmaker[Session]
) -> None:
    """More likely a wrong setting."""
    license_on(anvil, "4715")
    read(Index(sessions, Switched(anvil)))
    before = dump(sessions)
    contracts, clock = Switched(anvil), Clock()

    class OtherChain(Switch):
        def call(self, method: str, params: list[Any]) -> Any:
            return "0x7a69aa" if method == "eth_chainId" else super().call(method, params)

    contracts.node = OtherChain(anvil.rpc)
    index = Index(sessions, contracts, clock=clock)
    with capture_logs() as logs:
        for _ in range(3):
            assert not index.step()
            clock.now += LONGEST_WAIT + 1
    assert [(log["log_level"], log["event"], log["kind"]) for log in logs] == [
        ("error", "index_alarm", "OtherIndex")
    ]
    assert dump(sessions) == before


def test_a_node_that_is_down_is_waited_for(anvil: Chain, sessions: sessionmaker[Session]) -> None:
    """Told once, and asked less and less often; pages say since when."""
    contracts, clock = Switched(anvil), Clock()
    index = Index(sessions, contracts, clock=clock)
    read(index)
    contracts.node.rpc = None
    id = license_on(anvil, "4716")
    asked = 0
    with capture_logs() as logs:
        for _ in range(200):
            clock.now += 0.5
            asked += clock.now >= index._next
            assert not index.step()
        assert [log["kind"] for log in logs] == ["NodeUnreachable"]
        assert asked < 12
        contracts.node.rpc = anvil.rpc
        clock.now += LONGEST_WAIT
        read(index)
        assert [log["event"] for log in logs] == ["index_waits", "index_goes_on"]
    with sessions() as session:
        assert picture.remaining(session, [format_id(id), "0x" + "0" * 64]) == {format_id(id): 2}


def test_a_reorganisation_that_is_too_deep_is_an_alarm(anvil: Chain, sessions: sessionmaker[Session]) -> None:
    """On the same chain it can't be: somebody has to look, and to have it read anew."""
    clock = Clock()
    index = Index(sessions, Switched(anvil), clock=clock)
    gone = license_on(anvil, "4717")
    for _ in range(3):
        anvil.rpc.call("evm_mine", [])
    read(index)
    with sessions.begin() as session:
        newest = session.scalar(sa.select(sa.func.max(ChainBlock.number)))
        # As after 1024 blocks.
        session.execute(sa.delete(ChainBlock).where(ChainBlock.number < newest))
    anvil.rpc.call("anvil_reorg", [6, []])
    before = dump(sessions)
    with capture_logs() as logs:
        for _ in range(3):
            assert not index.step()
            clock.now += LONGEST_WAIT + 1
    assert [(log["log_level"], log["kind"]) for log in logs] == [("error", "ReorgTooDeep")]
    assert "flask rebuild-index" in logs[0]["advice"]
    assert dump(sessions) == before
    index.rebuild()
    with sessions() as session:
        left = anvil.licenses.license_of(gone)
        found = picture.license(session, format_id(gone))
        assert (found and (found.remaining, found.used)) == (left and (left.remaining, left.used))


def test_rebuilding_gives_up_when_the_node_stays_away(anvil: Chain, sessions: sessionmaker[Session]) -> None:
    contracts = Switched(anvil)
    index = Index(sessions, contracts, clock=Clock())
    read(index)
    contracts.node.rpc = None
    with pytest.raises(NodeUnreachable):
        index.rebuild()


def test_the_command(app: Flask, chain: TestChain, owner: Party, machine: KeySigner) -> None:
    """Before and after it everything is the same, even when somebody wrote nonsense into the tables."""
    id = issue(chain, owner.signer, machine.address, "N-1", copies=2)
    chain.send(machine, chain.licenses.use_license_call(id, FILE))
    with app.app_context():
        sessions = db.sessionmaker
        read(Index(sessions, app.extensions["imprimatur"].chain))
    before = dump(sessions)
    with sessions.begin() as session:
        session.execute(sa.update(ChainLicense).values(remaining=99))
        session.execute(sa.delete(ChainUse))
    assert dump(sessions) != before
    done = app.test_cli_runner().invoke(args=["rebuild-index"])
    assert done.exit_code == 0, done.output
    assert "Read up to block" in done.output
    assert dump(sessions) == before

    chain.node.down = True
    failed = app.test_cli_runner().invoke(args=["rebuild-index"])
    assert failed.exit_code == 1
    assert "the worker goes on" in failed.output
    chain.node.down = False
    with app.app_context():
        read(Index(sessions, app.extensions["imprimatur"].chain))
    assert dump(sessions) == before
