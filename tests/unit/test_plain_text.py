"""The rule for texts is the same in every version of Python and Unicode."""

import hashlib
import sys
import unicodedata

import pytest

from imprimatur.plain_text import is_plain

ALL = [chr(point) for point in range(sys.maxunicode + 1)]
REFUSED = [character for character in ALL if not is_plain(character)]


def test_the_list_never_changes():
    """Whoever changes it makes old manifests unreadable, or new ones unreadable elsewhere."""
    points = b"".join(ord(character).to_bytes(3, "big") for character in REFUSED)
    assert len(REFUSED) == 139_867
    assert (
        hashlib.sha256(points).hexdigest()
        == "c01dd1bddf284e6906631a5c4ebd8dcfe3f5b46add95e2b60b3fe04304f81759"
    )


def test_what_can_be_printed_is_allowed():
    assert [c for c in ALL if c.isprintable() and not is_plain(c)] == []


def test_what_is_no_text_is_refused():
    """By the oldest tables that Python has, so that this holds in every version."""
    for character in ALL:
        if unicodedata.ucd_3_2_0.category(character) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs"):
            assert is_plain(character) == (character == " "), hex(ord(character))


@pytest.mark.parametrize("point", [0xFFFE, 0xFDD0, 0x1FFFF, 0x10FFFF, 0x202E, 0x2066, 0x200B, 0xE0041])
def test_refused(point):
    assert not is_plain(f"a{chr(point)}b")


@pytest.mark.parametrize("text", ["", " ", "Türgriff (Los 42)", "\U0001f984", "\u0378", "\U000e0100"])
def test_allowed(text):
    """The fifth isn't assigned in any version so far; the last picks a form of an ideograph."""
    assert is_plain(text)
