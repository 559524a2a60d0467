"""Keys: age's text form strictly, no key that protects nothing, no secret in any message."""

import pytest
from Crypto.Protocol.DH import import_x25519_private_key, import_x25519_public_key
from hypothesis import given
from hypothesis import strategies as st

from imprimatur.sealing import (
    InvalidKey,
    SealedFile,
    identity_text,
    key_commitment,
    new_key,
    public_key,
    public_key_from_text,
    recipient_text,
    secret_from_text,
)
from imprimatur.sealing.bech32 import InvalidBech32, decode, decode_words, encode, encode_words

PRIME = 2**255 - 19
# Montgomery u-coordinates of order 1, 2, 4 and 8 on curve and twist, also as spelled above the prime.
LOW_ORDER = [
    0,
    1,
    PRIME - 1,
    PRIME,
    PRIME + 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]

# BIP-173, "Test vectors".
VALID = [
    "A12UEL5L",
    "a12uel5l",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
    "11qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqc8247j",
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
    "?1ezyfcl",
]
INVALID = [
    "\x201nwldj5",
    "\x7f1axkwrx",
    "\x801eym55h",
    "an84characterslonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1569pvx",
    "pzry9x0s0muk",
    "1pzry9x0s0muk",
    "x1b4n0q5v",
    "li1dgmt3",
    "de1lg7wt\xff",
    "A1G7SGD8",
    "10a06t8",
    "1qzzfhee",
]
# RFC 7748, section 6.1: Bob's key pair.
SECRET = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")

secrets = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("text", VALID)
def test_valid_bech32(text):
    name, words = decode_words(text)
    assert encode_words(name.lower(), words) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_invalid_bech32(text):
    with pytest.raises(InvalidBech32):
        decode_words(text)


def test_mixed_case_is_refused():
    with pytest.raises(InvalidBech32, match="never in both"):
        decode_words("A12uEL5L")


def test_checksum_of_the_newer_bech32m_is_refused():
    with pytest.raises(InvalidBech32, match="checksum"):
        decode_words("a1lqfn3a")


@given(st.binary(max_size=45))
def test_bytes_survive(data):
    assert decode(encode("age", data)) == ("age", data)


@pytest.mark.parametrize("words", [[0], [0, 1], [31, 31, 31], [0, 0, 0, 1]])
def test_words_that_hold_no_whole_bytes(words):
    with pytest.raises(InvalidBech32, match="whole bytes"):
        decode(encode_words("age", words))


def test_public_key_of_the_standard():
    assert public_key(SECRET) == PUBLIC


@given(secrets)
def test_public_key_is_x25519s(secret):
    theirs = import_x25519_private_key(secret).public_key().export_key(format="raw")
    assert public_key(secret) == theirs


@given(secrets)
def test_clamped_or_not_is_one_key_pair_and_two_commitments(secret):
    clamped = bytes([secret[0] & 248, *secret[1:31], secret[31] & 127 | 64])
    assert public_key(clamped) == public_key(secret)
    assert (key_commitment(clamped) == key_commitment(secret)) == (clamped == secret)


@given(secrets)
def test_texts_give_the_same_bytes_back(secret):
    assert secret_from_text(identity_text(secret)) == secret
    public = public_key(secret)
    assert public_key_from_text(recipient_text(public)) == public


@given(secrets, st.data())
def test_any_mistyped_character_is_noticed(secret, data):
    text = identity_text(secret)
    position = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(
        st.sampled_from("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L1-B").filter(lambda c: c != text[position])
    )
    with pytest.raises(InvalidKey):
        secret_from_text(text[:position] + other + text[position + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        str.lower,
        lambda text: text[:-1],
        lambda text: " " + text,
        lambda text: text + "\n",
        lambda text: "",
        lambda text: recipient_text(PUBLIC),
        lambda text: encode("age-secret-key-", SECRET[:31]).upper(),
        lambda text: encode("age-secret-key-", SECRET + b"1").upper(),
    ],
)
def test_secret_text_has_one_spelling(change):
    with pytest.raises(InvalidKey):
        secret_from_text(change(identity_text(SECRET)))


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text[:-1],
        lambda text: identity_text(SECRET),
        lambda text: encode("age", PUBLIC[:31]),
    ],
)
def test_public_text_has_one_spelling(change):
    with pytest.raises(InvalidKey):
        public_key_from_text(change(recipient_text(PUBLIC)))


@pytest.mark.parametrize("top_bit", [0, 1 << 255])
@pytest.mark.parametrize("point", LOW_ORDER)
def test_points_of_low_order_are_refused(point, top_bit):
    public = (point | top_bit).to_bytes(32, "little")
    if not top_bit:
        # An independent implementation agrees that this is no key.
        with pytest.raises(ValueError, match="Invalid"):
            import_x25519_public_key(public)
    with pytest.raises(InvalidKey):
        recipient_text(public)
    with pytest.raises(InvalidKey):
        public_key_from_text(encode("age", public))


@pytest.mark.parametrize("point", [PRIME + 9, 2**255 - 1, 9 | 1 << 255])
def test_second_spellings_of_a_point_are_refused(point):
    with pytest.raises(InvalidKey, match="one X25519 form"):
        recipient_text(point.to_bytes(32, "little"))


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), "0" * 32, None, bytearray(32)])
def test_keys_have_32_bytes(key):
    for use in (public_key, key_commitment, identity_text, recipient_text):
        with pytest.raises(InvalidKey, match="exactly 32 bytes"):
            use(key)


def test_new_keys_differ():
    assert len({new_key() for _ in range(100)}) == 100


def test_no_secret_in_messages_and_reprs():
    text = identity_text(SECRET)
    for wrong in (text[:-1], text.lower(), text + "Q"):
        with pytest.raises(InvalidKey) as raised:
            secret_from_text(wrong)
        assert wrong[15:30].lower() not in f"{raised.value} {raised.value.__cause__}".lower()
    sealed = SealedFile(SECRET, key_commitment(SECRET), 0, "", 0, "")
    assert repr(SECRET)[2:-1] not in repr(sealed)
    assert SECRET.hex() not in repr(sealed)
    assert text not in repr(sealed)
