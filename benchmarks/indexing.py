"""How fast events become rows in SQLite: our indexer, its verified mode, and web3.py's `get_logs`.

    .venv/bin/python benchmarks/indexing.py [events] [runs]

A fresh node (anvil) with real LicenseIssued and TransferSingle events, read over HTTP by each; medians of
interleaved runs. web3.py decodes both kinds of events and stores nothing; ours also reads the headers, checks
them, and writes rows to a database on disk. First blocks of 400 events, then blocks of two, where the headers
are most of the work. The promise, for full blocks: 20 times web3.py, verified 8 times.
"""

import gc
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from imprimatur import artifacts  # noqa: E402
from imprimatur.chain.account import kept_recursion_limit  # noqa: E402
from imprimatur.chain.events import Indexer, Source, SqliteEventStore  # noqa: E402
from imprimatur.chain.orders import Order  # noqa: E402
from imprimatur.chain.transactions import wait_for_receipt  # noqa: E402
from support.node import Chain, running_chain  # noqa: E402

EVENTS = 20_000
RUNS = 3
DENSE, SPARSE = 200, 1
"""Licenses in one block; each is two events."""
SPARSE_BLOCKS = 1000
EVENTS_OF_A_LICENSE = ("LicenseIssued", "TransferSingle")
WEB3_EVENTS = 5000
"""Events in one `get_logs`: about as many as the indexer reads at once."""


def issue(chain: Chain, blocks: int, licenses: int, number: int) -> None:
    """Blocks with so many new licenses each, from the accounts that the node signs for."""
    owner, *printers = chain.rpc.call("eth_accounts", [])
    for _ in range(blocks):
        orders = []
        for _ in range(licenses):
            number += 1
            printer = printers[number % len(printers)]
            orders.append(Order(owner, number, printer, f"{number:064x}", 3, 2**40))
        call = {"from": owner, "to": chain.licenses.address, "gas": hex(29_000_000)}
        call["data"] = chain.licenses.issue_batch_call(orders)
        hash = chain.rpc.call("eth_sendTransaction", [call])
        assert wait_for_receipt(chain.rpc, hash, poll=0.005)["status"] == "0x1"


class Readers:
    """Everything that is compared, over the blocks `first` to `last` of one chain. Each counts events."""

    def __init__(self, chain: Chain, first: int, last: int, events: int, folder: Path) -> None:
        with kept_recursion_limit():
            from web3 import Web3
        self._chain = chain
        self._first = first
        self._last = last
        self._folder = folder
        self._range = max(1, WEB3_EVENTS * (last - first + 1) // events)
        web3 = Web3(Web3.HTTPProvider(chain.url))
        address = web3.to_checksum_address(chain.licenses.address)
        self._contract = web3.eth.contract(address=address, abi=artifacts.load("PrintLicense")["abi"])

    def _index(self, verified: bool) -> int:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            connection = sqlite3.connect(Path(folder) / "index.db")
            # Rows are about 1 kB: larger pages than SQLite's 4 kB hold them with less to write.
            connection.execute("PRAGMA page_size=16384")
            connection.execute("PRAGMA journal_mode=WAL")
            # A power cut may cost the last windows, which are read again; it can't damage the database.
            connection.execute("PRAGMA synchronous=NORMAL")
            source = Source("PrintLicense", self._chain.licenses.address, self._first)
            indexer = Indexer(
                self._chain.rpc, [source], SqliteEventStore(connection), verified=verified, ahead=True
            )
            rows = indexer.catch_up().rows
            connection.close()
            return rows

    def index(self) -> int:
        return self._index(verified=False)

    def verify(self) -> int:
        return self._index(verified=True)

    def web3(self) -> int:
        found = 0
        for start in range(self._first, self._last + 1, self._range):
            end = min(self._last, start + self._range - 1)
            for name in EVENTS_OF_A_LICENSE:
                found += len(self._contract.events[name].get_logs(from_block=start, to_block=end))
        return found

    def fetch(self) -> int:
        """The bytes of all logs in one answer, not even parsed."""
        import requests

        query = {"address": self._chain.licenses.address, "fromBlock": hex(self._first), "toBlock": "latest"}
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [query]}
        return requests.post(self._chain.url, json=request, timeout=60).content.count(b'"logIndex"')

    def parse(self) -> int:
        """The same through our JSON-RPC client, parsed."""
        query = {"address": self._chain.licenses.address, "fromBlock": hex(self._first), "toBlock": "latest"}
        return len(self._chain.rpc.call("eth_getLogs", [query]))


def measure(readers: dict[str, Callable[[], int]], events: int, runs: int) -> dict[str, float]:
    """Events per second of each, the median of interleaved runs."""
    rates: dict[str, list[float]] = {name: [] for name in readers}
    # What the imports left, web3's most of all, isn't searched for garbage in anybody's time.
    gc.collect()
    gc.freeze()
    for _ in range(runs):
        for name, reader in readers.items():
            gc.collect()
            started = time.perf_counter()
            found = reader()
            rates[name].append(found / (time.perf_counter() - started))
            assert found == events, (name, found)
    return {name: statistics.median(some) for name, some in rates.items()}


def compare(chain: Chain, title: str, first: int, last: int, events: int, runs: int, folder: Path) -> None:
    readers = Readers(chain, first, last, events, folder)
    named: dict[str, Callable[[], Any]] = {
        "logs fetched, not parsed": readers.fetch,
        "logs fetched and parsed": readers.parse,
        "indexer": readers.index,
        "indexer, verified": readers.verify,
        "web3.py get_logs": readers.web3,
    }
    rates = measure(named, events, runs)
    print(f"{title}: {events} events in {last - first + 1} blocks")
    for name, rate in rates.items():
        ratio, share = rate / rates["web3.py get_logs"], rate / rates["logs fetched, not parsed"]
        print(f"  {name:<26} {rate:9.0f} events/s {ratio:8.1f} x web3.py {share:7.1%} of fetching")


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else RUNS
    with running_chain() as chain, tempfile.TemporaryDirectory() as folder:
        last = int(chain.rpc.call("eth_blockNumber", []), 16)
        blocks = events // (2 * DENSE)
        issue(chain, blocks, DENSE, 0)
        first, last = last + 1, last + blocks
        compare(chain, "Full blocks", first, last, blocks * 2 * DENSE, runs, Path(folder))
        issue(chain, SPARSE_BLOCKS, SPARSE, 10_000_000)
        first, last = last + 1, last + SPARSE_BLOCKS
        compare(chain, "Small blocks", first, last, SPARSE_BLOCKS * 2, runs, Path(folder))


if __name__ == "__main__":
    main()
