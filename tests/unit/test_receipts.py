"""Receipts: bytes as the rlp package makes them, there and back, and refusal of what isn't one."""

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from imprimatur.chain.receipts import (
    DEPOSIT,
    Log,
    Receipt,
    ReceiptInvalid,
    decode_receipt,
    encode_receipt,
)

logs = st.builds(
    Log,
    st.binary(min_size=20, max_size=20),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    st.binary(max_size=100),
)
receipts = st.builds(
    Receipt,
    kind=st.integers(0, 4),
    succeeded=st.booleans(),
    gas_used=st.integers(0, 1 << 40),
    bloom=st.binary(min_size=256, max_size=256),
    logs=st.lists(logs, max_size=4).map(tuple),
)
EMPTY = Receipt(kind=2, succeeded=True, gas_used=21000, bloom=bytes(256), logs=())


def json_of(receipt):
    """As a node says it."""
    return {
        "type": hex(receipt.kind),
        "status": hex(receipt.succeeded),
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


def plain(receipt):
    """As EIP-2718 says it, by the rlp package."""
    items = [[log.address, list(log.topics), log.data] for log in receipt.logs]
    payload = rlp.encode([int(receipt.succeeded), receipt.gas_used, receipt.bloom, items])
    return payload if receipt.kind == 0 else bytes([receipt.kind]) + payload


@settings(deadline=None)
@given(receipts)
def test_there_and_back(receipt):
    encoded = encode_receipt(json_of(receipt))
    assert encoded == plain(receipt)
    assert decode_receipt(encoded) == receipt


def test_receipt_without_type_is_a_legacy_one():
    json = json_of(EMPTY)
    del json["type"]
    assert decode_receipt(encode_receipt(json)).kind == 0


def test_before_byzantium_receipts_hold_a_state_root():
    json = json_of(EMPTY) | {"type": "0x0", "root": "0x" + "ab" * 32}
    del json["status"]
    encoded = encode_receipt(json)
    assert encoded == rlp.encode([b"\xab" * 32, 21000, bytes(256), []])
    assert decode_receipt(encoded).succeeded is None


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({"depositNonce": "0x7", "depositReceiptVersion": "0x1"}, [b"\x07", b"\x01"]),
        ({"depositNonce": "0x7"}, []),
        ({}, []),
    ],
)
def test_deposits_of_the_op_stack(more, fields):
    json = json_of(EMPTY) | {"type": hex(DEPOSIT)} | more
    encoded = encode_receipt(json)
    assert encoded == bytes([DEPOSIT]) + rlp.encode([1, 21000, bytes(256), [], *fields])
    assert decode_receipt(encoded).kind == DEPOSIT


@pytest.mark.parametrize(
    "changes",
    [{"type": "0x80"}, {"type": "-0x1"}, {"type": 2}, {"logs": [1]}, {"logs": "x"}, {"status": "-0x1"}],
)
def test_odd_json(changes):
    with pytest.raises(ReceiptInvalid):
        encode_receipt(json_of(EMPTY) | changes)


def test_json_that_is_no_object():
    with pytest.raises(ReceiptInvalid):
        encode_receipt([])


@pytest.mark.parametrize("field", ["status", "cumulativeGasUsed", "logsBloom", "logs"])
def test_unreadable_json(field):
    json = json_of(EMPTY)
    with pytest.raises(ReceiptInvalid):
        encode_receipt(json | {field: "0xzz"})
    del json[field]
    with pytest.raises(ReceiptInvalid):
        encode_receipt(json)


LOG = [b"\x11" * 20, [b"\x22" * 32], b"data"]
GOOD = [1, 21000, bytes(256), [LOG]]


def test_the_forger_of_these_tests_can_also_tell_the_truth():
    assert decode_receipt(rlp.encode(GOOD)).logs == (Log(b"\x11" * 20, (b"\x22" * 32,), b"data"),)


@pytest.mark.parametrize(
    "fields",
    [
        GOOD[:3],
        [*GOOD, b"\x01"],
        [*GOOD, b"\x01", b"\x01"],  # a deposit's fields in another type
        [2, *GOOD[1:]],
        [b"\xab" * 31, *GOOD[1:]],
        [1, b"\x00\x01", *GOOD[2:]],
        [1, 21000, bytes(255), []],
        [1, 21000, [], []],
        [[], 21000, bytes(256), []],
        [1, 21000, bytes(256), b"logs"],
        [1, 21000, bytes(256), [b"log"]],
        [1, 21000, bytes(256), [LOG[:2]]],
        [1, 21000, bytes(256), [[b"\x11" * 19, *LOG[1:]]]],
        [1, 21000, bytes(256), [[LOG[0], [b"\x22" * 31], b""]]],
        [1, 21000, bytes(256), [[LOG[0], b"topics", b""]]],
        [1, 21000, bytes(256), [[LOG[0], [], []]]],
    ],
)
def test_no_receipt(fields):
    with pytest.raises(ReceiptInvalid):
        decode_receipt(rlp.encode(fields))


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x80", b"\x00\xc0", b"\xff", rlp.encode(GOOD) + b"\x00"])
def test_other_bytes(data):
    with pytest.raises(ReceiptInvalid):
        decode_receipt(data)


TOPIC, OTHER = "11" * 31 + "a0", "22" * 32


@pytest.mark.parametrize(
    "changes",
    [
        {"topics": ["0x" + TOPIC + "a0" + OTHER]},
        {"topics": ["0x" + TOPIC[:-2], "0x" + OTHER + "a0"]},
        {"topics": ["0x" + TOPIC, "0x" + OTHER[:-2] + "  "]},
        {"address": "0x" + "33" * 19},
    ],
)
def test_no_other_json_has_the_same_bytes(changes):
    """A node could otherwise show other topics than those that the receipts root covers."""
    log = {"address": "0x" + "33" * 20, "topics": ["0x" + TOPIC, "0x" + OTHER], "data": "0x"}
    receipt = json_of(EMPTY)
    assert encode_receipt(receipt | {"logs": [log]})
    with pytest.raises(ReceiptInvalid, match="another size"):
        encode_receipt(receipt | {"logs": [log | changes]})
