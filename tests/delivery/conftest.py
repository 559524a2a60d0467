"""A chain with blocks that come by themselves, and a portal of three processes on it."""

import threading
import time
from collections.abc import Iterator

import pytest

from support.keystores import cheap_keystores
from support.node import Chain, running_chain

__all__ = ["cheap_keystores"]

BLOCK_TIME = 0.15
"""Seconds between two empty blocks; transactions make blocks of their own."""


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with running_chain() as chain:
        over = threading.Event()

        def mine() -> None:
            while not over.wait(BLOCK_TIME):
                chain.rpc.call("evm_mine", [])

        miner = threading.Thread(target=mine, daemon=True)
        miner.start()
        yield chain
        over.set()
        miner.join()


@pytest.fixture(scope="module", autouse=True)
def started() -> float:
    return time.monotonic()
