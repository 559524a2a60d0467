"""How long verifying a certificate takes, and how fast receipts and headers are rebuilt, beside their peers.

    .venv/bin/python benchmarks/certificate.py

Prints the fastest of interleaved rounds, because whatever else the machine does only slows, and medians
beside it; ratios are those of the fastest. A certificate is promised to take at most 1 ms.
Peers: the keccaks alone that a verification can't do without; for the trie, py-trie (`trie`) and the rlp
package, as web3.py users have them. The certificate is one of a block with 200 transactions.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import rlp  # noqa: E402
from trie import HexaryTrie  # noqa: E402

from imprimatur import address_book  # noqa: E402
from imprimatur.certificate import Anchor, document, verify  # noqa: E402
from imprimatur.certificate.verifying import establish  # noqa: E402
from imprimatur.chain import trie  # noqa: E402
from imprimatur.chain.headers import parse_header  # noqa: E402
from imprimatur.chain.keccak import keccak256  # noqa: E402
from imprimatur.chain.receipts import decode_receipt, encode_receipt  # noqa: E402
from support.forger import CHAIN_ID, CONTRACT, PRINT, STATE, TAG, Forgery, logs_of, receipt_of  # noqa: E402

ROUNDS = 25
COUNT = 200
"""Transactions of the block."""

Job = Callable[[], object]


def measure(jobs: dict[str, tuple[Job, int]]) -> dict[str, list[float]]:
    """Seconds of one call of each job, round by round; given with the number of calls a round."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, (job, calls) in jobs.items():
            started = time.perf_counter()
            for _ in range(calls):
                job()
            times[name].append((time.perf_counter() - started) / calls)
    return times


def receipt_json() -> dict[str, object]:
    """A receipt with a logged print, as a node says it."""
    receipt = decode_receipt(receipt_of(logs_of(PRINT)))
    return {
        "type": hex(receipt.kind),
        "status": "0x1",
        "cumulativeGasUsed": hex(receipt.gas_used),
        "logsBloom": "0x" + receipt.bloom.hex(),
        "logs": [
            {
                "address": "0x" + log.address.hex(),
                "topics": ["0x" + topic.hex() for topic in log.topics],
                "data": "0x" + log.data.hex(),
            }
            for log in receipt.logs
        ],
    }


def plain_rlp(receipt: dict[str, object]) -> bytes:
    """The same bytes by the rlp package."""
    logs = [
        [
            bytes.fromhex(log["address"][2:]),
            [bytes.fromhex(topic[2:]) for topic in log["topics"]],
            bytes.fromhex(log["data"][2:]),
        ]
        for log in receipt["logs"]  # type: ignore[attr-defined]
    ]
    gas, bloom = int(str(receipt["cumulativeGasUsed"]), 16), bytes.fromhex(str(receipt["logsBloom"])[2:])
    return b"\x02" + bytes(rlp.encode([1, gas, bloom, logs]))


def py_trie_root(values: list[bytes]) -> bytes:
    """Root of a list by py-trie."""
    built = HexaryTrie({}, prune=True)
    for index, value in enumerate(values):
        built[rlp.encode(index)] = value
    return bytes(built.root_hash)


def main() -> None:
    least = replace(Forgery(), others=COUNT - 1)
    whole = replace(least, state=STATE, state_number=9, tag=TAG)
    book = Path(tempfile.mkdtemp())
    address_book.store(
        book, address_book.Deployment(CHAIN_ID, "PrintLicense", "0x" + CONTRACT.hex(), 1, "0x")
    )
    certificates = {"print": least.write(), "print, tag, later state": whole.write()}

    def verification(data: bytes) -> Job:
        anchor = Anchor(CHAIN_ID, frozenset(block.hash for block in verify(data, book).blocks))
        return lambda: verify(data, book, anchor)

    parts = least.parts()
    hashed = [parts.header.rlp, *parts.proof.nodes]
    root, key = parts.header.receipts_root, trie.index_key(COUNT - 1)
    nodes = [rlp.decode(node) for node in parts.proof.nodes]
    json, one = receipt_json(), receipt_of(logs_of(PRINT))
    values = [one + bytes([n]) for n in range(COUNT)]
    assert plain_rlp(json) == encode_receipt(json) == one
    assert py_trie_root(values) == trie.root(values)
    assert HexaryTrie.get_from_proof(root, key, nodes) == trie.verify(root, key, parts.proof.nodes)

    rounds = measure(
        {f"verify: {name}": (verification(data), 50) for name, data in certificates.items()}
        | {
            "  its keccaks alone": (lambda: [keccak256(data) for data in hashed], 200),
            "  reading the file": (lambda: document.read(certificates["print"]), 50),
            "  header, proof, receipt, events": (lambda: establish(parts), 50),
            "proof": (lambda: trie.verify(root, key, parts.proof.nodes), 100),
            "proof by py-trie": (lambda: HexaryTrie.get_from_proof(root, key, nodes), 20),
            "header": (lambda: parse_header(parts.header.rlp).hash, 100),
            "receipt to bytes": (lambda: encode_receipt(json), 200),
            "receipt to bytes by rlp": (lambda: plain_rlp(json), 50),
            f"root of {COUNT} receipts": (lambda: trie.root(values), 3),
            f"root of {COUNT} receipts by py-trie": (lambda: py_trie_root(values), 1),
        }
    )
    times = {name: min(seconds) for name, seconds in rounds.items()}
    for name, seconds in rounds.items():
        median = statistics.median(seconds)
        print(f"{name:<34} {times[name] * 1e3:8.3f} ms   median {median * 1e3:8.3f} ms")
    for name, data in certificates.items():
        floor = times[f"verify: {name}"] / times["  its keccaks alone"]
        print(f"certificate ({name}): {len(data)} bytes, {floor:.1f} × the keccaks of a plain one")
    for name in ("proof", "receipt to bytes", f"root of {COUNT} receipts"):
        peer = next(other for other in times if other.startswith(f"{name} by "))
        print(f"{name}: {times[peer] / times[name]:.1f} × as fast as {peer.removeprefix(f'{name} by ')}")
    each = times["receipt to bytes"] + times[f"root of {COUNT} receipts"] / COUNT
    print(f"rebuilding receiptsRoot: {1 / each:,.0f} receipts of 4 logs a second")


if __name__ == "__main__":
    main()
