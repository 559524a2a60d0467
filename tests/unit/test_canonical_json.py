"""Canonical JSON has one spelling, and nothing else is read."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprimatur.canonical_json import MAX_DEPTH, MAX_INTEGER, NotCanonical, dumps, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_round_trip(value):
    assert parse(dumps(value)) == value
    assert json.loads(dumps(value)) == value


@given(VALUES, st.data())
def test_any_other_byte_is_refused_or_another_value(value, data):
    good = dumps(value)
    at = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[at // 8] ^= 1 << at % 8
    try:
        assert dumps(parse(bytes(bad))) == bytes(bad)
    except NotCanonical:
        return
    assert json.dumps(parse(bytes(bad))) != json.dumps(value)


def test_rfc_8785_escapes_and_order():
    """The strings of RFC 8785, sections 3.2.2 and 3.2.3."""
    assert dumps('€$\x0f\nA\'B"\\\\"/') == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'.encode()
    names = ["€", "\r", "\ufb33", "1", "\U0001f600", "\x80", "ö"]
    order = ["\r", "1", "\x80", "ö", "€", "\U0001f600", "\ufb33"]
    assert list(json.loads(dumps(dict.fromkeys(names, 0)))) == order
    assert dumps({"b": [True, False, None], "a": (1, -1, 0)}) == b'{"a":[1,-1,0],"b":[true,false,null]}'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" 1",
        b"1\n",
        b"-0",
        b"01",
        b"1.0",
        b"1e3",
        b"NaN",
        b"-Infinity",
        b"9007199254740992",
        b"-9007199254740992",
        b"9" * 5000,
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":1}',
        b'{"a": 1}',
        b"[1,]",
        b"[1 ]",
        b'"\\u00e9"',
        b'"\\/"',
        b'"\\u000A"',
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\n"',
        b'\xef\xbb\xbf"a"',
        b'"a',
        b'"a\\',
        b"{} {}",
        b"}" * 100 + b"[" * 150,
    ],
)
def test_other_spellings_are_refused(data):
    with pytest.raises(NotCanonical):
        parse(data)


@pytest.mark.parametrize("value", [1.0, MAX_INTEGER + 1, {1: 2}, b"a", {"a"}, "\ud800", {"\udc00": 1}])
def test_values_without_a_canonical_form(value):
    with pytest.raises(NotCanonical):
        dumps(value)


def test_depth_is_bounded_before_parsing():
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert dumps(parse(deepest)) == deepest
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        for data in (b"[" + deepest + b"]", b"[" * 500_000, b'{"a":' * 100_000, b'["\\\\",' * 100_000):
            with pytest.raises(NotCanonical, match="deeper"):
                parse(data)
    finally:
        sys.setrecursionlimit(limit)
    assert parse(b'["' + b"[{" * 100 + b'\\\\\\"["]') == ["[{" * 100 + '\\"[']


def test_size_is_bounded():
    assert parse(b'"abc"', max_size=5) == "abc"
    with pytest.raises(NotCanonical, match="longer"):
        parse(b'"abc"', max_size=4)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b'{"a":1,"a":1}', "twice"), (b"[1.5]", "1.5"), (b"[1", "aren't JSON"), (b"[ 1]", "canonical form")],
)
def test_refusals_say_why(data, reason):
    with pytest.raises(NotCanonical, match=reason):
        parse(data)
