"""The outbox against sending what was signed before: transactions per second on the same node.

    python -m benchmarks.outbox [--jobs 500] [--rounds 3]

Both sides hand the same transfers to an anvil node that mines each at once. The peer only sends what was
signed beforehand, on one kept connection, one HTTP request each (a second peer: in batches of 64), and looks
for the last receipt. The outbox estimates, signs, commits to SQLite (synchronous=FULL), sends, follows
every receipt and settles every intent. "One at a time" is one intent queued and carried to its end, then the
next; its peer sends one and waits for its receipt.
"""

import argparse
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from imprimatur.chain import transactions
from imprimatur.chain.outbox import Call, Outbox, Rules, State, Transactions, sqlite_transactions
from imprimatur.chain.rpc import HttpRpc
from imprimatur.chain.signers import KeySigner
from tools.anvil import running_anvil

CHAIN = 31337
GAS = 21_000
ONE_AT_A_TIME = 100
BATCH = 64

Run = Callable[[HttpRpc], float]
"""Seconds that one side takes on a node."""


def sender(rpc: HttpRpc) -> KeySigner:
    """A new account with enough ether."""
    signer = KeySigner(secrets.token_bytes(32))
    rpc.call("anvil_setBalance", [signer.address, hex(10**21)])
    return signer


def presigned(rpc: HttpRpc, jobs: int) -> list[tuple[str, str]]:
    """Raw bytes and hashes of transfers from a new account."""
    signer, fees = sender(rpc), transactions.suggest_fees(rpc)
    made = []
    for nonce in range(jobs):
        to = "0x" + secrets.token_hex(20)
        raw, hash = signer.sign_transaction(transactions.build(CHAIN, nonce, to, "0x", GAS, fees, 1))
        made.append(("0x" + raw.hex(), hash))
    return made


def send_batches(rpc: HttpRpc, jobs: int) -> float:
    """Seconds to send pre-signed transactions in JSON-RPC batches, waiting for the last receipt."""
    made = presigned(rpc, jobs)
    started = time.perf_counter()
    for first in range(0, jobs, BATCH):
        rpc.batch([("eth_sendRawTransaction", [raw]) for raw, _ in made[first : first + BATCH]])
    transactions.wait_for_receipt(rpc, made[-1][1], poll=0.002)
    return time.perf_counter() - started


def send_raw(rpc: HttpRpc, jobs: int, each: bool) -> float:
    """Seconds to send pre-signed transactions, waiting for each receipt or for the last one."""
    made = presigned(rpc, jobs)
    started = time.perf_counter()
    for raw, hash in made:
        rpc.call("eth_sendRawTransaction", [raw])
        if each:
            transactions.wait_for_receipt(rpc, hash, poll=0.002)
    transactions.wait_for_receipt(rpc, made[-1][1], poll=0.002)
    return time.perf_counter() - started


def settle(outbox: Outbox, open_transaction: Transactions, done: int) -> None:
    """Step until so many intents are done."""
    while outbox.metrics.settled < done:
        outbox.step()
    with open_transaction() as store:
        assert store.count(outbox.sender) == {State.DONE: done}


def carry(rpc: HttpRpc, jobs: int, each: bool) -> float:
    """Seconds for the outbox to carry queued transfers to the end."""
    with tempfile.TemporaryDirectory() as folder:
        opened = sqlite_transactions(Path(folder) / "outbox.db")
        outbox = Outbox(rpc, sender(rpc), opened, Rules.for_chain(CHAIN))
        calls = [Call("0x" + secrets.token_hex(20), value=1) for _ in range(jobs)]
        if not each:
            with opened() as store:
                for number, call in enumerate(calls):
                    outbox.enqueue(store, f"job-{number}", call)
        started = time.perf_counter()
        if each:
            for number, call in enumerate(calls):
                with opened() as store:
                    outbox.enqueue(store, f"job-{number}", call)
                settle(outbox, opened, number + 1)
        else:
            settle(outbox, opened, jobs)
        return time.perf_counter() - started


def compare(name: str, jobs: int, rounds: int, peer: Run, ours: Run) -> float:
    """Print medians of interleaved rounds, each on a fresh node (anvil slows down as it grows); the ratio."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for run, seconds in zip((peer, ours), times, strict=True):
            with running_anvil() as rpc:
                seconds.append(run(rpc))
    raw, own = (statistics.median(side) for side in times)
    print(
        f"{name}: pre-signed {jobs / raw:7.1f} tx/s · outbox {jobs / own:7.1f} tx/s · ratio {raw / own:.2f}"
    )
    return raw / own


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    jobs, rounds = arguments.jobs, arguments.rounds
    few = min(jobs, ONE_AT_A_TIME)
    queued = partial(carry, jobs=jobs, each=False)
    ratio = compare(f"{jobs} queued", jobs, rounds, partial(send_raw, jobs=jobs, each=False), queued)
    compare(f"{jobs} queued, peer in batches", jobs, rounds, partial(send_batches, jobs=jobs), queued)
    one = partial(carry, jobs=few, each=True)
    compare("one at a time", few, rounds, partial(send_raw, jobs=few, each=True), one)
    print(f"goal for queued intents, sent one by one: ratio >= 0.5: {'met' if ratio >= 0.5 else 'missed'}")
    return 0 if ratio >= 0.5 else 1


if __name__ == "__main__":
    sys.exit(main())
