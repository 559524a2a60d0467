"""A device's address in a form that two people can compare aloud."""

import hashlib

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no letter that looks or sounds like a digit."""
_GROUPS, _GROUP = 4, 4


def fingerprint(address: str) -> str:
    """Four groups of four characters, such as `7Q2M 0XKD 9RT4 WV1B`: the first 80 bits of the SHA-256 of the
    address's 20 bytes. Who wants another key with the same ones tries 2^80.

    Raises:
        ValueError: it isn't an address (0x and 40 hexadecimal digits).
    """
    raw = bytes.fromhex(address.removeprefix("0x"))
    if len(raw) != 20:
        raise ValueError("An address has 20 bytes.")
    bits = int.from_bytes(hashlib.sha256(raw).digest()[: _GROUPS * _GROUP * 5 // 8], "big")
    text = "".join(ALPHABET[bits >> shift & 31] for shift in range(_GROUPS * _GROUP * 5 - 5, -1, -5))
    return " ".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))
