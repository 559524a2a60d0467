"""Bech32 (BIP-173): the text form of age's keys, a name and some bytes under a checksum."""

from imprimatur.errors import ImprimaturError

MAX_LENGTH = 90
"""Characters; beyond it the checksum loses its promise."""
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_CHECKSUM_LENGTH = 6
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


class InvalidBech32(ImprimaturError):
    """The text isn't Bech32. The message never repeats the text: it may be a secret."""


def _remainder(name: str, words: list[int]) -> int:
    """Remainder of the checksum's polynomial over name and 5-bit words; 1 for a valid text."""
    expanded = [ord(c) >> 5 for c in name] + [0] + [ord(c) & 31 for c in name]
    remainder = 1
    for word in expanded + words:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ word
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                remainder ^= generator
    return remainder


def encode_words(name: str, words: list[int]) -> str:
    """Text of 5-bit `words` under a lower-case `name`."""
    remainder = _remainder(name, words + [0] * _CHECKSUM_LENGTH) ^ 1
    checksum = [remainder >> 5 * i & 31 for i in reversed(range(_CHECKSUM_LENGTH))]
    return f"{name}1" + "".join(_ALPHABET[word] for word in words + checksum)


def decode_words(text: str) -> tuple[str, list[int]]:
    """Name, in the text's case, and 5-bit words.

    Raises:
        InvalidBech32: too long, of mixed case, with foreign characters or a wrong checksum.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidBech32(f"A key has at most {MAX_LENGTH} characters.")
    if text not in (text.lower(), text.upper()):
        raise InvalidBech32("A key is written in lower or in upper case, never in both.")
    name, separator, rest = text.rpartition("1")
    if not separator or not name or len(rest) < _CHECKSUM_LENGTH:
        raise InvalidBech32("A key has a name, a 1 and at least six more characters.")
    rest = rest.lower()
    if not all("!" <= c <= "~" for c in name) or not all(c in _ALPHABET for c in rest):
        raise InvalidBech32("There is a character in this key that no key has.")
    words = [_ALPHABET.index(c) for c in rest]
    if _remainder(name.lower(), words) != 1:
        raise InvalidBech32("The key's checksum is wrong: a character was mistyped or left out.")
    return name, words[:-_CHECKSUM_LENGTH]


def encode(name: str, data: bytes) -> str:
    """Text of `data` under a lower-case `name`."""
    length = -(-len(data) * 8 // 5)
    number = int.from_bytes(data, "big") << length * 5 - len(data) * 8
    return encode_words(name, [number >> 5 * i & 31 for i in reversed(range(length))])


def decode(text: str) -> tuple[str, bytes]:
    """Name, in the text's case, and bytes.

    Raises:
        InvalidBech32: as `decode_words`, or the words aren't the one spelling of whole bytes.
    """
    name, words = decode_words(text)
    number = 0
    for word in words:
        number = number << 5 | word
    padding = len(words) * 5 % 8
    if padding > 4 or number & (1 << padding) - 1:
        raise InvalidBech32("The key doesn't hold whole bytes.")
    return name, (number >> padding).to_bytes(len(words) * 5 // 8, "big")
