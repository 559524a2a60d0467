"""Verified reading: a node can neither hide nor forge an event, and with an anchor no headers either."""

import pytest
from indexer.liar import LIES, LyingNode, false_receipts, forge_data, hide, rewritten
from indexer.recorded import RecordedNode, recording
from indexer.trouble import Desk

from imprimatur.chain.events import Indexer, NodeInconsistent, NodeLies, TrustedBlock, TrustedNode


@pytest.fixture(scope="module")
def recorded():
    return recording()


@pytest.fixture(scope="module")
def tip(recorded):
    return recorded.leaves[0]


@pytest.fixture(scope="module")
def places(recorded, tip):
    """Every log of our contracts on the longest branch, as block and place in it."""
    ours = {source.address.lower() for source in recorded.sources}
    first = min(source.first for source in recorded.sources)
    return [
        (block, index)
        for block in recorded.path(tip)[first:]
        for index, log in enumerate(recorded.logs(block))
        if log["address"] in ours
    ]


def read(folder, recorded, node, **options):
    """The error that ended the reading, and what was written before."""
    desk = Desk(folder / f"{len(list(folder.iterdir()))}.db", recorded.sources)
    with pytest.raises((NodeLies, NodeInconsistent)) as caught:
        desk.run(node, Indexer.catch_up, verified=True, largest_window=3, **options)
    return caught.value, desk.rows()


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_lie_about_any_event_is_detected(recorded, tip, places, tmp_path, lie):
    assert len(places) > 30
    for block, index in places:
        if false_receipts(recorded, block, lie, index) == recorded.receipts[block]:
            # Nothing to swap with, or no second topic: then it isn't a lie.
            continue
        error, rows = read(tmp_path, recorded, LyingNode(recorded, tip, lie, block, index))
        number = int(recorded.blocks[block]["number"], 16)
        assert isinstance(error, NodeLies), (number, index)
        assert error.block == number
        assert all(row.block_number < number for row in rows)


def test_receipts_that_are_withheld_end_nothing_but_the_reading(recorded, tip, places, tmp_path):
    for answer in (None, {}, [None]):
        node = RecordedNode(recorded, tip)
        node.eth_getBlockReceipts = lambda hash, answer=answer: answer
        error, rows = read(tmp_path, recorded, node)
        assert isinstance(error, NodeInconsistent)
        assert not rows
    node.eth_getBlockReceipts = lambda hash: []
    error, rows = read(tmp_path, recorded, node)
    assert isinstance(error, NodeLies)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logsBloom", "0x" + "00" * 256),
        ("receiptsRoot", "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"),
        ("timestamp", "0x1"),
        ("gasUsed", "0x1"),
        ("baseFeePerGas", None),
        ("logsBloom", "0x00"),
    ],
)
def test_a_header_has_the_hash_that_it_names(recorded, tip, places, tmp_path, field, value):
    for block, _ in (places[0], places[len(places) // 2], places[-1]):
        node = RecordedNode(recorded, tip)
        told = node.eth_getBlockByNumber

        def tell(number, full, told=told, block=block):
            found = told(number, full)
            return found | {field: value} if found and found["hash"] == block else found

        node.eth_getBlockByNumber = tell
        error, _ = read(tmp_path, recorded, node)
        assert isinstance(error, NodeLies)
        assert error.block == int(recorded.blocks[block]["number"], 16)


@pytest.mark.parametrize("lie", [hide, forge_data], ids=["hide", "forge"])
def test_an_invented_chain_needs_an_anchor(recorded, tip, places, tmp_path, lie):
    """Headers that a node makes up are consistent; only a block that somebody else vouches for tells."""
    block, index = places[len(places) // 2]
    false, end = rewritten(recorded, tip, block, false_receipts(recorded, block, lie, index))
    node = RecordedNode(false, end)
    desk = Desk(tmp_path / "unanchored", recorded.sources)
    outcomes = []
    desk.run(node, lambda indexer: outcomes.append(indexer.catch_up()), verified=True)
    assert outcomes[0].anchored is None
    assert outcomes[0].rows == len(places) - (lie is hide)

    number = int(recorded.blocks[tip]["number"], 16)
    for anchor in (TrustedBlock(number, tip), TrustedNode(RecordedNode(recorded, tip))):
        error, _ = read(tmp_path, recorded, node, anchor=anchor)
        assert isinstance(error, NodeLies)
        assert error.block == number


def test_what_an_anchor_vouches_for(recorded, tip, places, tmp_path):
    path = recorded.path(tip)
    honest = RecordedNode(recorded, tip)
    second = RecordedNode(recorded, path[15])
    seen = []
    desk = Desk(tmp_path / "index.db", recorded.sources)

    def work(indexer):
        seen.append(indexer.catch_up())
        second.tip = path[20]
        seen.append(indexer.catch_up())

    desk.run(honest, work, verified=True, anchor=TrustedNode(second))
    assert [progress.anchored for progress in seen] == [15, 20]
    assert len(desk.rows()) == len(places)
    with pytest.raises(ValueError, match="verified"):
        desk.run(honest, work, anchor=TrustedNode(second))


def test_what_the_anchor_vouched_for_is_not_taken_back(recorded, tip, tmp_path):
    node = RecordedNode(recorded, tip)
    desk = Desk(tmp_path / "index.db", recorded.sources)

    def work(indexer):
        assert indexer.catch_up().anchored == len(recorded.path(tip)) - 1
        node.tip = recorded.leaves[2]
        with pytest.raises(NodeLies, match="vouched"):
            indexer.catch_up()

    desk.run(node, work, verified=True, anchor=TrustedBlock(len(recorded.path(tip)) - 1, tip))
    assert {row.block_hash for row in desk.rows()} <= set(recorded.path(tip))
