"""The indexer over HTTP against a node that really reorganises, while its process dies now and then."""

import os
import threading
from random import Random

import pytest
from indexer.activity import Activity
from indexer.trouble import Desk, fresh, persist

from imprimatur.chain.events import Indexer
from support.node import running_chain

SEEDS = range(100, 120) if os.environ.get("IMPRIMATUR_FUZZ") == "long" else range(100, 103)


def live(chain, random, step):
    """A life of a chain: blocks, and branches that are given up; `step` comes in between."""
    activity = Activity(chain, random)
    rpc = chain.rpc
    snapshots = []
    for _ in range(25):
        kind = random.random()
        if kind < 0.25 and snapshots:
            # anvil forgets the snapshots after the one that it goes back to.
            place = random.randrange(len(snapshots))
            assert rpc.call("evm_revert", [snapshots[place]])
            del snapshots[place:]
        elif kind < 0.4:
            depth = random.randrange(1, 5)
            if int(rpc.call("eth_blockNumber", []), 16) > depth + 4:
                rpc.call("anvil_reorg", [depth, []])
                snapshots.clear()
        else:
            snapshots.append(rpc.call("evm_snapshot", []))
            activity.block(random.choice((0, 1, 3)))
        step(activity)
    # So that the last branch differs from any other at some height.
    for _ in range(3):
        activity.block(2)
    return activity


@pytest.mark.parametrize("verified", [False, True], ids=["standard", "verified"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_real_node_that_reorganises(tmp_path, seed, verified):
    random = Random(seed)
    with running_chain() as chain:
        desk = Desk(tmp_path / "index.db", [])
        options = {"verified": verified, "largest_window": random.choice((2, 64))}

        def step(activity):
            desk.sources = activity.sources
            kill_at = random.choice((None, None, random.randrange(1, 60)))
            desk.run(chain.rpc, lambda indexer: persist(indexer, random.randrange(1, 5)), kill_at, **options)

        activity = live(chain, random, step)
        desk.run(chain.rpc, Indexer.catch_up, **options)
        rows = desk.rows()
        assert rows == fresh(tmp_path / "fresh.db", chain.rpc, activity.sources)
        licenses = list(chain.licenses.events())
        found = [row for row in rows if row.contract.lower() == chain.licenses.address.lower()]
        assert [(e.name, e.block_hash, e.log_index) for e in licenses] == [
            (row.name, row.block_hash, row.log_index) for row in found
        ]


def test_following_a_node(tmp_path):
    with running_chain() as chain:
        activity = Activity(chain, Random(1))
        desk = Desk(tmp_path / "index.db", activity.sources)
        stop, written, trouble = threading.Event(), threading.Event(), []

        def tell(progress):
            if isinstance(progress, Exception):
                trouble.append(progress)
            elif progress.rows:
                written.set()

        follower = threading.Thread(
            target=desk.run, args=(chain.rpc, lambda indexer: indexer.follow(stop, 0.02, tell))
        )
        follower.start()
        try:
            for count in (1, 2, 3):
                written.clear()
                chain.rpc.call(
                    "eth_sendTransaction",
                    [
                        {
                            "from": activity.accounts[0],
                            "to": chain.licenses.address,
                            "data": chain.licenses.issue_batch_call(activity.orders(1)),
                        }
                    ],
                )
                assert written.wait(20), count
        finally:
            stop.set()
            follower.join(20)
        assert not follower.is_alive()
        assert not trouble
        assert [row.name for row in desk.rows()] == ["LicenseIssued", "TransferSingle"] * 3
