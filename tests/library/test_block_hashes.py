"""Headers, receipts and tries against blocks that a real node made, under the rules of several forks."""

import pytest

from imprimatur.chain import trie
from imprimatur.chain.headers import header_of, parse_header
from imprimatur.chain.receipts import decode_receipt, encode_receipt
from tools.anvil import running_anvil

TRANSACTIONS = 300
"""Enough for keys of three bytes."""
FIELDS = {"berlin": 15, "london": 16, "paris": 16, "shanghai": 17, "cancun": 20, "prague": 21, "osaka": 21}
SUCCEEDS, REVERTS = "0x6001600155602a60005260206000a000", "0x60006000fd"
"""Creation code: one stores a word and logs, the other gives up."""


def transaction(index, accounts, kinds):
    kind = index % kinds
    fields = {"from": accounts[index % 10], "gas": hex(200_000)}
    if index % 7:
        fields |= {"to": accounts[(index + 1) % 10], "value": "0x1"}
    else:
        fields["data"] = SUCCEEDS if index % 2 else REVERTS
    if kind == 2:
        return fields | {"maxFeePerGas": hex(3 * 10**9), "maxPriorityFeePerGas": "0x1"}
    fields["gasPrice"] = hex(2 * 10**9)
    return fields | ({"accessList": []} if kind == 1 else {})


@pytest.mark.parametrize("fork", FIELDS)
def test_roots_and_hashes_of_a_node(fork):
    kinds = 2 if fork == "berlin" else 3
    arguments = ("--hardfork", fork, "--no-mining", "--gas-limit", "100000000", "--order", "fifo")
    with running_anvil(*arguments) as rpc:
        accounts = rpc.call("eth_accounts", [])
        for index in range(TRANSACTIONS):
            rpc.call("eth_sendTransaction", [transaction(index, accounts, kinds)])
        rpc.call("anvil_mine", ["0x2"])
        # Block 0 is made up by anvil and doesn't follow the older forks' rules.
        blocks = [rpc.call("eth_getBlockByNumber", [number, False]) for number in ("0x1", "0x2")]
        receipts = [rpc.call("eth_getBlockReceipts", [block["number"]]) for block in blocks]
    seen = {(receipt["type"], receipt["status"], len(receipt["logs"])) for receipt in receipts[0]}
    assert len(receipts[0]) == TRANSACTIONS
    assert {kind for kind, _, _ in seen} == {hex(kind) for kind in range(kinds)}
    assert {status for _, status, _ in seen} == {"0x0", "0x1"}
    for block, of_block in zip(blocks, receipts, strict=True):
        header = header_of(block)
        assert len(header.fields) == FIELDS[fork]
        assert f"0x{header.hash.hex()}" == block["hash"]
        assert parse_header(header.rlp) == header
        assert (header.number, header.timestamp) == (int(block["number"], 16), int(block["timestamp"], 16))
        encoded = [encode_receipt(receipt) for receipt in of_block]
        assert trie.root(encoded) == header.receipts_root
        for receipt, raw in zip(of_block, encoded, strict=True):
            decoded = decode_receipt(raw)
            assert decoded.succeeded == bool(int(receipt["status"], 16))
            assert [f"0x{log.data.hex()}" for log in decoded.logs] == [log["data"] for log in receipt["logs"]]
        for index in (0, 1, 127, 128, TRANSACTIONS - 1) if encoded else ():
            proof = trie.proof(encoded, index)
            assert trie.verify(header.receipts_root, trie.index_key(index), proof) == encoded[index]
    assert header_of(blocks[1]).parent_hash == header_of(blocks[0]).hash
