"""Serials: what is one, how it fits a word, and what typing it wrong does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprimatur.serials import text

SERIALS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=32)


@given(SERIALS)
def test_word_gives_the_serial_back(serial):
    word = text.to_word(serial)
    assert word == serial.encode() + bytes(32 - len(serial))
    assert text.from_word(word) == serial


@given(st.binary(min_size=32, max_size=32))
def test_a_word_is_a_serial_or_refused(word):
    try:
        serial = text.from_word(word)
    except text.SerialInvalid:
        return
    assert text.to_word(serial) == word


@pytest.mark.parametrize("serial", ["", "a" * 33, "a b", " a", "a\n", "ä", "a\x00", "a\x7f", "a\u0661"])
def test_refused_texts(serial):
    with pytest.raises(text.SerialInvalid):
        text.to_word(serial)


@pytest.mark.parametrize(
    "word", [bytes(32), b"A" * 31, b"A" * 33, b"A\0B".ljust(32, b"\0"), b"\0A".ljust(32), b"\xe4".ljust(32)]
)
def test_refused_words(word):
    with pytest.raises(text.SerialInvalid):
        text.from_word(word)


def test_the_slides_serial():
    assert text.from_word(text.to_word("123456AA0987654321")) == "123456AA0987654321"
    assert text.fits_gs1("123456AA0987654321")


@pytest.mark.parametrize("serial", ["", "A" * 21, "A#1", "A~1", "A 1"])
def test_not_for_gs1(serial):
    assert not text.fits_gs1(serial)


def test_check_character_is_the_standards():
    """Examples of the Global Release Identifier, which ends with the same check character."""
    assert text.check_character("A12425GABC1234002") == "M"
    assert text.check_character("A12425GXY98765432") != text.check_character("A12425GXY98765423")


def test_generated_serials():
    made = {text.generate() for _ in range(200)}
    assert len(made) == 200
    for serial in made:
        assert len(serial) == text.GENERATED_LENGTH
        assert text.fits_gs1(serial)
        assert text.from_typing(serial) == serial


@given(st.integers(0, text.GENERATED_LENGTH - 1), st.sampled_from(text.ALPHABET))
def test_one_wrong_character_is_found(place, character):
    serial = "4711A458572QRSTV"
    serial = serial[:-1] + text.check_character(serial[:-1])
    wrong = serial[:place] + character + serial[place + 1 :]
    if wrong == serial:
        assert text.from_typing(wrong) == serial
    else:
        with pytest.raises(text.SerialInvalid, match="mistyped"):
            text.from_typing(wrong)


def test_typing_forgives_what_cannot_be_meant():
    serial = next(s for s in iter(text.generate, None) if {"0", "1"} <= set(s))
    typed = serial.lower().replace("0", "o").replace("1", "l")
    assert text.from_typing(f" {typed[:4]}-{typed[4:]} ") == serial


@pytest.mark.parametrize("typed", ["", "123456AA0987654321", "U" * 16, "ß" * 16, "0" * 17])
def test_typing_of_something_else(typed):
    with pytest.raises(text.SerialInvalid):
        text.from_typing(typed)
