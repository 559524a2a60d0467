"""The simulated node keeps the rules of a real one; where anvil keeps them too, both are asked."""

from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from library.adversary.clock import VirtualClock
from library.adversary.ledger import COUNTER, REVERTING
from library.adversary.network import CALM, Killed, KillSwitch, Network, Weather
from library.adversary.signed import HALF_ORDER, read
from library.adversary.simulated_node import CHAIN_ID, SimulatedNode

from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from imprimatur.chain.signers import KeySigner

ETHER = 10**18
GWEI = 10**9
ORDER = 2 * HALF_ORDER + 1
SIGNER = KeySigner(bytes(range(1, 33)))


def node_with(**options: Any) -> SimulatedNode:
    return SimulatedNode(VirtualClock(), balances={SIGNER.address: ETHER}, **options)


def signed(
    nonce: int, fee: int = 40 * GWEI, tip: int = 2 * GWEI, job: int | None = None, **other: Any
) -> str:
    transaction = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "to": COUNTER,
        "value": 0,
        "data": (nonce if job is None else job).to_bytes(32, "big"),
        "gas": 60_000,
        "maxFeePerGas": fee,
        "maxPriorityFeePerGas": tip,
    }
    return "0x" + SIGNER.sign_transaction(transaction | other)[0].hex()


def send(node: SimulatedNode, raw: str) -> str:
    return str(node.call("eth_sendRawTransaction", [raw]))


def nonce_of(node: SimulatedNode, tag: str = "latest") -> int:
    return int(node.call("eth_getTransactionCount", [SIGNER.address, tag]), 16)


def jobs(node: SimulatedNode) -> list[int]:
    return [job for job, _ in node.ledger.executed()]


def test_sender_and_hash_are_the_real_ones():
    transaction = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": 7,
        "to": "0x" + "11" * 20,
        "value": 5,
        "data": "0x",
    }
    transaction |= {"gas": 21_000, "maxFeePerGas": 9, "maxPriorityFeePerGas": 3}
    raw, hash = SIGNER.sign_transaction(transaction)
    found = read(raw)
    assert (found.sender, found.hash) == (SIGNER.address.lower(), hash)
    assert (found.nonce, found.fee, found.tip, found.value, found.cost) == (7, 9, 3, 5, 21_000 * 9 + 5)


def test_the_malleable_twin_is_refused():
    import rlp

    fields = rlp.decode(bytes.fromhex(signed(0)[4:]))
    s = ORDER - int.from_bytes(fields[11], "big")
    odd = b"" if fields[9] else b"\x01"
    twin = b"\x02" + rlp.encode([*fields[:9], odd, fields[10], s.to_bytes(32, "big").lstrip(b"\0")])
    with pytest.raises(NodeRefused, match="invalid transaction v, r, s values"):
        send(node_with(), "0x" + twin.hex())


def test_one_job_is_counted_once_and_in_order():
    node = node_with()
    assert send(node, signed(1)) == read(bytes.fromhex(signed(1)[2:])).hash
    assert (nonce_of(node, "pending"), jobs(node)) == (0, [])
    node.mine()
    assert jobs(node) == []  # nonce 0 is missing
    send(node, signed(0))
    assert nonce_of(node, "pending") == 2
    node.mine()
    assert (nonce_of(node), jobs(node)) == (2, [0, 1])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (signed(0, chainId=1), "invalid chain id"),
        (signed(0, gas=20_000), "intrinsic gas too low"),
        (signed(0, gas=31_000_000), "exceeds block gas limit"),
        (signed(0, value=ETHER), "insufficient funds for gas"),
        (signed(0, tip=41 * GWEI), "max priority fee per gas higher"),
        ("0x01" + "00" * 40, "transaction type not supported"),
        ("0x0200", "rlp"),
    ],
)
def test_what_is_refused(raw, words):
    with pytest.raises(NodeRefused, match=words):
        send(node_with(), raw)


def test_nonces_are_used_once():
    node = node_with()
    raw = signed(0)
    send(node, raw)
    with pytest.raises(NodeRefused, match="already known"):
        send(node, raw)
    node.mine()
    with pytest.raises(NodeRefused, match="nonce too low"):
        send(node, raw)


@pytest.mark.parametrize(
    ("fee", "tip", "taken"),
    [(44, 2.2, True), (44, 2.1, False), (43, 2.2, False), (80, 2, False), (40, 4, False)],
)
def test_both_fees_must_rise_by_a_tenth(fee, tip, taken):
    node = node_with()
    send(node, signed(0))
    better = signed(0, int(fee * GWEI), int(tip * GWEI), job=9)
    if taken:
        send(node, better)
    else:
        with pytest.raises(NodeRefused, match="replacement transaction underpriced"):
            send(node, better)
    node.mine()
    assert jobs(node) == [9 if taken else 0]


def test_receipts_tell_what_happened():
    node = node_with()
    hashes = [send(node, signed(0)), send(node, signed(1, job=REVERTING)), send(node, signed(2, gas=30_000))]
    assert node.call("eth_getTransactionReceipt", hashes[:1]) is None
    block = node.mine()
    receipts = [node.call("eth_getTransactionReceipt", [hash]) for hash in hashes]
    assert [receipt["status"] for receipt in receipts] == ["0x1", "0x0", "0x0"]
    assert {receipt["blockHash"] for receipt in receipts} == {block.hash}
    assert jobs(node) == [0]
    assert int(node.call("eth_getBalance", [SIGNER.address, "latest"]), 16) == ETHER - sum(
        int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16) for receipt in receipts
    )


def test_blocks_chain_by_their_parents_also_after_a_reorganisation():
    node = node_with(depth=3)
    for _ in range(6):
        node.mine()
    old = [node.call("eth_getBlockByNumber", [hex(number), False]) for number in range(7)]
    node.reorganise(3)
    new = [node.call("eth_getBlockByNumber", [hex(number), False]) for number in range(8)]
    assert [a["hash"] == b["hash"] for a, b in zip(old, new, strict=False)] == [True] * 4 + [False] * 3
    assert all(child["parentHash"] == parent["hash"] for parent, child in pairwise(new))
    assert node.call("eth_getBlockByNumber", ["0x8", False]) is None
    with pytest.raises(ValueError, match="promised"):
        node.reorganise(4)


@pytest.mark.parametrize("returned", [0.0, 1.0])
def test_a_reorganisation_returns_or_loses_transactions(returned):
    node = node_with()
    hash = send(node, signed(0))
    node.mine()
    node.reorganise(1, returned=returned, included=0)
    assert (nonce_of(node), jobs(node)) == (0, [])
    assert node.call("eth_getTransactionReceipt", [hash]) is None
    node.mine()
    assert jobs(node) == ([0] if returned else [])


def test_the_finalized_block_never_leaves():
    node = node_with(depth=3, epoch=4)
    seen: dict[int, str] = {}
    for round in range(40):
        node.mine()
        if round % 3 == 0:
            node.reorganise(3)
        block = node.call("eth_getBlockByNumber", ["finalized", False])
        number = int(block["number"], 16)
        assert number == max([*seen, number])
        assert number == 0 or node.ledger.head.number - number >= 3
        seen[number] = block["hash"]
    assert len(seen) > 5
    for number, hash in seen.items():
        assert node.call("eth_getBlockByNumber", [hex(number), False])["hash"] == hash


def test_the_base_fee_follows_eip_1559():
    node = node_with()
    node.market.rush = 20
    fees = [node.mine().base_fee for _ in range(21)]
    assert all(later == earlier + earlier // 8 for earlier, later in pairwise(fees))
    for _ in range(60):
        node.mine()
    assert node.ledger.head.base_fee < 2 * fees[0]


def test_a_cheap_transaction_waits_for_the_rush_to_end():
    node = node_with()
    node.market.rush = 10
    for _ in range(3):
        node.mine()
    send(node, signed(0, fee=11 * GWEI, tip=GWEI))
    for _ in range(7):
        node.mine()
    assert jobs(node) == []
    for _ in range(60):
        node.mine()
    assert jobs(node) == [0]


def test_a_node_that_lags_behind_knows_the_past():
    node = node_with(depth=3)
    node.mine()
    hash = send(node, signed(0))
    node.mine()
    orphan = node.ledger.head
    node.clock.advance(10)
    node.reorganise(1, returned=0.0)
    head = node.head_before(5)
    assert head is orphan
    assert node.answer("eth_getTransactionReceipt", [hash], head)["blockHash"] == orphan.hash
    assert node.answer("eth_getBlockByNumber", [hex(orphan.number), False], head)["hash"] == orphan.hash
    assert node.call("eth_getTransactionReceipt", [hash]) is None


def network(node: SimulatedNode, seed: int = 0, **rates: float) -> Network:
    dice = Random(seed)
    return Network(node, dice, Weather(**rates), KillSwitch(dice, 0), lambda _line: None)


def test_a_calm_network_changes_nothing():
    node = node_with()
    between = network(node)
    assert between.weather == CALM
    assert between.call("eth_sendRawTransaction", [signed(0)]).startswith("0x")
    refused, number = between.batch([("eth_sendRawTransaction", [signed(0)]), ("eth_blockNumber", [])])
    assert (refused.message, number) == ("already known", "0x0")


def test_a_lost_answer_was_carried_out_and_a_refused_connection_was_not():
    for rates, waiting in (({"lost": 1.0}, 1), ({"refused": 1.0}, 0)):
        node = node_with()
        with pytest.raises(NodeUnreachable):
            network(node, **rates).call("eth_sendRawTransaction", [signed(0)])
        assert len(list(node.pool)) == waiting


def test_swallowed_and_delayed_sendings_look_alike():
    node = node_with()
    answer = network(node, swallowed=1.0).call("eth_sendRawTransaction", [signed(0)])
    assert answer == read(bytes.fromhex(signed(0)[2:])).hash
    assert list(node.pool) == []
    with suppress(NodeUnreachable):
        network(node, delayed=1.0).call("eth_sendRawTransaction", [signed(0)])
    assert list(node.pool) == []
    node.clock.advance(121)
    assert len(list(node.pool)) == 1


def test_a_stall_takes_the_clients_patience():
    node = node_with()
    before = node.clock()
    with pytest.raises(NodeUnreachable):
        network(node, stalled=1.0).call("eth_blockNumber", [])
    assert node.clock() - before >= 20


def test_a_kill_comes_once_where_it_was_ordered():
    switch = KillSwitch(Random(0), 0.0, chosen="here")
    switch("there")
    with pytest.raises(Killed):
        switch("here")
    switch("here")
    assert (switch.kills["here"], switch.passed["here"]) == (1, 2)
