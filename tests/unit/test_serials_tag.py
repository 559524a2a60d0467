"""A tag has one spelling; its key is never shown and always the one that it names."""

import traceback
from dataclasses import asdict

import ndef
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imprimatur.serials import marks
from imprimatur.serials.tag import MAX_BASE_LENGTH, MAX_URL_LENGTH, Tag, TagInvalid, checked_base
from imprimatur.serials.tag_key import TagKey, TagKeyInvalid
from support.qr import text_of

BASE = "https://parts.example"
KEY = TagKey(bytes(range(1, 33)))
ID = int("70997970C51812dc3A010C7d01b50e0d17dc79C8", 16) << 96 | 0x1122334455667788
TAG = Tag(ID, 3, "123456AA0987654321", KEY.address, KEY)
URL = TAG.url(BASE)
BASES = [
    BASE,
    "https://a.b:8443/verify",
    "http://localhost:5000",
    "http://192.168.1.7:5000",
    "http://[::1]:80",
]

tags = st.builds(
    lambda id, copy, serial, public: Tag(id, copy, serial, KEY.address, None if public else KEY),
    st.integers(1, 2**256 - 1),
    st.integers(1, 65535),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=32),
    st.booleans(),
)


@given(tags, st.sampled_from(BASES))
def test_url_gives_the_tag_back(tag, base):
    assert Tag.from_url(tag.url(base)) == tag
    assert Tag.from_url(tag.url(base), base) == tag
    assert marks.url_in_ndef(marks.ndef_message(tag.url(base))) == tag.url(base)


def test_the_secret_is_in_the_fragment_only():
    public, secret = URL.split("#")
    assert Tag.from_url(public) == TAG.public
    assert TAG.public.url(BASE) == public
    assert TAG.public.key is None
    assert len(secret) == 43
    assert secret not in public


def test_the_secret_is_never_shown():
    shown = [repr(TAG), str(TAG), repr(KEY), str(KEY), f"{KEY}", repr([TAG])]
    url = Tag(ID, 3, "1", KEY.address, KEY).url(BASE)
    other = Tag(ID, 3, "1", TagKey(b"\x07" * 32).address).url(BASE)
    for wrong in (other + "#" + url.split("#")[1], url + "A", url.replace("/t/", "/T/"), url + "#"):
        with pytest.raises(TagInvalid) as caught:
            Tag.from_url(wrong)
        shown.append("".join(traceback.format_exception_only(caught.value)))
    for text in shown:
        for spelling in (KEY.secret.hex(), url.split("#")[1], str(KEY.secret)):
            assert spelling not in text


@given(st.integers(0, len(URL) - 1), st.characters(min_codepoint=0x20, max_codepoint=0x7F))
def test_one_changed_character_is_refused_or_another_part(place, character):
    """In the key or in the address it's always refused, because they have to fit."""
    wrong = URL[:place] + character + URL[place + 1 :]
    if wrong == URL:
        return
    try:
        found = Tag.from_url(wrong, BASE)
    except TagInvalid:
        return
    assert found.key == KEY
    assert found != TAG
    assert found.commitment != TAG.commitment


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text):
    for url in (text, f"{BASE}/t/{text}", URL + text[:5] + "!", URL.replace("/3/", f"/{text}/") + "="):
        with pytest.raises(TagInvalid):
            Tag.from_url(url)


@pytest.mark.parametrize(
    "change",
    [
        ("/3/", "/03/"),
        ("/3/", "/0/"),
        ("/3/", "/65536/"),
        ("/3/", "/٣/"),
        ("/3/", "/-3/"),
        ("/123456", "/%31%32%33456"),
        ("/123456", "/ 123456"),
        ("/t/", "/t//"),
        ("/t/", "/x/"),
        ("https://parts", "https://PARTS"),
        ("https://", "http://"),
        ("https://", "https://me@"),
        ("https://", "ftp://"),
        ("#", "?"),
        ("#", ""),
    ],
)
def test_other_spellings(change):
    with pytest.raises(TagInvalid):
        Tag.from_url(URL.replace(*change, 1))


def test_another_key_than_named():
    with pytest.raises(TagInvalid, match="isn't the one that it names"):
        Tag(ID, 1, "A", KEY.address, TagKey(b"\x01" * 32))


@pytest.mark.parametrize(
    "address",
    ["", "garbage", "0x" + "00" * 32, KEY.address[2:], KEY.address.upper(), KEY.address + "\n", None],
)
def test_refused_addresses(address):
    with pytest.raises(TagInvalid):
        Tag(ID, 1, "A", address)


def test_a_wrong_checksum_is_refused_and_none_is_taken():
    assert Tag(ID, 3, TAG.serial, KEY.address.lower(), KEY) == TAG
    with pytest.raises(TagInvalid, match="mistyped"):
        Tag(ID, 1, "A", KEY.address.swapcase().replace("0X", "0x"))


def test_members_of_a_tag():
    """The key comes along as it is, and still shows nothing."""
    members = asdict(TAG)
    assert members["key"] == KEY
    assert KEY.secret.hex() not in repr(members)


@pytest.mark.parametrize(("id", "copy"), [(0, 1), (-1, 1), (2**256, 1), (5, 0), (5, 65536)])
def test_refused_places(id, copy):
    with pytest.raises(TagInvalid):
        Tag(id, copy, "A", KEY.address)


def test_another_place_than_expected():
    with pytest.raises(TagInvalid, match="doesn't lead"):
        Tag.from_url(URL, "https://other.example")


@pytest.mark.parametrize(
    "base",
    [
        "",
        "parts.example",
        "https://",
        "https://parts.example/",
        "https://parts.example?x=1",
        "https://parts.example#",
        "https://parts.example/a b",
        "https://me:secret@parts.example",
        "https://pärts.example",
        "http://parts.example",
        "http://8.8.8.8",
        "https://[::1",
        "javascript://parts.example",
        "https://parts.example/" + "a" * MAX_BASE_LENGTH,
    ],
)
def test_refused_bases(base):
    with pytest.raises(TagInvalid):
        checked_base(base)


def test_the_longest_tag_fits():
    base = "https://parts.example/".ljust(MAX_BASE_LENGTH, "a")
    longest = Tag(2**256 - 1, 65535, "%" * 32, KEY.address, KEY)
    url = longest.url(base)
    assert len(url) <= MAX_URL_LENGTH
    assert Tag.from_url(url) == longest
    assert text_of(marks.qr_png(url, scale=1)) == url


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33])
def test_refused_keys(secret):
    with pytest.raises(TagKeyInvalid):
        TagKey(secret)


@settings(max_examples=15)
@given(tags, st.sampled_from("LMQH"))
def test_qr_code_says_the_url(tag, level):
    assert text_of(marks.qr_png(tag.url(BASE), level, scale=1)) == tag.url(BASE)


def test_qr_code_as_a_drawing():
    drawing = marks.qr_svg(URL).decode()
    assert "<svg" in drawing
    assert "parts.example" not in drawing
    assert marks.qr_png(URL, scale=2).startswith(b"\x89PNG")


def test_ndef_is_one_uri_record():
    message = marks.ndef_message(URL)
    # MB, ME, SR, TNF 1; type length; payload length; "U"; "https://": NFC Forum's URI record.
    assert message[:5] == bytes([0xD1, 1, len(message) - 4, ord("U"), 4])
    assert message[5:] == URL.removeprefix("https://").encode()
    assert len(message) < 492


def test_every_flipped_bit_in_ndef():
    for bit in range(len(marks.ndef_message(URL)) * 8):
        message = bytearray(marks.ndef_message(URL))
        message[bit // 8] ^= 1 << bit % 8
        try:
            found = Tag.from_url(marks.url_in_ndef(bytes(message)), BASE)
        except TagInvalid:
            continue
        assert found.key == KEY
        assert found.commitment != TAG.commitment


@given(st.binary(max_size=80) | st.binary(max_size=60).map(marks.ndef_message(URL)[:4].__add__))
def test_any_other_message_is_refused(message):
    with pytest.raises(TagInvalid):
        Tag.from_url(marks.url_in_ndef(message))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xd1",
        marks.ndef_message(URL)[:-1],
        marks.ndef_message(URL) + b"\0",
        b"".join(ndef.message_encoder([ndef.UriRecord(URL), ndef.UriRecord(URL)])),
        b"".join(ndef.message_encoder([ndef.TextRecord(URL)])),
        bytes(2000),
    ],
)
def test_refused_ndef(message):
    with pytest.raises(TagInvalid):
        marks.url_in_ndef(message)
