"""The indexer against recorded real blocks: chaos from seeds, and death at every boundary."""

import os
from dataclasses import replace
from random import Random

import pytest
from indexer.recorded import RecordedNode, recording
from indexer.trouble import Desk, MovingNode, fresh, persist

from imprimatur.chain.events import (
    Indexer,
    NodeInconsistent,
    OtherIndex,
    ReorgTooDeep,
    SqliteEventStore,
    decoded,
    indexer,
    standard,
    verified,
)
from imprimatur.chain.events.source import Sources
from imprimatur.chain.interface import interface_of

LONG = os.environ.get("IMPRIMATUR_FUZZ") == "long"
NOTABLE = (61, 67, 72, 80, 81, 88, 98, 99, 102, 113, 137, 138)
"""Seeds whose world shows one of the bugs at the end of this file."""
SEEDS = (*range(2000),) if LONG else (*range(40), *NOTABLE)
BOTH = pytest.mark.parametrize("verified", [False, True], ids=["standard", "verified"])


@pytest.fixture(scope="module")
def recorded():
    return recording()


@pytest.fixture(scope="module")
def truths(recorded, tmp_path_factory):
    """By leaf: what a fresh index of that branch holds."""
    folder = tmp_path_factory.mktemp("fresh")
    return {
        leaf: fresh(folder / leaf, RecordedNode(recorded, leaf), recorded.sources) for leaf in recorded.leaves
    }


def chaos(path, recorded, seed, verified, store=SqliteEventStore, ahead=False):
    """Rows after a hard life, and the branch that the chain settled on."""
    random = Random(seed)
    node = MovingNode(recorded, random)
    desk = Desk(path, recorded.sources, store)
    options = {"verified": verified, "largest_window": random.choice((1, 3, 64)), "ahead": ahead}
    for _ in range(random.randrange(3, 12)):
        kill_at = random.choice((None, random.randrange(1, 200)))
        desk.run(node, lambda indexer: persist(indexer, random.randrange(1, 12)), kill_at, **options)
    node.settle()
    desk.run(node, Indexer.catch_up, **options)
    return desk.rows(), node.tip


def test_recorded_branches_hold_all_that_can_happen(recorded, truths):
    assert sorted(len(recorded.path(leaf)) for leaf in recorded.leaves) == sorted(
        3 + 1 + 5 + length for length in (18, 9, 10, 13, 1)
    )
    names = {row.name for rows in truths.values() for row in rows}
    assert names >= {"LicenseIssued", "LicenseUsed", "TransferBatch", "LicenseRevoked", "DeviceAttested"}
    statuses = {r["status"] for receipts in recorded.receipts.values() for r in receipts}
    assert statuses == {"0x0", "0x1"}


def test_a_fresh_index_holds_what_eth_abi_reads_from_the_receipts(recorded, truths):
    contracts = {source.address.lower(): source.contract for source in recorded.sources}
    for leaf, rows in truths.items():
        logs = [log for hash in recorded.path(leaf) for log in recorded.logs(hash)]
        ours = [log for log in logs if log["address"] in contracts]
        expected = [interface_of(contracts[log["address"]]).decode_event(log) for log in ours]
        found = [decoded(row, contracts[row.contract.lower()]) for row in rows]
        assert [replace(event, values=listed(event.values)) for event in expected] == found


def listed(values):
    """Arrays as lists, which is what JSON has; eth-abi gives tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_any_life_ends_in_the_fresh_index(recorded, truths, tmp_path, seed, verified):
    rows, leaf = chaos(tmp_path / "index.db", recorded, seed, verified)
    assert rows == truths[leaf]


def reorganise(path, recorded, verified, kill_at=None, store=SqliteEventStore):
    """One branch is read, then another that forks off below; the process may die once on the way."""
    node = RecordedNode(recorded, recorded.leaves[0])
    desk = Desk(path, recorded.sources, store)

    def work(indexer):
        indexer.catch_up()
        node.tip = recorded.leaves[2]
        indexer.catch_up()

    fate = desk.run(node, work, kill_at, verified=verified, largest_window=7)
    node.tip = recorded.leaves[2]
    desk.run(node, Indexer.catch_up, verified=verified, largest_window=7)
    return desk.rows(), fate.passed


@BOTH
def test_death_at_every_boundary(recorded, truths, tmp_path, verified):
    _, boundaries = reorganise(tmp_path / "whole.db", recorded, verified)
    assert boundaries > 100
    for kill_at in range(1, boundaries + 1):
        rows, _ = reorganise(tmp_path / f"{kill_at}.db", recorded, verified, kill_at)
        assert rows == truths[recorded.leaves[2]], kill_at


def test_a_lagging_node_takes_nothing_back(recorded, truths, tmp_path):
    leaf = recorded.leaves[0]
    node = RecordedNode(recorded, leaf)
    desk = Desk(tmp_path / "index.db", recorded.sources)
    desk.run(node, Indexer.catch_up)
    for tip in recorded.path(leaf):
        node.tip = tip

        def look(indexer):
            progress = indexer.catch_up()
            assert progress.top.hash == leaf
            assert not progress.reorganised

        desk.run(node, look)
    assert desk.rows() == truths[leaf]


def test_a_shorter_branch_is_a_reorganisation(recorded, truths, tmp_path):
    long, short = recorded.leaves[0], recorded.leaves[4]
    node = RecordedNode(recorded, long)
    desk = Desk(tmp_path / "index.db", recorded.sources)
    desk.run(node, Indexer.catch_up)
    node.tip = short
    desk.run(node, lambda indexer: indexer.catch_up().reorganised or pytest.fail("not noticed"))
    assert desk.rows() == truths[short]


@pytest.mark.parametrize("depth", [17, 18, 19])
def test_depth_of_a_reorganisation(recorded, truths, tmp_path, depth):
    node = RecordedNode(recorded, recorded.leaves[0])
    desk = Desk(tmp_path / "index.db", recorded.sources)
    desk.run(node, Indexer.catch_up, depth=depth)
    node.tip = recorded.leaves[2]
    if depth <= 18:
        with pytest.raises(ReorgTooDeep):
            desk.run(node, Indexer.catch_up, depth=depth)
        assert desk.rows() == truths[recorded.leaves[0]]
    else:
        desk.run(node, Indexer.catch_up, depth=depth)
        assert desk.rows() == truths[recorded.leaves[2]]


def test_a_restarted_chain_is_read_from_the_start(recorded, truths, tmp_path):
    """Every remembered block differs, and the first block of the index is among them: a new test chain."""
    sources = [type(s)(s.contract, s.address, 10) for s in recorded.sources]
    node = RecordedNode(recorded, recorded.leaves[0])
    desk = Desk(tmp_path / "index.db", sources)
    desk.run(node, Indexer.catch_up)
    node.tip = recorded.leaves[2]
    desk.run(node, Indexer.catch_up)
    assert desk.rows() == [row for row in truths[recorded.leaves[2]] if row.block_number >= 10]


def test_an_index_of_something_else_is_left_alone(recorded, tmp_path):
    node = RecordedNode(recorded, recorded.leaves[0])
    desk = Desk(tmp_path / "index.db", recorded.sources)
    desk.run(node, Indexer.catch_up)
    with pytest.raises(OtherIndex, match="DeviceRegistry"):
        Desk(desk.path, recorded.sources[:1]).run(node, Indexer.catch_up)
    with pytest.raises(OtherIndex, match="verified"):
        desk.run(node, Indexer.catch_up, verified=True)


# --- bugs on purpose: the tests above must see them ------------------------------------------------------


class TwoCommits(SqliteEventStore):
    """Rows first, cursor afterwards."""

    def apply(self, rows, blocks, after, keep):
        write_blocks, self._write_blocks = self._write_blocks, lambda *_: None
        try:
            super().apply(rows, blocks, after, keep)
        finally:
            self._write_blocks = write_blocks
        with self._commit():
            self._write_blocks(blocks, keep)


def survives(recorded, truths, folder, **options):
    """Whether no seed shows a difference."""
    for seed in range(150):
        try:
            rows, leaf = chaos(folder / f"{seed}.db", recorded, seed, verified=False, **options)
        except (NodeInconsistent, ReorgTooDeep):
            return False
        if rows != truths[leaf]:
            return False
    return True


@BOTH
@pytest.mark.parametrize("seed", range(12))
def test_reading_ahead_changes_nothing(recorded, truths, tmp_path, seed, verified):
    """Two threads ask the same moving node, so a seed doesn't repeat exactly; the outcome does."""
    rows, tip = chaos(tmp_path / "index.db", recorded, seed, verified, ahead=True)
    assert rows == truths[tip]


def test_few_receipts_at_a_time_change_nothing(recorded, truths, tmp_path, monkeypatch):
    """Pages are cut so that the receipts of few blocks are in memory."""
    monkeypatch.setattr(verified, "MOST_SUSPECTS", 1)
    leaf = recorded.leaves[0]
    desk = Desk(tmp_path / "index.db", recorded.sources)
    desk.run(RecordedNode(recorded, leaf), Indexer.catch_up, verified=True)
    assert desk.rows() == truths[leaf]


def test_two_commits_are_caught(recorded, truths, tmp_path):
    _, boundaries = reorganise(tmp_path / "whole.db", recorded, False, store=TwoCommits)
    outcomes = []
    for kill_at in range(1, boundaries + 1):
        path = tmp_path / f"{kill_at}.db"
        try:
            rows, _ = reorganise(path, recorded, False, kill_at, TwoCommits)
        except Exception as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append(rows == truths[recorded.leaves[2]])
    assert "IntegrityError" in outcomes
    assert True in outcomes


@pytest.mark.parametrize(
    ("owner", "check", "bug"),
    [
        (standard, "belongs", lambda head, log: True),
        (indexer, "follows", lambda top, head: True),
        (Sources, "may_be_in", lambda self, bloom: False),
    ],
    ids=["block hash of logs", "parent hash", "bloom filter"],
)
def test_a_missing_check_is_caught(recorded, truths, tmp_path, monkeypatch, owner, check, bug):
    monkeypatch.setattr(owner, check, bug)
    assert not survives(recorded, truths, tmp_path)
