"""The pieces of a transaction against a real node: fees, gas, building, sending."""

import pytest
from eth_account import Account

from imprimatur.chain import transactions
from imprimatur.chain.adapters import ProviderRpc
from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.rpc import NodeRefused, Rpc
from imprimatur.chain.transactions import Fees, NoBaseFee, NotEnoughFunds, is_known_already

FILE_HASH = "d1" * 32


class Changed(Rpc):
    """A node whose answers to some methods are others."""

    def __init__(self, rpc, **answers):
        self._rpc = rpc
        self._answers = answers
        self.asked = []

    def call(self, method, params):
        self.asked.append(method)
        answer = self._answers.get(method)
        if isinstance(answer, Exception):
            raise answer
        return self._rpc.call(method, params) if answer is None else answer


def test_fees_follow_the_base_fee(chain):
    before = transactions.suggest_fees(chain.rpc)
    block = chain.rpc.call("eth_getBlockByNumber", ["latest", False])
    assert before.max_fee == 2 * int(block["baseFeePerGas"], 16) + before.tip
    chain.rpc.call("anvil_setNextBlockBaseFeePerGas", [hex(77 * 10**9)])
    chain.rpc.call("evm_mine", [])
    after = transactions.suggest_fees(chain.rpc)
    assert after.max_fee == 2 * 77 * 10**9 + after.tip
    chain.rpc.call("anvil_setNextBlockBaseFeePerGas", [block["baseFeePerGas"]])
    chain.rpc.call("evm_mine", [])


def test_a_node_without_an_opinion_about_tips(chain):
    refusing = Changed(chain.rpc, eth_maxPriorityFeePerGas=NodeRefused(-32601, "Method not found"))
    assert transactions.suggest_fees(refusing).tip == transactions.MIN_TIP
    modest = Changed(chain.rpc, eth_maxPriorityFeePerGas="0x0")
    assert transactions.suggest_fees(modest).tip == transactions.MIN_TIP
    bold = Changed(chain.rpc, eth_maxPriorityFeePerGas=hex(5 * 10**9))
    assert transactions.suggest_fees(bold).tip == 5 * 10**9


def test_chains_without_a_base_fee(chain):
    with pytest.raises(NoBaseFee):
        transactions.suggest_fees(Changed(chain.rpc, eth_getBlockByNumber={"number": "0x1"}))
    refused = NodeRefused(-32000, "no state")
    with pytest.raises(NodeRefused, match="no state"):
        transactions.suggest_fees(Changed(chain.rpc, eth_getBlockByNumber=refused))


def test_gas_has_a_margin(chain):
    owner = chain.account()
    order = chain.order(owner.address, owner.address, FILE_HASH, 5, "margin")
    call = {"from": owner.address, "to": chain.licenses.address, "data": chain.licenses.issue_call(order)}
    exact = int(chain.rpc.call("eth_estimateGas", [call]), 16)
    assert transactions.estimate_gas(chain.rpc, call) == int(exact * transactions.GAS_MARGIN) > exact


def test_what_would_revert_is_not_signed(chain):
    owner = chain.account()
    revoke = chain.licenses.revoke_call(owner_license(owner, 9))
    call = {"from": owner.address, "to": chain.licenses.address, "data": revoke}
    for attempt in (
        lambda: transactions.estimate_gas(chain.rpc, call),
        lambda: transactions.sign(chain.rpc, owner, chain.licenses.address, revoke),
    ):
        with pytest.raises(ContractReverted) as reverted:
            attempt()
        assert reverted.value.name == "LicenseNotFound"


def owner_license(owner, number):
    return int(owner.address, 16) << 96 | number


def test_a_node_that_looks_at_the_balance_when_it_estimates(chain):
    refusal = NodeRefused(-32000, "insufficient funds for gas * price + value")
    with pytest.raises(NotEnoughFunds, match="0xabc"):
        transactions.estimate_gas(Changed(chain.rpc, eth_estimateGas=refusal), {"from": "0xabc"})
    other = NodeRefused(-32000, "teapot")
    with pytest.raises(NodeRefused, match="teapot"):
        transactions.estimate_gas(Changed(chain.rpc, eth_estimateGas=other), {"from": "0xabc"})


def test_what_is_built_is_mined_as_it_is(chain):
    sender, receiver = chain.account(), "0x" + "cd" * 20
    built = transactions.build(chain.chain_id, 0, receiver, "0x", 21_000, Fees(10**11, 10**9), value=12345)
    raw, hash = sender.sign_transaction(built)
    assert Account.recover_transaction(raw) == sender.address
    for _ in range(2):
        transactions.broadcast(chain.rpc, raw)
        receipt = transactions.wait_for_receipt(chain.rpc, hash, poll=0.02)
    mined = chain.rpc.call("eth_getTransactionByHash", [hash])
    expected = {
        "type": 2,
        "chainId": chain.chain_id,
        "nonce": 0,
        "value": 12345,
        "gas": 21_000,
        "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 10**9,
    }
    assert {name: int(mined[name], 16) for name in expected} == expected
    assert mined["to"].lower() == receiver
    assert int(receipt["status"], 16) == 1
    assert int(chain.rpc.call("eth_getBalance", [receiver, "latest"]), 16) == 12345


def test_signing_sends_nothing_and_asks_little(chain):
    owner = chain.account()
    order = chain.order(owner.address, owner.address, FILE_HASH, 5, "quiet")
    node = Changed(chain.rpc)
    data = chain.licenses.issue_call(order)
    signed = transactions.sign(node, owner, chain.licenses.address, data)
    assert "eth_sendRawTransaction" not in node.asked
    assert len(node.asked) == 6
    assert (signed.nonce, signed.sender) == (0, owner.address)
    assert chain.licenses.license_of(order.id) is None
    assert transactions.sign(node, owner, chain.licenses.address, data, nonce=5).nonce == 5


@pytest.mark.parametrize(
    "message",
    [
        "already known",
        "AlreadyKnown",
        "transaction already imported",
        "Known transaction",
        "nonce too low: 3",
        "INTERNAL_ERROR: already known",
        "(Known transaction)",
        "err: nonce too low\nnext nonce 4",
    ],
)
def test_bytes_that_a_node_has_already(chain, message):
    assert is_known_already(message)
    transactions.broadcast(Changed(chain.rpc, eth_sendRawTransaction=NodeRefused(-32000, message)), b"\x02")


@pytest.mark.parametrize(
    "message",
    ["unknown transaction type", "Unknown transaction", "unalreadyknown", "type not supported", ""],
)
def test_bytes_that_a_node_does_not_take(chain, message):
    assert not is_known_already(message)
    refusing = Changed(chain.rpc, eth_sendRawTransaction=NodeRefused(-32000, message))
    with pytest.raises(NodeRefused):
        transactions.broadcast(refusing, b"\x02")


def test_bytes_that_a_node_refuses(chain):
    with pytest.raises(NodeRefused):
        transactions.broadcast(chain.rpc, b"\x02\xc0")


def test_a_provider_of_web3_works_as_well(chain):
    from imprimatur.chain.account import kept_recursion_limit

    with kept_recursion_limit():
        from web3 import HTTPProvider

    rpc = ProviderRpc(HTTPProvider(chain.url))
    owner = chain.account()
    questions = [
        ("eth_getBalance", [owner.address, "latest"]),
        ("eth_noSuchMethod", []),
        ("eth_getTransactionReceipt", ["0x" + "00" * 32]),
        ("eth_chainId", []),
    ]
    held, refused, nothing, number = rpc.batch(questions)
    assert (int(held, 16), nothing, int(number, 16)) == (10 * 10**18, None, chain.chain_id)
    assert isinstance(refused, NodeRefused)
    order = chain.order(owner.address, owner.address, FILE_HASH, 5, "web3")
    signed = transactions.sign(rpc, owner, chain.licenses.address, chain.licenses.issue_call(order))
    transactions.broadcast(rpc, signed.raw)
    transactions.wait_for_receipt(rpc, signed.hash, poll=0.02)
    assert chain.licenses.license_of(order.id).remaining == 5
