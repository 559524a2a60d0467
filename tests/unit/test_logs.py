"""Logs from nodes that give few blocks at once: each block is read once, whatever the limits are."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprimatur.chain import logs
from imprimatur.chain.logs import (
    ATTEMPTS,
    MOST,
    LogsOutOfReach,
    is_about_the_range,
    read_in_windows,
    read_logs,
)
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, Rpc

ADDRESS = "0x" + "5b" * 20
REFUSAL = NodeRefused(-32005, "query returned more than 10000 results")


class Chain(Rpc):
    """A chain with logs in some blocks, whose node gives `blocks` blocks and `results` logs at once."""

    def __init__(self, head, places=(), blocks=None, results=None, refusal=REFUSAL):
        self.head = head
        self.places = sorted(places)
        self.blocks = blocks
        self.results = results
        self.refusal = refusal
        self.branch = 0
        self.accepted = []
        self.asked = []

    def call(self, method, params):
        if method == "eth_getBlockByNumber":
            number = self.head if params[0] == "latest" else int(params[0], 16)
            return {"number": hex(number), "hash": f"0x{self.branch:x}{number:x}"}
        assert method == "eth_getLogs"
        low = int(params[0]["fromBlock"], 16)
        high = self.head if params[0]["toBlock"] == "latest" else int(params[0]["toBlock"], 16)
        self.asked.append((low, high))
        found = [place for place in self.places if low <= place[0] <= high]
        if self.blocks is not None and high - low + 1 > self.blocks:
            raise self.refusal
        if self.results is not None and len(found) > self.results:
            raise self.refusal
        self.accepted.append((low, high))
        return [{"blockNumber": hex(block), "logIndex": hex(index)} for block, index in found]


def query(first):
    return {"address": ADDRESS, "fromBlock": hex(first), "toBlock": "latest", "topics": []}


def place(log):
    return int(log["blockNumber"], 16), int(log["logIndex"], 16)


@given(
    st.integers(0, 50),
    st.integers(1, 600),
    st.integers(1, 700),
    st.sets(st.tuples(st.integers(0, 700), st.integers(0, 3)), max_size=40),
)
def test_each_block_is_read_once_whatever_the_limit(first, count, limit, places):
    head = first + count - 1
    chain = Chain(head, places, blocks=limit)
    found = [place(log) for log in read_logs(chain, query(first))]
    assert found == [place for place in sorted(places) if first <= place[0] <= head]
    read = sorted(chain.accepted)
    assert (read[0][0], read[-1][1]) == (first, head)
    assert all(below[1] + 1 == above[0] for below, above in pairwise(read))


@given(st.integers(1, 300), st.integers(4, 20), st.sets(st.tuples(st.integers(0, 299), st.integers(0, 3))))
def test_a_limit_of_results(count, limit, places):
    """A window with too many is asked for again in smaller ones; none is kept twice."""
    chain = Chain(count - 1, places, results=limit)
    found = [place(log) for log in read_logs(chain, query(0))]
    assert found == [place for place in sorted(places) if place[0] < count]


def test_a_node_without_a_limit_is_asked_once():
    chain = Chain(10**8, [(5, 0)])
    assert [place(log) for log in read_logs(chain, query(1))] == [(5, 0)]
    assert chain.asked == [(1, 10**8)]


@pytest.mark.parametrize(
    ("limit", "refused", "windows"), [(10_000, 1, 263), (50_000, 1, 263), (9_999, 2, 526), (2000, 4, 2103)]
)
def test_how_many_questions_a_limit_costs(limit, refused, windows):
    """A year of Ethereum's blocks. The limit is found by halving; from then on nothing is refused."""
    chain = Chain(2_628_000, blocks=limit)
    read_logs(chain, query(1))
    assert len(chain.asked) - len(chain.accepted) == refused
    assert len(chain.accepted) == windows


def test_what_is_old_enough_ends_the_reading():
    chain = Chain(10**7, [(10**7 - 30_000, 0), (3, 0)], blocks=1000)
    found = read_in_windows(chain, query(0), 10**7, REFUSAL, enough=bool)
    assert [place(log) for log in found] == [(10**7 - 30_000, 0)]
    assert len(chain.asked) < 80


def test_a_node_that_gives_nothing_at_all():
    chain = Chain(10**6, blocks=0)
    with pytest.raises(NodeRefused) as caught:
        read_logs(chain, query(1))
    assert caught.value is REFUSAL
    assert len(chain.asked) < 25


@pytest.mark.parametrize("enough", [None, bool])
def test_a_node_that_gives_too_little(enough):
    """Nobody waits for a million answers; whether something ends the reading earlier is tried for a while."""
    chain = Chain(10**7, blocks=10, refusal=NodeRefused(-32614, "eth_getLogs is limited to a 10 range"))
    with pytest.raises(LogsOutOfReach, match=r"since block 1 take more than 4096 .* limited to a 10 range"):
        read_in_windows(chain, query(1), 10**7, chain.refusal, enough)
    assert len(chain.accepted) <= (1 if enough is None else MOST)
    assert len(chain.asked) <= MOST


def test_a_reading_ends_when_nobody_waits_any_more():
    """While the limit is still looked for, and behind it."""
    for blocks in (0, 10_000):
        chain = Chain(10**7, blocks=blocks)
        with pytest.raises(NodeUnreachable, match="takes too long"):
            read_in_windows(chain, query(1), 10**7, REFUSAL, until=time.monotonic() - 1)
        assert not chain.asked
    assert read_in_windows(chain, query(1), 10**7, REFUSAL, until=time.monotonic() + 600) == []


def test_another_refusal_between_windows_is_told():
    class Pruned(Chain):
        def call(self, method, params):
            if method == "eth_getLogs" and int(params[0]["toBlock"], 16) < 500:
                raise NodeRefused(-32000, "history has been pruned for this block")
            return super().call(method, params)

    with pytest.raises(NodeRefused, match="pruned"):
        read_in_windows(Pruned(1000, blocks=100), query(1), 1000, REFUSAL)


class Moving(Chain):
    """Its chain is replaced by another after so many windows, so many times."""

    def __init__(self, *args, times, **options):
        super().__init__(*args, **options)
        self.times = times

    def batch(self, calls):
        answers = super().batch(calls)
        if self.times and len(calls) > 4:
            self.times -= 1
            self.branch += 1
            self.places = [(block + 1, index) for block, index in self.places]
        return answers


@pytest.mark.parametrize("times", range(ATTEMPTS))
def test_windows_of_two_branches_are_never_mixed(times):
    """Each event is a block further up in the other branch: one could be seen twice, or not at all."""
    places = [(block, 0) for block in range(990)]
    chain = Moving(1000, places, blocks=10, times=times)
    found = [place(log) for log in read_in_windows(chain, query(0), 1000, REFUSAL)]
    assert chain.times == 0
    assert found == [(block + times, 0) for block, _ in places]


def test_a_chain_that_never_rests():
    with pytest.raises(NodeUnreachable, match="reorganised each time"):
        read_in_windows(Moving(1000, blocks=10, times=99), query(0), 1000, REFUSAL)


def test_a_node_that_lost_its_newest_block():
    class Shorter(Chain):
        def call(self, method, params):
            return None if method == "eth_getBlockByNumber" else super().call(method, params)

    with pytest.raises(NodeUnreachable, match="doesn't have the block"):
        read_in_windows(Shorter(1000, blocks=10), query(0), 1000, REFUSAL)


@pytest.mark.parametrize("answer", [None, {}, [None], [{}], [{"blockNumber": "0x0"}], [{"blockNumber": 5}]])
def test_an_answer_that_is_no_window(answer):
    class Confused(Chain):
        def call(self, method, params):
            return answer if method == "eth_getLogs" else super().call(method, params)

    with pytest.raises(NodeUnreachable):
        read_in_windows(Confused(1000), query(0), 1000, REFUSAL)


RANGES = [
    # geth, BNB Chain, Erigon and its relatives
    (-32005, "query returned more than 10000 results"),
    (-32701, "exceed maximum block range: 50000"),
    (-32003, "response too large"),
    (-32002, "request timed out"),
    (-32005, "block range too large, max range: 1000"),
    (-32000, "block range is bigger than maxBlockRange"),
    (-32000, "block range is larger than max block range, block range = 5120, max block range = 5000"),
    # Besu, Nethermind, Reth
    (-32005, "Requested range exceeds maximum RPC range limit"),
    (-32005, "Too many logs requested. Max logs per response is 20000."),
    (-32602, "query exceeds max block range 100000"),
    (-32602, "query exceeds max results 20000, retry with the range 1-10000"),
    # Avalanche
    (-32000, "requested too many blocks from 0 to 16777216, maximum is set to 2048"),
    # who sells nodes
    (-32602, "range 1000000 exceeds limit of 10000"),
    (-32005, "query timeout exceeded"),
    (-32005, "limit exceeded"),
    (-32614, "eth_getLogs is limited to a 10,000 range"),
    (-32600, "block range is too wide"),
    (-32600, "block range too high"),
    (35, "ranges over 10000 blocks are not supported on freetier"),
    (-32000, "too wide blocks range, the limit is 100"),
    (-32005, "Log response size exceeded. Maximum allowed number of requested blocks is 1000"),
    (
        -32600,
        "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range. Based on "
        "your parameters, this block range should work: [0x1180fca, 0x1180fd3].",
    ),
    (
        -32602,
        "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no "
        "limit on the response size, or you can request any block range with a cap of 10K logs in the "
        "response.",
    ),
]
OTHERS = [
    (-32601, "the method eth_getLogs does not exist/is not available"),
    (-32005, "daily request count exceeded, request rate limited"),
    (-32005, "project ID request rate exceeded"),
    (429, "Your app has exceeded its compute units per second capacity."),
    (-32000, "Too many requests, you have exceeded your query limit"),
    (-32007, "50/second request limit reached - reduce calls per second or upgrade your account"),
    (-32000, "block range extends beyond current head block"),
    (-32000, "invalid block range params"),
    (-32000, "header not found"),
    (-32000, "unknown block"),
    (-32000, "missing trie node"),
    (-32000, "too many"),
    (-32602, "exceed max topics"),
    (-32602, "invalid argument 0: hex string has length 38, want 40 for common.Address"),
    (-32600, "batch too large"),
    (-32701, "History has been pruned for this block. To remove restrictions, order a dedicated full node"),
    (3, "execution reverted"),
    (0, ""),
]


@pytest.mark.parametrize(("code", "message"), RANGES)
def test_refusals_of_a_range(code, message):
    assert is_about_the_range(NodeRefused(code, message))


def test_a_refusal_that_says_it_in_its_data():
    data = {"error_id": "4ed94073", "payload": "range 9009594 is bigger than range limit 2000"}
    assert is_about_the_range(NodeRefused(-32602, "invalid params", data))


@pytest.mark.parametrize(("code", "message"), OTHERS)
def test_other_refusals_are_told_as_they_are(code, message):
    refusal = NodeRefused(code, message)
    assert not is_about_the_range(refusal)
    chain = Chain(1000, blocks=10, refusal=refusal)
    with pytest.raises(NodeRefused) as caught:
        read_logs(chain, query(0))
    assert caught.value is refusal
    assert len(chain.asked) == 1


def test_a_long_refusal_is_not_read_to_its_end():
    assert not is_about_the_range(NodeRefused(-32000, "x" * logs._READ + " block range too large"))
