"""A node that forgets blocks: killed before it saved its state, restored from a backup, reorganised."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from portal.stage import queue
from sqlalchemy.orm import Session, sessionmaker

from app.models import Intent, IntentState, License
from app.services import outbox
from app.services.outbox import order_outbox
from imprimatur.chain.outbox import Outbox
from imprimatur.chain.outbox.records import IN_FLIGHT
from imprimatur.chain.print_license import Right
from imprimatur.chain.signers import KeySigner
from support.node import Chain
from support.settle import settle


@dataclass
class Portal:
    """A database, a worker's outbox and an owner who lets it issue."""

    sessions: sessionmaker[Session]
    outbox: Outbox
    chain: Chain
    owner: KeySigner
    operator: KeySigner

    def order(self, *numbers: str) -> None:
        with self.sessions() as session:
            queue(session, self.owner.address, list(numbers))

    def settle(self) -> None:
        settle(self.outbox)

    def states(self) -> dict[str, tuple[IntentState, str | None]]:
        with self.sessions() as session:
            rows = session.execute(sa.select(License.number, Intent.state, Intent.reason).join(Intent))
            return {number: (state, reason) for number, state, reason in rows}

    def on_chain(self) -> list[str]:
        """Numbers of the owner's licenses, in the order of their events."""
        events = self.chain.licenses.events("LicenseIssued")
        with self.sessions() as session:
            numbers = {int(row.id, 16): row.number for row in session.scalars(sa.select(License))}
        return [numbers[e.values["id"]] for e in events if e.values["id"] in numbers]

    def sent(self) -> int:
        return int(self.chain.rpc.call("eth_getTransactionCount", [self.operator.address, "latest"]), 16)

    def in_flight(self) -> int:
        with self.sessions() as session:
            return session.query(Intent).filter(Intent.state.in_(IN_FLIGHT)).count()


@pytest.fixture
def portal(anvil: Chain, tmp_path: Path, template_database: bytes) -> Iterator[Portal]:
    (tmp_path / "portal.db").write_bytes(template_database)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'portal.db'}")
    sessions = sessionmaker(engine, expire_on_commit=False)
    owner, operator = anvil.account(), anvil.account()
    until = int(time.time()) + 10 * outbox.ORDER_LIFETIME
    anvil.send(owner, anvil.licenses.set_operator_call(owner.address, operator.address, Right.ISSUE, until))
    yield Portal(sessions, order_outbox(sessions, anvil.licenses, operator), anvil, owner, operator)
    engine.dispose()


def snapshot(portal: Portal) -> str:
    return str(portal.chain.rpc.call("evm_snapshot", []))


def forget(portal: Portal, since: str) -> None:
    assert portal.chain.rpc.call("evm_revert", [since])


DONE = (IntentState.DONE, None)


def test_a_lost_order_is_sent_again_before_the_next_one(portal: Portal) -> None:
    before = snapshot(portal)
    portal.order("A-1")
    portal.settle()
    assert portal.on_chain() == ["A-1"]
    forget(portal, before)
    assert portal.on_chain() == []
    portal.order("A-2")
    portal.settle()
    assert portal.states() == {"A-1": DONE, "A-2": DONE}
    assert portal.on_chain() == ["A-1", "A-2"]
    assert portal.sent() == 2, "the same bytes again, then the new ones"
    assert portal.in_flight() == 0


def test_many_lost_orders_come_back_in_their_order(portal: Portal) -> None:
    portal.order("A-0")
    portal.settle()
    before = snapshot(portal)
    portal.order("A-1", "A-2", "A-3")
    portal.settle()
    forget(portal, before)
    portal.order("A-4")
    portal.settle()
    numbers = [f"A-{n}" for n in range(5)]
    assert portal.states() == dict.fromkeys(numbers, DONE)
    assert portal.on_chain() == numbers
    assert portal.sent() == 5


def test_an_order_under_way_waits_for_the_lost_ones(portal: Portal) -> None:
    """What was signed last has a nonce after the gap; nothing new is ordered."""
    before = snapshot(portal)
    portal.order("A-1", "A-2")
    portal.settle()
    portal.order("A-3")

    class Stop(Exception):
        pass

    def stop(name: str) -> None:
        if name == "committed":
            raise Stop

    with pytest.raises(Stop):
        order_outbox(portal.sessions, portal.chain.licenses, portal.operator, checkpoint=stop).step()
    forget(portal, before)
    portal.settle()
    assert portal.states() == dict.fromkeys(("A-1", "A-2", "A-3"), DONE)
    assert portal.on_chain() == ["A-1", "A-2", "A-3"]
    assert portal.sent() == 3


def test_lost_bytes_that_come_too_late_are_signed_anew(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(portal)
    monkeypatch.setattr(outbox, "ORDER_LIFETIME", 60)
    portal.order("A-1")
    portal.settle()
    forget(portal, before)
    monkeypatch.setattr(outbox, "ORDER_LIFETIME", 7200)
    portal.chain.rpc.call("evm_increaseTime", [600])
    portal.order("A-2")
    portal.settle()
    assert portal.states() == {"A-1": DONE, "A-2": DONE}
    assert sorted(portal.on_chain()) == ["A-1", "A-2"]
    assert portal.sent() == 3, "one of them reverted: its deadline had passed"


def test_a_lost_transaction_whose_license_came_otherwise(portal: Portal) -> None:
    """The owner issued the same license herself meanwhile: the bytes revert, and that is success."""
    before = snapshot(portal)
    portal.order("A-1")
    portal.settle()
    with portal.sessions() as session:
        lost = session.query(License).one()
    forget(portal, before)
    manifest = bytes.fromhex(lost.manifest_hash or "")
    portal.chain.issue(
        portal.owner, lost.printer_address, lost.file_hash, lost.copies, "A-1", manifest_hash=manifest
    )
    portal.order("A-2")
    portal.settle()
    assert portal.states() == {"A-1": DONE, "A-2": DONE}
    assert portal.on_chain() == ["A-1", "A-2"]
    assert portal.chain.licenses.license_of(int(lost.id, 16)) is not None


@pytest.mark.parametrize("fatal", ["looked", "recorded"])
def test_a_crash_while_bringing_back(portal: Portal, fatal: str) -> None:
    before = snapshot(portal)
    portal.order("A-1", "A-2")
    portal.settle()
    forget(portal, before)
    portal.order("A-3")

    class Stop(Exception):
        pass

    def stop(name: str) -> None:
        if name == fatal:
            raise Stop

    with pytest.raises(Stop):
        order_outbox(portal.sessions, portal.chain.licenses, portal.operator, checkpoint=stop).step()
    portal.settle()
    assert portal.states() == dict.fromkeys(("A-1", "A-2", "A-3"), DONE)
    assert portal.on_chain() == ["A-1", "A-2", "A-3"]
    assert portal.sent() == 3
