"""RLP: known encodings, agreement with the rlp package, and refusal of every other spelling."""

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from imprimatur.chain import rlp_codec
from imprimatur.chain.rlp_codec import RlpInvalid, decode, encode

items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=8), max_leaves=20)


@pytest.mark.parametrize(
    ("item", "encoded"),
    [
        (b"dog", "83646f67"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        (b"", "80"),
        ([], "c0"),
        (b"\x00", "00"),
        (b"\x0f", "0f"),
        (b"\x04\x00", "820400"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (b"x" * 56, "b838" + "78" * 56),
    ],
)
def test_examples_of_the_yellow_paper(item, encoded):
    assert encode(item).hex() == encoded
    assert decode(bytes.fromhex(encoded)) == item


@settings(deadline=None)
@given(items)
def test_agrees_with_the_rlp_package(item):
    assert encode(item) == rlp.encode(item)
    assert decode(encode(item)) == item


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=1 << 256))
def test_numbers(number):
    encoded = rlp_codec.encode_int(number)
    assert encoded == rlp.encode(number)
    assert rlp_codec.scalar(decode(encoded)) == number


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_what_decodes_has_one_spelling(data):
    try:
        item = decode(data)
    except RlpInvalid:
        with pytest.raises(rlp.DecodingError):
            rlp.decode(data)
        return
    assert encode(item) == data


@pytest.mark.parametrize(
    "data",
    [
        "",
        "8100",  # a small byte with a length in front
        "b801ff",  # a long form of a short length
        "b90038" + "78" * 56,  # a length with a leading zero
        "83646f",  # cut off
        "83646f6700",  # something behind
        "b8",
        "c28080ff",
        "c283",  # an item that reaches beyond its list
        "ff" + "ff" * 8,
    ],
)
def test_other_spellings_are_refused(data):
    with pytest.raises(RlpInvalid):
        decode(bytes.fromhex(data))


def test_number_with_leading_zero_is_refused():
    with pytest.raises(RlpInvalid, match="leading zeros"):
        rlp_codec.scalar(b"\x00\x01")


def test_depth():
    """As deep as is said, and no deeper."""

    def nested(depth):
        return rlp_codec.EMPTY_LIST if depth == 1 else rlp_codec.wrap(nested(depth - 1))

    assert encode(decode(nested(rlp_codec.MAX_DEPTH))) == nested(rlp_codec.MAX_DEPTH)
    with pytest.raises(RlpInvalid, match=f"More than {rlp_codec.MAX_DEPTH} lists"):
        decode(nested(rlp_codec.MAX_DEPTH + 1))


def test_deep_lists_are_refused_and_dont_exhaust_the_stack():
    data = b"\xc0"
    for _ in range(5000):
        data = rlp_codec.wrap(data)
    with pytest.raises(RlpInvalid, match="inside each other"):
        decode(data)
