"""What an outbox relies on, with the library's SQLite and the portal's tables on SQLite and PostgreSQL."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import sessionmaker

from app.models import Base
from app.services import outbox_store
from imprimatur.chain.outbox import Attempt, Call, Intent, Sender, State, Transactions, sqlite_transactions

CHAIN = 100
SENDER = Sender(CHAIN, "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf")
OTHER = Sender(CHAIN, "0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF")
CALL = Call("0x6813Eb9362372EEF6200f3b1dbC3f819671cBA69", "0xabcd", 2**200, 50_000)


class Stop(Exception):
    """Ends a transaction."""


@pytest.fixture(params=["library", "sqlite", "postgresql"])
def transactions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Transactions]:
    if request.param == "library":
        yield sqlite_transactions(tmp_path / "outbox.db")
        return
    url = f"sqlite:///{tmp_path / 'portal.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    engine = sa.create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    yield outbox_store.transactions(sessionmaker(engine))
    engine.dispose()


def attempt(nonce: int, name: str = "a", **values: object) -> Attempt:
    fields = {
        "hash": f"0x{name}{nonce:060x}",
        "raw": bytes(range(256)),
        "nonce": nonce,
        "max_fee": 3 * 10**18,
        "tip": 7,
        "cancels": False,
        "signed_at": 1.5,
        "head": 2**40,
    }
    return Attempt(**fields | values)  # type: ignore[arg-type]


def sent(transactions: Transactions, key: str, nonce: int) -> Intent:
    """An intent with a signed transaction."""
    with transactions() as store:
        queued = store.add(SENDER, key, CALL)
        after = replace(queued, state=State.SENT, nonce=nonce, attempts=(attempt(nonce),))
        assert store.update(SENDER, after, queued)
        store.add_attempt(SENDER, after, attempt(nonce))
    return after


def test_a_wish_is_one_row(transactions: Transactions) -> None:
    with transactions() as store:
        first = store.add(SENDER, "a", CALL)
        again = store.add(SENDER, "a", Call(CALL.to))
        other = store.add(SENDER, "b", None)
    assert first == again
    assert first.call == CALL
    assert (other.call, other.state, other.id > first.id) == (None, State.QUEUED, True)


def test_what_raises_leaves_nothing(transactions: Transactions) -> None:
    def give_up() -> None:
        with transactions() as store:
            store.add(SENDER, "a", CALL)
            store.next_nonce(SENDER, 0)
            raise Stop

    with pytest.raises(Stop):
        give_up()
    with transactions() as store:
        assert store.find(SENDER, "a") is None


def test_everything_comes_back(transactions: Transactions) -> None:
    before = sent(transactions, "a", 5)
    mined = replace(
        before,
        state=State.MINED,
        tries=2,
        transaction_hash="0x" + "1" * 64,
        block_number=2**40,
        block_hash="0x" + "2" * 64,
        reason="node_refused",
        facts={"message": "ä", "number": 3},
    )
    with transactions() as store:
        assert store.update(SENDER, mined, before)
    with transactions() as store:
        assert store.in_flight(SENDER) == [mined]
        assert store.find(SENDER, "a") == mined


def test_only_from_the_state_that_was_seen(transactions: Transactions) -> None:
    before = sent(transactions, "a", 0)
    with transactions() as store:
        done = replace(before, state=State.DONE)
        for other in ({"state": State.MINED}, {"nonce": 1}, {"nonce": None}, {"transaction_hash": "0x1"}):
            assert not store.update(SENDER, done, replace(before, **other))  # type: ignore[arg-type]
        assert store.update(SENDER, done, before)
        assert not store.update(SENDER, before, before)
        found = store.find(SENDER, "a")
    assert found is not None
    assert found.state is State.DONE


def test_what_nobody_can_send_comes_last(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Only the first few are looked at, so that they would keep all others waiting for ever."""
    for url in (f"sqlite:///{tmp_path / 'last.db'}", request.getfixturevalue("postgres")):
        engine = sa.create_engine(url)
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)
        transactions = outbox_store.transactions(sessionmaker(engine))
        with transactions() as store:
            before = [store.add(SENDER, f"issue:{place}", None) for place in range(4)]
        with transactions() as store:
            for intent in before[:3]:
                assert store.update(SENDER, replace(intent, reason="unexpected"), intent)
        with transactions() as store:
            assert [intent.key[-1] for intent in store.queued(SENDER, 2)] == ["3", "0"]
        engine.dispose()


def test_nonces_are_never_given_twice(transactions: Transactions) -> None:
    with transactions() as store:
        assert store.next_nonce(SENDER, 4) == 4
    before = sent(transactions, "a", 7)
    with transactions() as store:
        assert store.next_nonce(SENDER, 4) == 8
        assert store.next_nonce(SENDER, 20) == 20
        # Also not when its intent has given it up.
        assert store.update(SENDER, replace(before, state=State.QUEUED, nonce=None), before)
        assert store.next_nonce(SENDER, 4) == 8
        assert store.next_nonce(OTHER, 4) == 4


def test_an_intent_shows_the_attempts_of_its_nonce(transactions: Transactions) -> None:
    before = sent(transactions, "a", 1)
    raised = attempt(1, "b", max_fee=4 * 10**18)
    with transactions() as store:
        store.add_attempt(SENDER, before, raised)
    with transactions() as store:
        (found,) = store.in_flight(SENDER)
        assert found.attempts == (attempt(1), raised)
        assert found.newest == raised
        given_up = replace(before, state=State.QUEUED, nonce=None, attempts=())
        assert store.update(SENDER, given_up, before)
        (waiting,) = store.queued(SENDER, 9)
        assert waiting.attempts == ()


def test_lists(transactions: Transactions) -> None:
    for nonce in (3, 1, 2):
        sent(transactions, f"n{nonce}", nonce)
    with transactions() as store:
        for key in ("x", "y", "z"):
            store.add(SENDER, key, CALL)
    with transactions() as store:
        assert [i.nonce for i in store.in_flight(SENDER)] == [1, 2, 3]
        assert [i.key for i in store.queued(SENDER, 2)] == ["x", "y"]
        assert store.queued(SENDER, 0) == []
        assert store.settled_from(SENDER, 0, 9) == []
        for state, intent in zip((State.DONE, State.FAILED), store.in_flight(SENDER), strict=False):
            store.update(SENDER, replace(intent, state=state), intent)
        assert [i.nonce for i in store.settled_from(SENDER, 2, 9)] == [2]
        assert [i.nonce for i in store.settled_from(SENDER, 0, 1)] == [1]
        assert store.count(SENDER) == {State.DONE: 1, State.FAILED: 1, State.SENT: 1, State.QUEUED: 3}


def test_cancelling(transactions: Transactions) -> None:
    before = sent(transactions, "mined", 1)
    sent(transactions, "sent", 0)
    with transactions() as store:
        store.update(SENDER, replace(before, state=State.MINED), before)
        store.add(SENDER, "queued", CALL)
    with transactions() as store:
        found = {key: store.cancel(SENDER, key) for key in ("sent", "mined", "queued", "unknown")}
        again = store.cancel(SENDER, "queued")
    assert found.pop("unknown") is None
    outcome = {key: (f[0].state, f[0].cancelling, f[1]) for key, f in found.items() if f}
    assert outcome == {
        "sent": (State.SENT, True, False),
        "mined": (State.MINED, True, False),
        "queued": (State.CANCELLED, False, True),
    }
    assert again is not None
    assert not again[1], "it was ended before"


def test_a_cancelled_wish_cannot_be_signed(transactions: Transactions) -> None:
    with transactions() as store:
        queued = store.add(SENDER, "a", CALL)
    with transactions() as store:
        store.cancel(SENDER, "a")
    with transactions() as store:
        assert not store.update(SENDER, replace(queued, state=State.SENT, nonce=0), queued)


def test_one_account_on_two_chains(transactions: Transactions) -> None:
    """Nonces of one chain say nothing about another's."""
    sent(transactions, "a", 0)
    elsewhere = Sender(CHAIN + 1, SENDER.address)
    with transactions() as store:
        queued = store.add(elsewhere, "b", CALL)
        nonce = store.next_nonce(elsewhere, 0)
        assert nonce == 0
        after = replace(queued, state=State.SENT, nonce=nonce)
        assert store.update(elsewhere, after, queued)
        store.add_attempt(elsewhere, after, attempt(nonce, "b"))
    with transactions() as store:
        assert [i.key for i in store.in_flight(SENDER)] == ["a"]
        assert [i.key for i in store.in_flight(elsewhere)] == ["b"]


def test_two_at_once_get_different_nonces(transactions: Transactions) -> None:
    """Reading the highest nonce and writing the next is one thing, whoever else does the same."""
    ready, failures = threading.Barrier(2), []

    def sign(name: str) -> None:
        try:
            ready.wait(5)
            for n in range(10):
                with transactions() as store:
                    intent = store.add(SENDER, f"{name}{n}", CALL)
                    nonce = store.next_nonce(SENDER, 0)
                    assert store.update(SENDER, replace(intent, state=State.SENT, nonce=nonce), intent)
                    store.add_attempt(SENDER, intent, attempt(nonce, name))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=sign, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with transactions() as store:
        assert [intent.nonce for intent in store.in_flight(SENDER)] == list(range(20))
