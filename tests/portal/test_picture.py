"""The picture of licenses, prints and devices is what the events say, whatever was read and taken back."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from library.audited.history import ARGUMENTS, DEVICES, FLAGS, IDS, WALLETS, state_of, with_devices
from library.indexer.activity import FILE_HASH, Activity
from portal.index_stage import Clock, Switched, dump, read, sessions_on
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import StaticPool

from app.models import Base, ChainClaim, ChainLicense
from app.models.base import now
from app.services import picture
from app.services.event_store import SqlEventStore
from app.services.index import Index
from app.services.picture import FRESH_FOR, LAG, Freshness
from imprimatur.audit import Replay
from imprimatur.chain.events import Block
from imprimatur.chain.orders import Order
from imprimatur.license_id import format_id
from support.node import Chain, running_chain

PRINTING = [*ARGUMENTS, *["use"] * 14, *["fail"] * 8, *["grant"] * 3, "transfer", "revoke"]


@contextmanager
def memory() -> Iterator[sessionmaker[Session]]:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    yield sessionmaker(engine)
    engine.dispose()


def block(number: int) -> Block:
    return Block(number, f"0x{number:064x}")


class Branches:
    """A history of the contracts' twin that can go back to any of its blocks, and tables that follow it."""

    def __init__(self, sessions: sessionmaker[Session], random: Random) -> None:
        self.random = random
        self.store = SqlEventStore(sessions)
        self.store.claim("this")
        self.history = with_devices()
        for id in IDS:
            terms = random.randint(2, 5), 0, random.choice(FLAGS), random.randint(0, 4)
            self.history.do(1, "issue", id, random.choice(WALLETS), *terms)
        self.past = {self.history.blocks: copy.deepcopy(self.history)}
        self.read: Block | None = None

    def grow(self, blocks: int) -> None:
        for _ in range(blocks):
            kind = self.random.choice(PRINTING)
            self.history.do(self.random.randint(0, 3), kind, *ARGUMENTS[kind](self.random))
            self.past[self.history.blocks] = copy.deepcopy(self.history)

    def apply(self) -> None:
        """Read all blocks that weren't read."""
        first = 1 if self.read is None else self.read.number + 1
        blocks = [block(number) for number in range(first, self.history.blocks + 1)]
        if blocks:
            rows = [row for row in self.history.rows if row.block_number >= first]
            self.store.apply(rows, blocks, self.read, keep=10**6)
            self.read = blocks[-1]

    def reorganise(self) -> None:
        """The chain goes back to some block, and so do the tables, now and then to the very first."""
        assert self.read is not None
        number = self.random.choice(list(self.past))
        self.history = copy.deepcopy(self.past[number])
        self.past = {known: past for known, past in self.past.items() if known <= number}
        if number < self.read.number:
            to = None if self.random.random() < 0.1 else block(number)
            self.store.rollback(to, self.read)
            self.read = to


def drawn(sessions: sessionmaker[Session]) -> dict[str, tuple[Any, ...]]:
    """What the twin knows too."""
    with sessions() as session:
        return {
            row.id: (row.printer, row.flags, row.used, row.remaining, row.failed, row.failed_window)
            for row in session.scalars(sa.select(ChainLicense))
        }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_after_anything_it_is_what_a_fresh_reading_gives(seed: int) -> None:
    """And what the contracts' readable twin has in its state."""
    with memory() as sessions, memory() as others:
        branches = Branches(sessions, Random(seed))
        branches.apply()
        for _ in range(12):
            branches.grow(branches.random.randint(1, 6))
            branches.apply()
            assert drawn(sessions) == state_of(branches.history)
            if branches.random.random() < 0.4:
                branches.reorganise()
                branches.apply()
                assert drawn(sessions) == state_of(branches.history)
        fresh = SqlEventStore(others)
        fresh.claim("this")
        assert branches.read is not None
        fresh.apply(branches.history.rows, [branches.read], None, keep=1)
        assert dump(sessions) == dump(others)
        with sessions() as session:
            assert picture.conservation(session).holds
            assert picture.unbalanced(session, 9) == []
            wallets = {device: picture.wallet_of(session, device) for device in DEVICES}
        assert {device: wallet for device, wallet in wallets.items() if wallet} == {
            device: wallet for device, wallet in branches.history.devices.wallets.items() if device in DEVICES
        }


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_copies_are_as_the_audit_replays_them(seed: int) -> None:
    """Read in small parts, each with only the state that it can change: the same as all at once in memory."""
    with memory() as sessions:
        branches = Branches(sessions, Random(seed))
        for _ in range(15):
            branches.apply()
            branches.grow(branches.random.randint(1, 3))
        branches.apply()
        replay = Replay()
        for row in branches.history.rows:
            replay.apply(row)
        with sessions() as session:
            for id, history in replay.licenses.items():
                uses = picture.uses(session, id)
                assert [
                    (
                        use.copy,
                        use.device,
                        use.wallet,
                        use.file_hash,
                        use.key_recipient,
                        use.sender,
                        use.commitment,
                        use.encrypted_serial is not None,
                        use.replaced,
                        (use.failed_block, use.failed_at, use.failure_evidence),
                        (use.block_number, use.timestamp, use.transaction_hash),
                    )
                    for use in uses
                ] == [
                    (
                        one.number,
                        one.device,
                        one.wallet,
                        one.file_hash,
                        one.key_recipient,
                        one.sender,
                        one.commitment,
                        one.commitment is not None,
                        one.replaced,
                        (
                            one.failed and one.failed.block,
                            one.failed and one.failed.time,
                            one.failure_evidence,
                        ),
                        (one.place.block, one.place.time, one.place.transaction),
                    )
                    for one in history.copies
                ]


def test_the_histories_hold_what_they_are_about() -> None:
    """Else the properties above say little."""
    seen: dict[str, int] = {}
    for seed in range(15):
        with memory() as sessions:
            branches = Branches(sessions, Random(seed))
            branches.grow(60)
            for row in branches.history.rows:
                seen[row.name] = seen.get(row.name, 0) + 1
    needed = ("PrintFailed", "CopiesGranted", "LicenseRevoked", "LicenseTransferred", "DeviceUnbound")
    assert {name: seen.get(name, 0) for name in (*needed, "SerialRegistered") if seen.get(name, 0) < 10} == {}


# --- a real node --------------------------------------------------------------------------------------------


class Busy(Activity):
    """Prints with serials, failures, grants and devices besides."""

    def orders(self, count: int) -> list[Order]:
        return [replace(order, failures_allowed=3) for order in super().orders(count)]

    def _transaction(self) -> dict[str, Any]:
        random, licenses = self.random, self.chain.licenses
        if not self.ids or random.random() < 0.3:
            return super()._transaction()
        id = random.choice(self.ids[-6:])
        known = licenses.license_of(id)
        used, sender = (0, self.accounts[1]) if known is None else (known.used, known.printer)
        kind = random.choice(("use", "use", "fail", "fail", "grant"))
        if kind == "fail" and used:
            data = licenses.report_failure_call(id, used, random.randbytes(32))
        elif kind == "grant":
            data, sender = licenses.grant_copies_call(id, 2), self.accounts[0]
        else:
            words = [random.randbytes(32) for _ in range(3)]
            data = licenses.use_license_and_log_call(id, FILE_HASH, used + 1, *words)
        return {"from": sender, "to": licenses.address, "data": data}


def test_a_node_that_reorganises(tmp_path: Path, postgres: str) -> None:
    """Blocks are replaced under the index's eyes: the picture equals a fresh one, and the contract."""
    random = Random(11)
    urls = postgres, f"sqlite:///{tmp_path / 'fresh.db'}"
    with running_chain() as chain, sessions_on(urls[0]) as live, sessions_on(urls[1]) as fresh:
        activity, contracts = Busy(chain, random), Switched(chain)
        index = Index(live, contracts)
        snapshots: list[str] = []
        replaced = 0
        for _ in range(50):
            kind = random.random()
            if kind < 0.15 and snapshots:
                place = max(0, len(snapshots) - random.randrange(1, 5))
                # anvil forgets the snapshots after the one that it goes back to.
                assert chain.rpc.call("evm_revert", [snapshots[place]])
                del snapshots[place:]
                replaced += 1
            elif kind < 0.25 and int(chain.rpc.call("eth_blockNumber", []), 16) > chain.licenses.since + 4:
                chain.rpc.call("anvil_reorg", [random.randrange(1, 4), []])
                snapshots.clear()
                replaced += 1
            else:
                snapshots.append(chain.rpc.call("evm_snapshot", []))
                activity.block(random.choice((1, 3)))
            # What a branch took with it can't be printed.
            activity.ids = [id for id in activity.ids if chain.licenses.license_of(id)]
            if random.random() < 0.7:
                read(index)
        for _ in range(4):
            activity.block(3)
        assert replaced > 5
        read(index)
        read(Index(fresh, contracts))
        assert dump(live) == dump(fresh)
        with live() as session:
            rows = session.scalars(sa.select(ChainLicense)).all()
            assert {row.id for row in rows} == {
                format_id(event.values["id"]) for event in chain.licenses.events("LicenseIssued")
            }
            for row in rows:
                known = chain.licenses.license_of(int(row.id, 16))
                assert known is not None
                assert (row.remaining, row.used, row.failed, row.failed_window, row.flags, row.printer) == (
                    known.remaining,
                    known.used,
                    known.failed,
                    known.failed_window,
                    known.flags,
                    known.printer,
                )
            assert sum(row.failed for row in rows) == session.scalar(
                sa.text("SELECT count(*) FROM chain_use WHERE failed_block IS NOT NULL")
            )
            balance = picture.conservation(session)
            assert balance.holds
            assert min(balance.used, balance.failed, balance.granted) > 2


def test_prints_come_back_in_another_order(anvil: Chain, tmp_path: Path) -> None:
    """Two devices of one wallet: whose copy is the first is what the chain says at last."""
    owner, wallet, first, second = (anvil.account() for _ in range(4))
    for device in (first, second):
        anvil.bind(wallet, device)
    id = anvil.issue(owner, wallet.address, FILE_HASH, 3, "order")
    use = anvil.licenses.use_license_call(id, FILE_HASH)
    with sessions_on(f"sqlite:///{tmp_path / 'portal.db'}") as sessions:
        index = Index(sessions, Switched(anvil))

        def copies() -> list[str]:
            read(index)
            with sessions() as session:
                found = picture.license(session, format_id(id))
                uses = picture.uses(session, format_id(id))
                assert found is not None
                assert (found.used, found.remaining) == (len(uses), 3 - len(uses))
                return [one.device for one in uses]

        snapshot = anvil.rpc.call("evm_snapshot", [])
        for device in (first, second):
            anvil.send(device, use)
        assert copies() == [first.address, second.address]
        assert anvil.rpc.call("evm_revert", [snapshot])
        anvil.rpc.call("evm_mine", [])
        assert copies() == []
        for device in (second, first):
            anvil.send(device, use)
        assert copies() == [second.address, first.address]
        with sessions() as session:
            assert picture.wallet_of(session, first.address) == wallet.address


# --- how old it is ------------------------------------------------------------------------------------------


def test_it_says_up_to_where_it_goes(anvil: Chain, tmp_path: Path) -> None:
    with sessions_on(f"sqlite:///{tmp_path / 'portal.db'}") as sessions, sessions() as session:
        assert picture.standing(session, now()) == picture.Standing(Freshness.EMPTY, None)
        clock, contracts = Clock(), Switched(anvil)
        index = Index(sessions, contracts, clock=clock)
        read(index)
        head = int(anvil.rpc.call("eth_blockNumber", []), 16)
        found = picture.standing(session, now())
        assert (found.freshness, found.block, found.missing) == (Freshness.CURRENT, head, 0)
        assert (found.contract or "").lower() == anvil.licenses.address.lower()
        assert found.looked_at is not None
        later = found.looked_at + FRESH_FOR
        assert picture.standing(session, later).freshness is Freshness.CURRENT
        assert picture.standing(session, 2 * FRESH_FOR + later).freshness is Freshness.OLD
        # Somebody looked, and the chain is farther.
        session.execute(sa.update(ChainClaim).values(head=head + LAG + 1))
        behind = picture.standing(session, later)
        assert (behind.freshness, behind.missing) == (Freshness.BEHIND, LAG + 1)
