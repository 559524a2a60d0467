"""One table for every kind of signer: what one signs, all sign; nodes and contracts accept each."""

import secrets
import time

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_utils.crypto import keccak

from imprimatur.chain import transactions, typed_data
from imprimatur.chain.adapters import AccountSigner
from imprimatur.chain.signers import (
    KeySigner,
    RemoteKeySigner,
    RemoteSigner,
    create_keystore,
    create_token_key,
    open_keystore,
)
from imprimatur.chain.typed_data import Use
from support.node import FOR_EVER
from support.remote_signer import signing_server
from support.softhsm import new_token

HALF = 0x7FFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_5D576E73_57A4501D_DFE92F46_681B20A0
"""Half of the curve's order, the largest s that is accepted (EIP-2)."""
KINDS = ["key", "account", "keystore", "token", "remote", "remote key"]
FILE_HASH = "c0" * 32
MESSAGES = [b"", b"hello", bytes(range(256)) * 40, "Größe 20 µm".encode(), *(b"n" * n for n in range(1, 17))]
PARTS = {
    "Batch": [
        {"name": "parts", "type": "Part[]"},
        {"name": "note", "type": "string"},
        {"name": "raw", "type": "bytes"},
        {"name": "checked", "type": "bool"},
        {"name": "offset", "type": "int256"},
    ],
    "Part": [{"name": "id", "type": "uint256"}, {"name": "sizes", "type": "uint16[2]"}],
}
BATCH = {
    "parts": [{"id": 2**256 - 1, "sizes": [1, 2]}, {"id": 0, "sizes": [3, 65535]}],
    "note": "Größe",
    "raw": b"\x00\xff",
    "checked": True,
    "offset": -(2**200),
}


@pytest.fixture(scope="module", params=KINDS)
def signer(request, chain, tmp_path_factory):
    key = secrets.token_bytes(32)
    match request.param:
        case "key":
            yield KeySigner(key)
        case "account":
            yield AccountSigner(Account.from_key(key))
        case "keystore":
            path = tmp_path_factory.mktemp("keys") / "key.json"
            create_keystore(path, "correct horse")
            yield open_keystore(path, "correct horse")
        case "token":
            yield create_token_key(new_token("table"), "operator", b"\x01")
        case "remote":
            with signing_server(key, chain.chain_id) as server:
                yield RemoteSigner(server.url, server.account.address)
        case "remote key":
            with signing_server(key, chain.chain_id) as server:
                yield RemoteKeySigner(server.url, server.public_key)


def assert_standard(signature: str) -> None:
    raw = bytes.fromhex(signature.removeprefix("0x"))
    assert len(raw) == 65
    assert int.from_bytes(raw[32:64], "big") <= HALF
    assert raw[64] in (27, 28)


def test_messages(signer):
    seen = set()
    for message in MESSAGES:
        signature = signer.sign_message(message)
        assert_standard(signature)
        recovered = Account.recover_message(encode_defunct(primitive=message), signature=signature)
        assert recovered == signer.address
        seen.add(signature[-2:])
    assert seen == {"1b", "1c"}


def test_typed_data(signer, chain):
    domain = chain.license_domain
    use = Use(2**200, "ab" * 32, 3, b"\x01" * 32, b"\x02" * 32, bytes(32), FOR_EVER)
    order = chain.order(signer.address, signer.address, FILE_HASH, 5, "typed", valid_until=2**32 - 1)
    table = [
        (domain, typed_data.USE, use.values()),
        (domain, typed_data.ORDER, order.values()),
        (domain, PARTS, BATCH),
        ({"name": "Salted", "chainId": 2**64, "salt": b"\x07" * 32}, PARTS, BATCH),
    ]
    for where, types, message in table:
        signature = signer.sign_typed_data(where, types, message)
        assert_standard(signature)
        recovered = Account.recover_message(encode_typed_data(where, types, message), signature=signature)
        assert recovered == signer.address


def test_a_transaction_is_mined(signer, chain):
    chain.fund(signer.address)
    id = chain.issue(signer, signer.address, FILE_HASH, 2, f"mined {signer.address}")
    data = chain.licenses.use_license_call(id, FILE_HASH)
    signed = transactions.sign(chain.rpc, signer, chain.licenses.address, data)
    assert Account.recover_transaction(signed.raw) == signer.address
    transactions.broadcast(chain.rpc, signed.raw)
    receipt = transactions.wait_for_receipt(chain.rpc, signed.hash, poll=0.02)
    assert receipt["from"].lower() == signer.address.lower()
    assert [use.values["copy"] for use in chain.licenses.uses_in(receipt)] == [1]


def test_the_contract_accepts_its_signed_use(signer, chain):
    owner, relay = chain.account(), chain.account()
    id = chain.issue(owner, signer.address, FILE_HASH, 1, f"signed {signer.address}")
    use = Use(id, FILE_HASH, 1, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, int(time.time()) + 3600)
    signed = typed_data.sign_use(signer, chain.license_domain, use)
    receipt = chain.send(relay, chain.licenses.use_licenses_signed_call([signed]))
    assert chain.licenses.skipped_in(receipt) == []
    assert [event.values["device"] for event in chain.licenses.uses_in(receipt)] == [signer.address]


def test_fields_of_every_size(signer, chain):
    """Numbers with and without a high bit, zero, no data."""
    table = [
        {"nonce": 0, "value": 0, "data": "0x", "gas": 21_000, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0},
        {"nonce": 127, "value": 10**18, "data": "0x00"},
        {"nonce": 128, "value": 2**255, "data": "0x" + "ff" * 5000, "gas": 2**31},
        {"nonce": 2**40, "maxFeePerGas": 2**64, "maxPriorityFeePerGas": 2**63},
    ]
    for changes in table:
        transaction = (
            transactions.build(
                chain.chain_id, 1, "0x" + "aB" * 20, "0x1234", 50_000, transactions.Fees(10**10, 10**9)
            )
            | changes
        )
        raw, hash = signer.sign_transaction(transaction)
        assert Account.recover_transaction(raw) == signer.address
        assert hash == "0x" + keccak(raw).hex()
