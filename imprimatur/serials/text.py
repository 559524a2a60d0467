"""Serials: the text on a part, such as `123456AA0987654321`.

Any 1 to 32 printable ASCII characters without space, because makers have numbering of their own. On the chain
they are one word: the characters, then zeros. `generate` makes serials that nobody can guess, that fit GS1's
application identifier 21, and whose check character finds mistakes in typing.
"""

import secrets

from imprimatur.errors import ImprimaturError

MAX_LENGTH = 32
WORD_SIZE = 32
"""Bytes of a word of the chain."""
MAX_GS1_LENGTH = 20

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Of generated serials: no I, L, O and U, which are read as other characters."""
GENERATED_LENGTH = 16
"""15 random characters (75 bits) and the check character."""

_GS1 = frozenset(
    "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
)  # GS1 General Specifications, figure "GS1 AI encodable character set 82"
_ISO_7064 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOOKALIKES = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})


class SerialInvalid(ImprimaturError):
    """The text or the word is no serial."""


def checked(serial: str) -> str:
    """The serial itself.

    Raises:
        SerialInvalid: empty, longer than 32, or with other characters than printable ASCII without space.
    """
    if not 1 <= len(serial) <= MAX_LENGTH:
        raise SerialInvalid(f"A serial has 1 to {MAX_LENGTH} characters, not {len(serial)}.")
    if not all("!" <= character <= "~" for character in serial):
        raise SerialInvalid("A serial has only letters, digits and signs of ASCII, and no space.")
    return serial


def to_word(serial: str) -> bytes:
    """The serial as a bytes32 of the chain. Raises SerialInvalid."""
    return checked(serial).encode("ascii").ljust(WORD_SIZE, b"\0")


def from_word(word: bytes) -> str:
    """The serial in a bytes32.

    Raises:
        SerialInvalid: another size, or not one serial followed by zeros.
    """
    if len(word) != WORD_SIZE:
        raise SerialInvalid(f"A serial's word has {WORD_SIZE} bytes, not {len(word)}.")
    # Latin-1 gives every byte a character, so that `checked` judges all of them.
    return checked(word.rstrip(b"\0").decode("latin-1"))


def fits_gs1(serial: str) -> bool:
    """Whether the serial can stand in a GS1 code (application identifier 21)."""
    return 1 <= len(serial) <= MAX_GS1_LENGTH and set(serial) <= _GS1


def generate() -> str:
    """A new random serial of GENERATED_LENGTH characters with a check character at its end."""
    while True:
        body = "".join(secrets.choice(ALPHABET) for _ in range(GENERATED_LENGTH - 1))
        # One in nine check characters is one that people misread.
        if (check := check_character(body)) in ALPHABET:
            return body + check


def check_character(body: str) -> str:
    """Check character (ISO/IEC 7064, MOD 37,36) of digits and upper-case letters.

    It finds every single wrong character and nearly every exchange of neighbours.
    """
    product = 36
    for character in body:
        total = (product + _ISO_7064.index(character)) % 36 or 36
        product = total * 2 % 37
    return _ISO_7064[(37 - product) % 36]


def from_typing(typed: str) -> str:
    """The generated serial that a person meant who typed it: any case, with or without hyphens and spaces,
    O for 0, I or L for 1.

    Raises:
        SerialInvalid: it isn't a generated serial, or was mistyped.
    """
    serial = typed.upper().translate(_LOOKALIKES)
    if len(serial) != GENERATED_LENGTH or not set(serial) <= set(ALPHABET):
        raise SerialInvalid(
            f"A serial of this kind has {GENERATED_LENGTH} letters and digits. Type it again."
        )
    if check_character(serial[:-1]) != serial[-1]:
        raise SerialInvalid("The serial was mistyped: its check character doesn't fit. Type it again.")
    return serial
