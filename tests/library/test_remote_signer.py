"""Nothing that a signing server says is believed: every lie is noticed, every trouble has a name."""

import json
import secrets
import time
import traceback

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imprimatur.chain import transactions, typed_data
from imprimatur.chain.rlp_codec import decode_list, encode
from imprimatur.chain.signers import (
    KeySigner,
    RemoteKeySigner,
    RemoteSigner,
    RemoteSignerRefused,
    RemoteSignerUnreachable,
    SignerUnusable,
)
from imprimatur.chain.signers.payloads import ORDER, NotOurSignature
from imprimatur.chain.signers.remote import is_up
from support.remote_signer import signing_server
from tools.launcher.processes import free_port

CHAIN = 31337
KEY = bytes(range(1, 33))
THIEF = KeySigner(bytes(range(2, 34)))
DOMAIN = typed_data.license_domain(CHAIN, "0x" + "11" * 20)
FAILURE = typed_data.Failure(id=2**200, copy=3, evidence=b"\x05" * 32, deadline=9)
FEES = transactions.Fees(max_fee=30 * 10**9, tip=10**9)
TRANSACTION = transactions.build(CHAIN, 7, "0x" + "ab" * 20, "0x12345678", 90_000, FEES, value=5)


@pytest.fixture(scope="module")
def running():
    with signing_server(KEY, CHAIN) as server:
        yield server


@pytest.fixture
def server(running):
    running.lie, running.respond, running.chain_id = lambda honest: honest, None, CHAIN
    running.asked.clear()
    return running


@pytest.fixture(params=["rpc", "key"])
def signer(request, server):
    if request.param == "rpc":
        return RemoteSigner(server.url, server.account.address, timeout=5)
    return RemoteKeySigner(server.url, server.public_key, timeout=5)


@pytest.fixture
def rpc_signer(server):
    return RemoteSigner(server.url, server.account.address, timeout=5)


def operations(signer):
    return [
        lambda: signer.sign_transaction(TRANSACTION),
        lambda: signer.sign_message(b"hello"),
        lambda: signer.sign_typed_data(DOMAIN, typed_data.FAILURE, FAILURE.values()),
    ]


def test_it_signs_as_the_key_itself_would(signer):
    local = KeySigner(KEY)
    assert signer.address == local.address
    assert [sign() for sign in operations(signer)] == [sign() for sign in operations(local)]


def test_accounts(server, rpc_signer):
    assert rpc_signer.accounts() == [rpc_signer.address]
    server.lie = lambda honest: ["nonsense"]
    with pytest.raises(RemoteSignerUnreachable, match="accounts"):
        rpc_signer.accounts()


def test_a_server_says_whether_it_runs(server):
    assert is_up(server.url)
    assert is_up(f"{server.url}/")
    assert not is_up(f"{server.url}/elsewhere")
    server.respond = lambda handler: handler.reply(503, b"OK")
    assert not is_up(server.url)
    assert not is_up(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"nonce": 8}, "nonce"),
        ({"nonce": 0}, "nonce"),
        ({"to": "0x" + "12" * 20}, "recipient"),
        ({"value": 6}, "value"),
        ({"data": "0x12345679"}, "data"),
        ({"data": "0x"}, "data"),
        ({"gas": 90_001}, "gas"),
        ({"maxFeePerGas": 31 * 10**9}, "fee"),
        ({"maxPriorityFeePerGas": 2 * 10**9}, "tip"),
        ({"chainId": 1}, "chain id"),
        ({"accessList": [{"address": "0x" + "ab" * 20, "storageKeys": []}]}, "access list"),
        ({"nonce": 8, "value": 0}, "nonce, value"),
    ],
)
def test_another_transaction_is_thrown_away(server, rpc_signer, changes, named):
    """Though it is properly signed by our own key."""
    server.lie = lambda _: (
        "0x" + Account.from_key(KEY).sign_transaction(TRANSACTION | changes).raw_transaction.hex()
    )
    with pytest.raises(NotOurSignature, match=f"another transaction than asked: {named}"):
        rpc_signer.sign_transaction(TRANSACTION)


def test_a_transaction_of_another_key_is_thrown_away(server, rpc_signer):
    server.lie = lambda _: "0x" + THIEF.sign_transaction(TRANSACTION)[0].hex()
    with pytest.raises(NotOurSignature, match=rpc_signer.address):
        rpc_signer.sign_transaction(TRANSACTION)


def test_a_server_on_another_chain_is_noticed(server, rpc_signer):
    server.chain_id = 1
    with pytest.raises(NotOurSignature, match="chain id"):
        rpc_signer.sign_transaction(TRANSACTION)


def test_other_kinds_of_transactions_are_thrown_away(server, rpc_signer):
    account = Account.from_key(KEY)
    legacy = {k: v for k, v in TRANSACTION.items() if k != "type" and not k.startswith("max")}
    legacy |= {"gasPrice": 30 * 10**9}
    for other in (legacy, legacy | {"type": 1, "accessList": []}):
        server.lie = lambda _, other=other: "0x" + account.sign_transaction(other).raw_transaction.hex()
        with pytest.raises(NotOurSignature):
            rpc_signer.sign_transaction(TRANSACTION)


def other_s(signature):
    """The same signature's twin with s in the upper half: valid mathematics, refused by nodes."""
    raw = bytes.fromhex(signature[2:])
    s = ORDER - int.from_bytes(raw[32:64], "big")
    return "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - raw[64]])).hex()


def other_s_in_transaction(raw):
    fields = decode_list(bytes.fromhex(raw[4:]))
    s = ORDER - int.from_bytes(fields[11], "big")
    odd = b"" if fields[9] else b"\x01"
    return "0x02" + encode([*fields[:9], odd, fields[10], s.to_bytes(32, "big")]).hex()


def test_signatures_with_high_s_are_thrown_away(server, signer):
    sign_transaction, *others = operations(signer)
    server.lie = other_s
    for sign in others:
        with pytest.raises(NotOurSignature):
            sign()
    server.lie = other_s if isinstance(signer, RemoteKeySigner) else other_s_in_transaction
    with pytest.raises(NotOurSignature):
        sign_transaction()


def test_signatures_of_something_else_are_thrown_away(server, signer):
    for account in (Account.from_key(KEY), THIEF._account):
        other = "0x" + account.sign_message(encode_defunct(b"pay me")).signature.hex()
        server.lie = lambda _, other=other: other
        for sign in operations(signer)[1:]:
            with pytest.raises(NotOurSignature):
                sign()


@pytest.mark.parametrize(
    "lie", ["", "0x", "0x00", "0x" + "00" * 65, "0x" + "ff" * 65, "0x02c0", "0x02", "0x02ff"]
)
def test_garbage_is_thrown_away(server, signer, lie):
    server.lie = lambda _: lie
    for sign in operations(signer):
        with pytest.raises(SignerUnusable):
            sign()


@pytest.mark.parametrize("lie", ["0xzz", "hello", "0x123", None, 7, ["0x12"], {"r": 1}])
def test_what_is_not_hexadecimal_is_thrown_away(server, rpc_signer, lie):
    server.lie = lambda _: lie
    for sign in operations(rpc_signer):
        with pytest.raises(SignerUnusable):
            sign()


def test_v_of_zero_and_one_is_the_same_signature(server, signer):
    server.lie = lambda honest: honest[:-2] + {"1b": "00", "1c": "01"}[honest[-2:]]
    for sign, expected in zip(operations(signer)[1:], operations(KeySigner(KEY))[1:], strict=True):
        assert sign() == expected()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 255), st.sampled_from(["flip", "cut", "insert"]))
@example(0, 1, "flip")
def test_no_byte_of_an_answer_can_be_changed(server, signer, place, change, how):
    """Whatever a server changes: the honest bytes come out, or none."""
    for sign, honest in zip(operations(signer), operations(KeySigner(KEY)), strict=True):

        def lie(answer):
            raw = bytearray.fromhex(answer[2:])
            at = place % len(raw)
            if how == "flip":
                raw[at] ^= change
            elif how == "cut":
                del raw[at]
            else:
                raw.insert(at, change)
            return "0x" + raw.hex()

        server.lie = lie
        try:
            answer = sign()
        except SignerUnusable:
            continue
        assert answer == honest()


def test_an_account_that_the_server_does_not_have(server):
    other = RemoteSigner(server.url, THIEF.address)
    for sign in operations(other):
        with pytest.raises(RemoteSignerRefused, match="No unlocked account"):
            sign()
    with pytest.raises(RemoteSignerRefused, match=THIEF.address):
        RemoteKeySigner(server.url, THIEF._account._key_obj.public_key.to_bytes()).sign_message(b"x")


@pytest.mark.parametrize("status", [401, 429, 500, 502, 503])
def test_errors_of_http(server, signer, status):
    server.respond = lambda handler: handler.reply(status, b"<html>no</html>")
    for sign in operations(signer):
        with pytest.raises(SignerUnusable):
            sign()
    # Each was asked once: who sends decides about repetitions.
    assert len(server.asked) == 3


def test_slow_and_dead_servers(server):
    server.respond = lambda handler: time.sleep(0.6)
    slow = [
        RemoteSigner(server.url, server.account.address, timeout=0.2),
        RemoteKeySigner(server.url, server.public_key, timeout=0.2),
    ]
    nowhere = f"http://127.0.0.1:{free_port()}"
    dead = [RemoteSigner(nowhere, THIEF.address), RemoteKeySigner(nowhere, server.public_key)]
    for signer in slow + dead:
        with pytest.raises(RemoteSignerUnreachable, match=r"127\.0\.0\.1"):
            signer.sign_message(b"x")


def test_credentials_are_in_no_text(server):
    secret = secrets.token_hex(8)
    url = server.url.replace("//", f"//operator:{secret}@")
    server.respond = lambda handler: handler.reply(502, b"")
    for signer in (RemoteSigner(url, THIEF.address), RemoteKeySigner(url, server.public_key)):
        with pytest.raises(SignerUnusable) as caught:
            signer.sign_message(b"x")
        assert secret not in repr(signer) + "".join(traceback.format_exception(caught.value))


def test_what_is_asked_is_the_published_api(server, rpc_signer):
    for sign in operations(rpc_signer):
        sign()
    transaction, message, typed = server.asked
    assert transaction["method"] == "eth_signTransaction"
    assert transaction["params"] == [
        {
            "from": rpc_signer.address,
            "to": TRANSACTION["to"],
            "data": "0x12345678",
            "nonce": "0x7",
            "value": "0x5",
            "gas": "0x15f90",
            "maxFeePerGas": "0x6fc23ac00",
            "maxPriorityFeePerGas": "0x3b9aca00",
            "chainId": "0x7a69",
        }
    ]
    assert (message["method"], message["params"]) == ("eth_sign", [rpc_signer.address, "0x68656c6c6f"])
    assert (typed["method"], typed["params"][0]) == ("eth_signTypedData", rpc_signer.address)
    document = json.loads(typed["params"][1])
    assert document["primaryType"] == "Failure"
    assert document["domain"]["chainId"] == CHAIN
    assert document["message"] == {
        "id": str(2**200),
        "copy": 3,
        "evidence": "0x" + "05" * 32,
        "deadline": 9,
    }
    assert [field["name"] for field in document["types"]["EIP712Domain"]] == [
        "name",
        "version",
        "chainId",
        "verifyingContract",
    ]


def test_the_bytes_to_sign_are_sent_whole(server):
    """The server hashes them itself, so it signs nothing whose form it doesn't see."""
    signer = RemoteKeySigner(server.url, server.public_key)
    signer.sign_message(b"hello")
    payload = bytes.fromhex(server.asked[0]["data"][2:])
    assert payload == b"\x19Ethereum Signed Message:\n5hello"
    assert keccak(payload) != payload
