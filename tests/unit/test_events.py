"""Events out of logs: slicing against eth-abi, bloom filters, the store, windows."""

import json
import sqlite3
from dataclasses import replace
from itertools import pairwise

import pytest
from eth_abi import encode
from eth_utils import keccak, to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from imprimatur import artifacts
from imprimatur.chain.events import (
    Block,
    CursorMoved,
    LogMalformed,
    NodeInconsistent,
    OtherIndex,
    Row,
    Source,
    SqliteEventStore,
    decoded,
    standard,
)
from imprimatur.chain.events.layout import layouts_of
from imprimatur.chain.events.page import Head
from imprimatur.chain.events.source import Sources, bloom_of
from imprimatur.chain.events.window import ROWS, Window
from imprimatur.chain.interface import interface_of

EVENTS = [
    (contract, entry)
    for contract in artifacts.CONTRACTS
    for entry in artifacts.load(contract)["abi"]
    if entry["type"] == "event"
]
ADDRESS = "0x" + "5b" * 20
OTHER = "0x" + "6c" * 20
TOP = Block(9, "0x" + "09" * 32)


def values_of(kind):
    """Values of an ABI type, edges included."""
    if kind.endswith("[]"):
        return st.lists(values_of(kind[:-2]), max_size=4)
    if kind.startswith("uint"):
        return st.integers(0, 2 ** int(kind[4:]) - 1)
    if kind.startswith("bytes"):
        return st.binary(min_size=int(kind[5:]), max_size=int(kind[5:]))
    return {"address": st.binary(min_size=20, max_size=20), "bool": st.booleans(), "string": st.text()}[kind]


@st.composite
def logs(draw):
    """A contract and a log that it can write."""
    contract, entry = draw(st.sampled_from(EVENTS))
    values = {p["name"]: draw(values_of(p["type"])) for p in entry["inputs"]}
    indexed = [encode([p["type"]], [values[p["name"]]]) for p in entry["inputs"] if p["indexed"]]
    plain = [p for p in entry["inputs"] if not p["indexed"]]
    data = encode([p["type"] for p in plain], [values[p["name"]] for p in plain])
    return contract, {
        "address": ADDRESS,
        "topics": [interface_of(contract).topic(entry["name"]), *("0x" + topic.hex() for topic in indexed)],
        "data": "0x" + data.hex(),
        "blockNumber": "0x7",
        "blockHash": "0x" + "07" * 32,
        "transactionHash": "0x" + "77" * 32,
        "logIndex": "0x2",
        "removed": False,
    }


def sliced(contract, log):
    """The event as a row, read back."""
    layout = layouts_of(contract)[log["topics"][0][2:]]
    text, license = layout.read(log["topics"], log["data"])
    row = Row(ADDRESS, layout.name, text, license, 7, log["blockHash"], 0, log["transactionHash"], 2)
    assert row.license == (row.values["id"] if isinstance(row.values.get("id"), str) else None)
    return decoded(row, contract)


def by_eth_abi(contract, log):
    event = interface_of(contract).decode_event(log)
    return replace(event, values={k: list(v) if isinstance(v, tuple) else v for k, v in event.values.items()})


@given(logs())
def test_slicing_reads_what_eth_abi_reads(example):
    contract, log = example
    assert sliced(contract, log) == by_eth_abi(contract, log)


@given(logs(), st.data())
def test_what_slicing_accepts_after_damage_eth_abi_reads_in_the_same_way(example, data):
    """Never another value, never a value that eth-abi refuses; what it refuses may be more."""
    contract, log = example
    parts = [*log["topics"][1:], log["data"]]
    place = data.draw(st.integers(0, len(parts) - 1))
    at = data.draw(st.integers(2, max(2, len(parts[place]) - 1)))
    digit = data.draw(st.sampled_from("0123456789abcdefABCDEF g"))
    parts[place] = data.draw(
        st.sampled_from(
            [
                parts[place][:at] + digit + parts[place][at + 1 :],
                parts[place][:at] + parts[place][at + 1 :],
                parts[place] + "00" * 32,
                parts[place][:-64],
            ]
        )
    )
    damaged = log | {"topics": [log["topics"][0], *parts[:-1]], "data": parts[-1]}
    try:
        found = sliced(contract, damaged)
    except LogMalformed:
        return
    assert found == by_eth_abi(contract, damaged)


@pytest.mark.parametrize(
    ("name", "place", "word"),
    [
        ("LicenseUsed", "device", "0" * 23 + "1" + "5b" * 20),
        ("LicenseUsed", "copy", "0" * 59 + "10000"),
        ("ApprovalForAll", "approved", "0" * 63 + "2"),
        ("FailureSkipped", "reason", "12345678" + "0" * 55 + "1"),
        ("OperatorSet", "until", "0" * 47 + "1" + "0" * 16),
    ],
)
def test_dirty_words_are_refused(name, place, word):
    entry = next(entry for _, entry in EVENTS if entry["name"] == name)
    layout = layouts_of("PrintLicense")[interface_of("PrintLicense").topic(name)[2:]]
    words = {p["name"]: word if p["name"] == place else "0" * 64 for p in entry["inputs"]}
    topics = ["0x" + "00" * 32, *("0x" + words[p["name"]] for p in entry["inputs"] if p["indexed"])]
    data = "0x" + "".join(words[p["name"]] for p in entry["inputs"] if not p["indexed"])
    with pytest.raises(LogMalformed, match=name):
        layout.read(topics, data)
    clean = word.replace(word, "0" * 64)
    assert layout.read([t.replace(word, clean) for t in topics], data.replace(word, clean))


def test_form_of_values():
    layout = layouts_of("PrintLicense")[interface_of("PrintLicense").topic("OperatorSet")[2:]]
    topics = ["0x" + "00" * 32, "0x" + "00" * 12 + "ab" * 20, "0x" + "00" * 12 + "cd" * 20]
    text, license = layout.read(topics, "0x" + f"{3:064x}{2**64 - 1:064x}")
    assert json.loads(text) == {
        "owner": to_checksum_address("0x" + "ab" * 20),
        "operator": to_checksum_address("0x" + "cd" * 20),
        "rights": 3,
        "until": "0x" + "00" * 24 + "ff" * 8,
    }
    assert license is None


def test_canonical_arrays_only():
    topic = interface_of("PrintLicense").topic("TransferBatch")
    layout = layouts_of("PrintLicense")[topic[2:]]
    topics = [topic] + ["0x" + "00" * 32] * 3
    data = encode(["uint256[]", "uint256[]"], [[1, 2], [3, 4]])
    assert json.loads(layout.read(topics, "0x" + data.hex())[0])["ids"] == [f"0x{1:064x}", f"0x{2:064x}"]
    same_array_twice = data[:32] * 2 + data[64:160]
    for other in (same_array_twice, data + bytes(32), data[:-32], b""):
        with pytest.raises(LogMalformed):
            layout.read(topics, "0x" + other.hex())


# --- bloom filters ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6))
def test_a_bloom_filter_never_hides_an_event(some):
    sources = Sources([Source("PrintLicense", ADDRESS), Source("DeviceRegistry", OTHER)])
    addresses = [ADDRESS, OTHER, "0x" + "11" * 20, "0x" + "22" * 20]
    topics = [
        interface_of("PrintLicense").topic("LicenseUsed"),
        interface_of("DeviceRegistry").topic("DeviceBound"),
        "0x" + "33" * 32,
        "0x" + "44" * 32,
    ]
    bloom = 0
    for address, topic in some:
        bloom |= bloom_of(bytes.fromhex(addresses[address][2:])) | bloom_of(bytes.fromhex(topics[topic][2:]))
    if {(0, 0), (1, 1)} & set(some):
        assert sources.may_be_in(bloom)
    assert not sources.may_be_in(0)


def test_bloom_bits():
    """As eth-bloom, the reference in Python, sets them."""
    from eth_bloom import BloomFilter

    for value in (b"", bytes(20), keccak(b"x")):
        assert bloom_of(value) == int(BloomFilter.from_iterable([value]))


# --- what a node says that doesn't fit -------------------------------------------------------------------

HEADS = [
    Head(7, "0x" + "07" * 32, "0x" + "06" * 32, 700, 0),
    Head(8, "0x" + "08" * 32, "0x" + "07" * 32, 800, 0),
]


def log_at(block, index, **other):
    topics = [interface_of("DeviceRegistry").topic("DeviceBound")] + ["0x" + "00" * 12 + "ab" * 20] * 2
    hash = "0x" + f"{block:02x}" * 32
    log = {"address": ADDRESS, "topics": topics, "data": "0x", "blockNumber": hex(block), "blockHash": hash}
    return log | {"transactionHash": hash, "logIndex": hex(index), "removed": False} | other


class Answers:
    """A node with prepared answers."""

    def __init__(self, logs, heads=HEADS):
        self.logs, self.heads = logs, heads

    def batch(self, calls):
        blocks = [
            {
                "number": hex(head.number),
                "hash": head.hash,
                "parentHash": head.parent,
                "timestamp": hex(head.timestamp),
                "logsBloom": hex(head.bloom),
            }
            for head in self.heads
        ]
        return [self.logs, *blocks]


def page(node):
    sources = Sources([Source("DeviceRegistry", ADDRESS, 8)])
    return standard.digest(sources, standard.fetch(node, sources, 7, 8))


def test_rows_in_the_range_and_of_the_contracts_time():
    found = page(Answers([log_at(7, 0), log_at(7, 3), log_at(8, 0), log_at(8, 1)]))
    assert [(row.block_number, row.log_index, row.timestamp) for row in found.rows] == [
        (8, 0, 800),
        (8, 1, 800),
    ]


@pytest.mark.parametrize(
    ("logs", "what"),
    [
        ([log_at(8, 1), log_at(8, 1)], "twice"),
        ([log_at(8, 1), log_at(8, 0)], "out of order"),
        ([log_at(8, 1), log_at(7, 2)], "out of order"),
        ([log_at(9, 1)], "outside"),
        ([log_at(6, 1)], "outside"),
        ([log_at(8, 1, blockHash="0x" + "ff" * 32)], "another block"),
        ([log_at(8, 1, removed=True)], "another block"),
        ([log_at(8, 1, address=OTHER)], "asked for"),
        ([log_at(8, 1, topics=["0x" + "ee" * 32])], "asked for"),
        ([log_at(8, 1, topics=[])], "log 1"),
        ([log_at(8, 1, data="0x00")], "DeviceBound"),
        ([log_at(8, 1, logIndex=None)], "place"),
        ([None], "list of logs"),
        (None, "list of logs"),
    ],
)
def test_logs_that_do_not_fit(logs, what):
    with pytest.raises(NodeInconsistent, match=what):
        page(Answers(logs))


@pytest.mark.parametrize(
    ("heads", "what"),
    [
        ([HEADS[0], HEADS[1]._replace(parent="0x" + "ff" * 32)], "parent"),
        ([HEADS[1], HEADS[1]], "about block 8"),
        ([HEADS[0]._replace(hash="0x07"), HEADS[1]], "32 bytes"),
    ],
)
def test_headers_that_do_not_fit(heads, what):
    with pytest.raises(NodeInconsistent, match=what):
        page(Answers([], heads))


# --- store -----------------------------------------------------------------------------------------------


def row(block, index=0, name="LicenseUsed", id=1):
    license = f"0x{id:064x}"
    text = json.dumps({"id": license})
    return Row(ADDRESS, name, text, license, block, f"0x{block:064x}", block * 10, "0x" + "77" * 32, index)


def blocks(first, last):
    return [Block(number, f"0x{number:064x}") for number in range(first, last + 1)]


@pytest.fixture
def store():
    connection = sqlite3.connect(":memory:")
    yield SqliteEventStore(connection)
    connection.close()


def test_rows_come_back_in_chain_order(store):
    rows = [row(1), row(1, 1, "PrintFailed", 2), row(3, 0, "PrintFailed"), row(4)]
    store.apply(rows, blocks(1, 4), None, 100)
    assert list(store.events()) == rows
    assert list(store.events("PrintFailed")) == rows[1:3]
    assert list(store.events("PrintFailed", "LicenseUsed", id=1, since=2)) == rows[2:]
    assert list(store.events(id=2)) == rows[1:2]
    assert list(store.events(contract=ADDRESS.upper().replace("X", "x"))) == rows
    assert list(store.events(contract=OTHER)) == []


def test_old_blocks_are_forgotten_and_rows_stay(store):
    store.apply([row(1)], blocks(1, 9), None, 4)
    assert store.blocks() == blocks(6, 9)[::-1]
    store.apply([row(10)], blocks(10, 11), store.top(), 4)
    assert store.blocks() == blocks(8, 11)[::-1]
    assert [found.block_number for found in store.events()] == [1, 10]


def test_rollback(store):
    store.apply([row(1), row(5), row(6)], blocks(1, 9), None, 100)
    store.rollback(Block(5, f"0x{5:064x}"), store.top())
    assert store.top().number == 5
    assert [found.block_number for found in store.events()] == [1, 5]
    store.rollback(None, store.top())
    assert store.top() is None
    assert not list(store.events())


def test_two_writers_do_not_mix(store):
    store.apply([], blocks(1, 9), None, 100)
    for after in (None, Block(8, f"0x{8:064x}"), TOP):
        with pytest.raises(CursorMoved, match="another process"):
            store.apply([row(10)], blocks(10, 10), after, 100)
        with pytest.raises(CursorMoved):
            store.rollback(None, after or TOP)
    assert not list(store.events())
    assert store.top().number == 9


def test_a_failure_in_the_middle_writes_nothing(store):
    store.apply([row(1)], blocks(1, 1), None, 100)
    with pytest.raises(sqlite3.IntegrityError):
        store.apply([row(2), row(2)], blocks(2, 2), store.top(), 100)
    assert [found.block_number for found in store.events()] == [1]
    assert store.top().number == 1


def test_two_indexes_in_one_database(store):
    other = SqliteEventStore(store._connection, prefix="second_")
    store.claim("this")
    other.claim("that")
    store.claim("this")
    with pytest.raises(OtherIndex, match="made for this, not for that"):
        store.claim("that")
    store.apply([row(1)], blocks(1, 1), None, 100)
    assert other.top() is None
    with pytest.raises(ValueError, match="table"):
        SqliteEventStore(store._connection, prefix="x; DROP TABLE y")


# --- windows ---------------------------------------------------------------------------------------------


def test_windows_grow_and_stay_below_a_limit():
    window = Window(largest=1000, size=16)
    sizes = []
    for _ in range(200):
        if window.size > 300:
            assert window.halve()
        else:
            window.fitted(window.size, 0)
        sizes.append(window.size)
    assert max(sizes) <= 512
    # After the first refusals a refusal is rare.
    assert sum(later < earlier for earlier, later in pairwise(sizes)) < 40
    while window.halve():
        pass
    assert window.size == 1


def test_windows_shrink_when_they_hold_too_much():
    window = Window(largest=1000, size=512)
    window.fitted(512, 10 * ROWS)
    assert window.size == 51
    window.fitted(20, 0)
    assert window.size == 51
