"""Which characters may stand in texts that people read and programs compare: names, license numbers.

The rule is a fixed list of what is refused, so that it doesn't change with the Unicode version of whoever
applies it: characters that are yet to be assigned are allowed.
"""

import re

_REFUSED = (
    (0x0000, 0x001F),  # controls
    (0x007F, 0x00A0),  # controls, and the space that doesn't break
    (0x00AD, 0x00AD),  # soft hyphen
    (0x0600, 0x0605),  # marks around Arabic numbers
    (0x061C, 0x061C),  # turns the direction of text
    (0x06DD, 0x06DD),
    (0x070F, 0x070F),
    (0x0890, 0x0891),
    (0x08E2, 0x08E2),
    (0x1680, 0x1680),  # a space
    (0x180E, 0x180E),  # nothing to see
    (0x2000, 0x200F),  # spaces, joiners, directions
    (0x2028, 0x202F),  # ends of lines and paragraphs, directions, a space
    (0x205F, 0x206F),  # a space, nothing to see, directions
    (0x3000, 0x3000),  # a space
    (0xD800, 0xDFFF),  # halves of surrogate pairs
    (0xE000, 0xF8FF),  # private use
    (0xFDD0, 0xFDEF),  # never characters
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFF9, 0xFFFB),  # annotations
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x13430, 0x1343F),  # joins hieroglyphs
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),  # marks of musical notation
    (0xE0000, 0xE007F),  # tags
    (0xF0000, 0x10FFFF),  # private use
    *((plane | 0xFFFE, plane | 0xFFFF) for plane in range(0, 0xF0000, 0x10000)),  # never characters
)
_ANY_REFUSED = re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in _REFUSED)}]")


def is_plain(text: str) -> bool:
    """Whether nothing in `text` is invisible, turns its direction around, or isn't a character.

    The only space is U+0020. Refused are the Unicode categories Cc, Cf, Co, Cs, Zl, Zp and Zs, as far as
    Unicode 14 has them, and what will never be a character.
    """
    return _ANY_REFUSED.search(text) is None
