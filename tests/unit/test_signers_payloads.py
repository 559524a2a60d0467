"""What is signed, put together by ourselves, is byte for byte what eth-account makes of it."""

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from imprimatur.chain import typed_data
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.signers.payloads import (
    ORDER,
    NotOurSignature,
    Signature,
    address_of,
    check,
    complete,
    message_payload,
    signature_in,
    signed_transaction,
    transaction_payload,
)
from imprimatur.chain.signers.typed_payload import typed_data_payload

ACCOUNT = Account.from_key(bytes(range(1, 33)))
DOMAIN = typed_data.license_domain(5, "0x" + "11" * 20)
words = st.integers(0, 2**256 - 1)
fees = st.integers(0, 2**64)
transactions = st.fixed_dictionaries(
    {
        "type": st.just(2),
        "chainId": st.integers(1, 2**40),
        "nonce": st.integers(0, 2**60),
        "to": st.binary(min_size=20, max_size=20).map(to_checksum_address),
        "value": words,
        "data": st.binary(max_size=300).map(lambda data: "0x" + data.hex()),
        "gas": st.integers(0, 2**40),
        "maxFeePerGas": fees,
        "maxPriorityFeePerGas": fees,
    }
)


@settings(max_examples=100, deadline=None)
@given(transactions, words.filter(lambda key: 0 < key < ORDER))
def test_a_signed_transaction_has_the_bytes_of_eth_account(transaction, key):
    account = Account.from_key(key.to_bytes(32, "big"))
    theirs = account.sign_transaction(transaction)
    signature = Signature(theirs.r, theirs.s, theirs.v)
    raw, hash = signed_transaction(transaction, signature)
    assert raw == bytes(theirs.raw_transaction)
    assert hash == "0x" + bytes(theirs.hash).hex()
    assert signature_in(raw, transaction) == signature
    digest = keccak(transaction_payload(transaction))
    assert complete(digest, theirs.r, theirs.s, account.address) == signature


@settings(max_examples=50, deadline=None)
@given(transactions, transactions)
def test_another_transaction_is_another(one, other):
    theirs = ACCOUNT.sign_transaction(one)
    if one == other:
        assert signature_in(bytes(theirs.raw_transaction), other)
    else:
        with pytest.raises(NotOurSignature, match="another transaction"):
            signature_in(bytes(theirs.raw_transaction), other)


@given(st.binary(max_size=300))
def test_messages(message):
    signable = encode_defunct(primitive=message)
    assert message_payload(message) == b"\x19" + signable.version + signable.header + signable.body


@settings(max_examples=30, deadline=None)
@given(words, words, st.binary(min_size=32, max_size=32), words)
def test_typed_data(id, copy, evidence, deadline):
    """The digest by the rule of EIP-712, from its parts."""
    failure = typed_data.Failure(id, copy, evidence, deadline)
    payload = typed_data_payload(DOMAIN, typed_data.FAILURE, failure.values())
    signable = encode_typed_data(DOMAIN, typed_data.FAILURE, failure.values())
    type_hash = keccak(text="Failure(uint256 id,uint256 copy,bytes32 evidence,uint256 deadline)")
    struct = type_hash + id.to_bytes(32, "big") + copy.to_bytes(32, "big") + evidence
    assert payload == b"\x19\x01" + signable.header + keccak(struct + deadline.to_bytes(32, "big"))


addresses = st.binary(min_size=20, max_size=20).map(lambda raw: to_checksum_address("0x" + raw.hex()))
members = {
    **{f"uint{bits}": st.integers(0, 2**bits - 1) for bits in (8, 16, 96, 256)},
    "bytes32": st.binary(min_size=32, max_size=32),
    "address": addresses,
    # Not of one word: left to eth-account.
    "string": st.text(max_size=40),
    "bytes": st.binary(max_size=70),
    "bool": st.booleans(),
    "int256": st.integers(-(2**255), 2**255 - 1),
    "uint256[]": st.lists(words, max_size=3),
}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_typed_data_as_eth_account_has_it(data):
    kinds = data.draw(st.lists(st.sampled_from(sorted(members)), max_size=6))
    fields = [{"name": f"f{i}", "type": kind} for i, kind in enumerate(kinds)]
    message = {f"f{i}": data.draw(members[kind]) for i, kind in enumerate(kinds)}
    domain = typed_data.license_domain(data.draw(st.integers(1, 2**64)), data.draw(addresses))
    signable = encode_typed_data(domain, {"Thing": fields}, message)
    payload = typed_data_payload(domain, {"Thing": fields}, message)
    assert payload == b"\x19\x01" + signable.header + signable.body
    theirs = "0x" + bytes(ACCOUNT.sign_typed_data(domain, {"Thing": fields}, message).signature).hex()
    assert KeySigner(bytes(ACCOUNT.key)).sign_typed_data(domain, {"Thing": fields}, message) == theirs


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint8", 256),
        ("uint256", -1),
        ("uint256", 2**256),
        ("uint256", True),
        ("uint256", "1"),
        ("bytes32", b"short"),
        ("bytes32", "0x" + "00" * 32),
        ("address", "0x12"),
        ("address", "0x" + " 1" * 20),
        ("address", bytes(20)),
    ],
)
def test_what_is_no_word_is_refused(kind, value):
    with pytest.raises(ValueError, match=f"is no {kind}"):
        typed_data_payload(DOMAIN, {"Thing": [{"name": "at", "type": kind}]}, {"at": value})


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.booleans())
def test_either_s_of_a_token_becomes_the_low_one(digest, high):
    """A token returns r and one of the two s, and says nothing about y."""
    theirs = ACCOUNT.unsafe_sign_hash(digest)
    s = ORDER - theirs.s if high else theirs.s
    signature = complete(digest, theirs.r, s, ACCOUNT.address)
    assert (signature.r, signature.s, signature.odd) == (theirs.r, theirs.s, theirs.v - 27)
    assert signature.hex == "0x" + theirs.signature.hex()
    assert check(digest, signature, ACCOUNT.address) == signature


@settings(max_examples=200, deadline=None)
@given(words, words, st.integers(0, 255))
def test_numbers_that_are_no_signature(r, s, odd):
    digest = b"\x07" * 32
    with pytest.raises(NotOurSignature):
        check(digest, Signature(r, s, odd), ACCOUNT.address)
    with pytest.raises(NotOurSignature):
        complete(digest, r, s, ACCOUNT.address)


@pytest.mark.parametrize(("r", "s"), [(0, 0), (0, 1), (1, 0), (ORDER, 1), (1, ORDER), (ORDER - 1, ORDER - 1)])
def test_the_borders_of_numbers(r, s):
    for odd in (0, 1, 2):
        with pytest.raises(NotOurSignature):
            check(b"\x07" * 32, Signature(r, s, odd), ACCOUNT.address)


def test_the_high_twin_is_not_ours():
    digest = b"\x07" * 32
    theirs = ACCOUNT.unsafe_sign_hash(digest)
    twin = Signature(theirs.r, ORDER - theirs.s, 28 - theirs.v)
    with pytest.raises(NotOurSignature):
        check(digest, twin, ACCOUNT.address)


def test_only_one_kind_of_transaction_is_signed():
    plain = {"type": 2, "chainId": 1, "nonce": 0, "to": "0x" + "11" * 20, "value": 0, "data": "0x", "gas": 1}
    plain |= {"maxFeePerGas": 1, "maxPriorityFeePerGas": 1}
    transaction_payload(plain)
    for other in (plain | {"type": 1}, plain | {"accessList": [{}]}, plain | {"type": 3}):
        with pytest.raises(ValueError, match="EIP-1559"):
            transaction_payload(other)


def test_addresses_of_public_keys():
    point = ACCOUNT._key_obj.public_key.to_bytes()
    assert address_of(point) == address_of(b"\x04" + point) == ACCOUNT.address
    for wrong in (b"", point[1:], b"\x02" + point, b"\x02" + point[:32], b"\x04" + point + b"\x00"):
        with pytest.raises(ValueError, match="uncompressed"):
            address_of(wrong)
