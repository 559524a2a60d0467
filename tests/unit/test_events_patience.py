"""How long an indexer waits for a node that is busy, silent, unwilling or confused."""

import gc
import sqlite3
import threading

import pytest

from imprimatur.chain.events import Indexer, NodeInconsistent, Source, SqliteEventStore
from imprimatur.chain.rpc import NodeBusy, NodeRefused, NodeUnreachable

ADDRESS = "0x" + "5b" * 20


def hash_of(number):
    return f"0x{number + 1:064x}"


class EmptyChain:
    """Blocks without events; `moods` says what happens instead of the next answers."""

    def __init__(self, head, *moods):
        self.head = head
        self.moods = list(moods)
        self.largest_range = 1000
        self.ranges = []

    def call(self, method, params):
        return "0x1"

    def batch(self, calls):
        mood = self.moods.pop(0) if self.moods else None
        if isinstance(mood, Exception):
            raise mood
        return [self._answer(*call) for call in calls]

    def _answer(self, method, params):
        if method == "eth_getLogs":
            first, last = (int(params[0][key], 16) for key in ("fromBlock", "toBlock"))
            self.ranges.append(last - first + 1)
            if self.ranges[-1] > self.largest_range:
                return NodeRefused(-32005, "query returned more than 10000 results")
            return []
        number = self.head if params[0] == "latest" else int(params[0], 16)
        if number > self.head:
            return None
        return {
            "number": hex(number),
            "hash": hash_of(number),
            "parentHash": hash_of(number - 1),
            "timestamp": "0x1",
            "logsBloom": "0x0",
        }


class Stop:
    """Ends `follow` after some waits, without waiting."""

    def __init__(self, waits):
        self.left = waits
        self.pauses = []

    def wait(self, seconds):
        self.pauses.append(seconds)
        self.left -= 1
        return self.left < 0


@pytest.fixture
def store():
    connection = sqlite3.connect(":memory:")
    yield SqliteEventStore(connection)
    connection.close()


def indexer(node, store, **options):
    return Indexer(node, [Source("PrintLicense", ADDRESS, 0)], store, **options)


def test_follow_waits_out_trouble_and_comes_back(store):
    node = EmptyChain(3, NodeUnreachable("lost"), NodeUnreachable("lost"), NodeBusy(429, 7.0), NodeBusy(503))
    told, stop = [], Stop(7)
    indexer(node, store).follow(stop, poll=0.5, tell=told.append)
    assert stop.pauses == [0.0, 1.0, 2.0, 7.0, 8.0, 0.5, 0.5, 0.5]
    assert [type(something).__name__ for something in told] == [
        "NodeUnreachable",
        "NodeUnreachable",
        "NodeBusy",
        "NodeBusy",
        "Progress",
        "Progress",
        "Progress",
    ]
    assert store.top().number == 3


def test_pauses_have_an_end(store):
    stop = Stop(40)
    indexer(EmptyChain(3, *[NodeUnreachable("lost")] * 100), store).follow(stop, poll=1.0)
    assert max(stop.pauses) == stop.pauses[-1] == 60


def test_contradictions_end_the_following(store):
    stop = Stop(40)
    with pytest.raises(NodeInconsistent):
        indexer(EmptyChain(3, *[NodeInconsistent(1, "confused")] * 100), store).follow(stop, poll=1.0)
    assert len(stop.pauses) == 5


@pytest.mark.parametrize("error", [NodeUnreachable("lost"), NodeInconsistent(1, "confused")])
def test_catching_up_gives_up_after_some_attempts(store, error):
    assert indexer(EmptyChain(3, *[error] * 4), store).catch_up().top.number == 3
    with pytest.raises(type(error)):
        indexer(EmptyChain(9, *[error] * 5), store).catch_up()


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_ranges_become_as_small_as_the_node_wants(store, limit):
    node = EmptyChain(100)
    node.largest_range = limit
    assert indexer(node, store).catch_up().top.number == 100
    assert sum(size for size in node.ranges if size <= limit) >= 101


def test_a_refusal_of_one_block_is_an_error(store):
    node = EmptyChain(100)
    node.largest_range = 0
    with pytest.raises(NodeRefused, match="10000"):
        indexer(node, store).catch_up()
    assert node.ranges == [4, 2, 1]
    assert store.top() is None


def test_nothing_to_do_before_the_first_block(store):
    late = Indexer(EmptyChain(3), [Source("PrintLicense", ADDRESS, 10)], store)
    progress = late.catch_up()
    assert progress.top is None
    assert not progress.more


class Boastful(EmptyChain):
    """A balancer: who tells the head has more blocks than who answers for them, for some answers."""

    def __init__(self, head, told, lagging):
        super().__init__(head)
        self.told = told
        self.lagging = lagging

    def _answer(self, method, params):
        if params[0] == "latest":
            self.head, real = self.told, self.head
            found = super()._answer(method, params)
            self.lagging -= 1
            self.head = self.told if self.lagging <= 0 else real
            return found
        return super()._answer(method, params)


def test_catching_up_is_not_content_with_less_than_it_was_told(store):
    assert indexer(Boastful(4, 33, lagging=4), store).catch_up().top.number == 33


def test_a_block_that_never_comes_is_a_contradiction(store):
    with pytest.raises(NodeInconsistent, match="doesn't have all up to it"):
        indexer(Boastful(4, 33, lagging=99), store).catch_up()
    assert store.top().number == 4


def test_reading_ahead_keeps_no_thread_alive(store):
    reader = indexer(EmptyChain(200), store, ahead=True, largest_window=16)
    assert reader.catch_up().top.number == 200
    (thread,) = [t for t in threading.enumerate() if t.name.startswith("imprimatur-ahead")]
    del reader
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
