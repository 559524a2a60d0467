"""The proxy before anvil: faults happen as ordered, and the rules that anvil lacks hold."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from library.adversary.fault_proxy import FaultProxy
from library.adversary.network import CALM, Weather
from library.adversary.signed import HALF_ORDER

from imprimatur.chain.rpc import HttpRpc, NodeBusy, NodeRefused, NodeUnreachable
from imprimatur.chain.signers import KeySigner
from tools.anvil import running_anvil

GWEI = 10**9
SIGNER = KeySigner(bytes(range(1, 33)))
ORDER = 2 * HALF_ORDER + 1
CERTAIN = 1.0


@pytest.fixture(scope="module")
def node() -> Iterator[HttpRpc]:
    with running_anvil("--no-mining") as rpc:
        yield rpc


@pytest.fixture(autouse=True)
def fresh(node: HttpRpc) -> Iterator[None]:
    """Every test finds the same chain."""
    node.call("anvil_setBalance", [SIGNER.address, hex(10**20)])
    snapshot = node.call("evm_snapshot", [])
    yield
    node.call("evm_revert", [snapshot])
    node.call("anvil_dropAllTransactions", [])


@contextmanager
def proxied(node: HttpRpc, pool_kept: bool = True, **rates: float) -> Iterator[tuple[FaultProxy, HttpRpc]]:
    with FaultProxy(node.url, 1, Weather(**rates), stall=0.1, pool_kept=pool_kept) as proxy:
        yield proxy, HttpRpc(proxy.url, retries=0)
    assert proxy.errors == []


def signed(nonce: int, fee: float = 10, tip: float = 1, **other: Any) -> str:
    transaction = {
        "type": 2,
        "chainId": 31337,
        "nonce": nonce,
        "to": "0x" + "77" * 20,
        "value": 1,
        "data": "0x",
    }
    fees = {"gas": 21_000, "maxFeePerGas": int(fee * GWEI), "maxPriorityFeePerGas": int(tip * GWEI)}
    return "0x" + SIGNER.sign_transaction(transaction | fees | other)[0].hex()


def send(rpc: HttpRpc, raw: str) -> str:
    return str(rpc.call("eth_sendRawTransaction", [raw]))


def waiting(node: HttpRpc) -> int:
    return int(node.call("txpool_status", [])["pending"], 16)


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_in_calm_weather_it_is_the_node(node):
    with proxied(node) as (proxy, rpc):
        assert proxy.weather == CALM
        hash = send(rpc, signed(0))
        assert rpc.call("eth_getTransactionByHash", [hash])["hash"] == hash
        number, refused, chain = rpc.batch(
            [("eth_blockNumber", []), ("eth_nonsense", []), ("eth_chainId", [])]
        )
        assert (number, chain) == (node.call("eth_blockNumber", []), "0x7a69")
        assert isinstance(refused, NodeRefused)


def test_a_lost_answer_was_carried_out(node):
    with proxied(node, lost=CERTAIN) as (_, rpc):
        with pytest.raises(NodeUnreachable):
            send(rpc, signed(0))
        assert waiting(node) == 1


def test_no_connection_means_nothing_happened(node):
    with proxied(node, refused=CERTAIN) as (_, rpc):
        for _ in range(4):
            with pytest.raises(NodeUnreachable):
                send(rpc, signed(0))
        assert waiting(node) == 0


def test_busy_nodes_say_so(node):
    with proxied(node, busy=CERTAIN) as (_, rpc):
        seen = set()
        for _ in range(12):
            with pytest.raises(NodeBusy) as busy:
                send(rpc, signed(0))
            seen.add((busy.value.status, busy.value.retry_after))
        assert seen == {(429, 0.0), (429, None), (503, None)}
        assert waiting(node) == 0


def test_a_stall_outlasts_the_client(node):
    with proxied(node, stalled=CERTAIN) as (_, rpc), pytest.raises(NodeUnreachable):
        rpc.call("eth_blockNumber", [])


def test_swallowed_sendings_look_like_sent_ones(node):
    with proxied(node, swallowed=CERTAIN) as (_, rpc):
        hash = send(rpc, signed(0))
        assert len(hash) == 66
        assert node.call("eth_getTransactionByHash", [hash]) is None


def test_delayed_sendings_arrive(node):
    with proxied(node, delayed=CERTAIN, delay=0.2) as (_, rpc):
        with suppress(NodeUnreachable):
            send(rpc, signed(0))
        assert soon(lambda: waiting(node) == 1)


def test_doubled_sendings_are_noticed_by_the_pool(node):
    with proxied(node, doubled=CERTAIN, delay=0.1) as (proxy, rpc):
        send(rpc, signed(0))
        assert soon(lambda: proxy.late == 1)
        assert waiting(node) == 1


def test_single_calls_of_a_batch_are_limited(node):
    with proxied(node, limited=CERTAIN) as (_, rpc):
        (refused,) = rpc.batch([("eth_blockNumber", [])])
        assert (refused.code, "limited" in refused.message) == (-32005, True)


@pytest.mark.parametrize(("fee", "tip", "taken"), [(11, 1.1, True), (11, 1.09, False), (10.9, 1.1, False)])
def test_both_fees_must_rise_by_a_tenth(node, fee, tip, taken):
    with proxied(node) as (_, rpc):
        first = send(rpc, signed(0))
        if taken:
            first = send(rpc, signed(0, fee, tip))
        else:
            with pytest.raises(NodeRefused, match="replacement transaction underpriced"):
                send(rpc, signed(0, fee, tip))
        node.call("evm_mine", [])
        assert node.call("eth_getTransactionReceipt", [first])["status"] == "0x1"


def test_anvil_itself_takes_what_geth_refuses(node):
    """Why the proxy is needed; when this fails, anvil has learned it."""
    send(node, signed(0))
    send(node, signed(0, fee=10.0000001, value=2))


def test_the_malleable_twin_is_refused(node):
    import rlp

    fields = rlp.decode(bytes.fromhex(signed(0)[4:]))
    s = ORDER - int.from_bytes(fields[11], "big")
    odd = b"" if fields[9] else b"\x01"
    twin = b"\x02" + rlp.encode([*fields[:9], odd, fields[10], s.to_bytes(32, "big").lstrip(b"\0")])
    with proxied(node) as (_, rpc), pytest.raises(NodeRefused, match="v, r, s"):
        send(rpc, "0x" + twin.hex())


@pytest.mark.parametrize("kept", [True, False])
def test_what_the_base_fee_outgrew_waits_for_it_to_fall(node, kept):
    with proxied(node, pool_kept=kept) as (proxy, rpc):
        hash = send(rpc, signed(0))
        node.call("anvil_setNextBlockBaseFeePerGas", [hex(1000 * GWEI)])
        node.call("evm_mine", [])
        assert waiting(node) == 0
        assert len(send(rpc, signed(1))) == 66  # anvil refuses it now; geth wouldn't
        node.call("anvil_setNextBlockBaseFeePerGas", [hex(GWEI)])
        node.call("evm_mine", [])
        if kept:
            assert soon(lambda: waiting(node) == 2)
            node.call("evm_mine", [])
            assert node.call("eth_getTransactionReceipt", [hash])["status"] == "0x1"
        else:
            assert (waiting(node), proxy.pool.returned) == (0, 0)


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_reorganisation_took_off_comes_back(node, kept):
    for _ in range(3):
        node.call("evm_mine", [])
    with proxied(node, pool_kept=kept) as (proxy, rpc):
        hash = send(rpc, signed(0))
        node.call("evm_mine", [])
        node.call("anvil_reorg", [1, []])
        assert node.call("eth_getTransactionReceipt", [hash]) is None
        if kept:
            assert soon(lambda: waiting(node) == 1)
        else:
            assert (waiting(node), proxy.pool.returned) == (0, 0)


def test_a_forgotten_pool_returns_nothing(node):
    with proxied(node) as (proxy, rpc):
        proxy.pool.forget()
        send(rpc, signed(0))
        proxy.pool.forget()
        node.call("anvil_dropAllTransactions", [])
        send(rpc, signed(0))
        assert waiting(node) == 1
        assert proxy.pool.returned == 0
