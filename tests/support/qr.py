"""Reads clean pictures of QR codes (ISO/IEC 18004) back, so that tests see what a phone would see.

A picture made by a program has no errors to correct; the error correction words are skipped. Only the
table of block sizes is the drawing library's own, and byte mode the only one.
"""

import struct
import zlib

from segno import consts

BORDER = 4
MASKS = [
    lambda y, x: (y + x) % 2,
    lambda y, x: y % 2,
    lambda y, x: x % 3,
    lambda y, x: (y + x) % 3,
    lambda y, x: (y // 2 + x // 3) % 2,
    lambda y, x: y * x % 2 + y * x % 3,
    lambda y, x: (y * x % 2 + y * x % 3) % 2,
    lambda y, x: ((y + x) % 2 + y * x % 3) % 2,
]


def modules(png: bytes) -> list[list[bool]]:
    """Dark modules of a black and white picture with one pixel per module, without its border."""
    width, height, *kind = struct.unpack(">IIBBBBB", png[16:29])
    assert kind == [1, 0, 0, 0, 0]
    data, at = b"", 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + size]
        at += size + 12
    raw, line = zlib.decompress(data), (width + 7) // 8 + 1
    rows = [raw[y * line : (y + 1) * line] for y in range(height)]
    assert all(row[0] == 0 for row in rows)
    dark = [[not row[1 + x // 8] >> (7 - x % 8) & 1 for x in range(width)] for row in rows]
    frame = [*dark[:BORDER], *dark[-BORDER:], *(row[:BORDER] + row[-BORDER:] for row in dark)]
    assert not any(any(row) for row in frame)
    return [row[BORDER:-BORDER] for row in dark[BORDER:-BORDER]]


def _fixed(size: int, version: int) -> set[tuple[int, int]]:
    """Places (row, column) of patterns, format and version: everything that isn't data."""
    places = {(6, i) for i in range(size)} | {(i, 6) for i in range(size)}
    for top, left in ((0, 0), (0, size - 8), (size - 8, 0)):
        places |= {(top + y, left + x) for y in range(8) for x in range(8)}
    places |= {(8, x) for x in (*range(9), *range(size - 8, size))}
    places |= {(y, 8) for y in (*range(9), *range(size - 8, size))}
    centers = consts.ALIGNMENT_POS[version - 2] if version > 1 else ()
    corners = {(6, 6), (6, size - 7), (size - 7, 6)}
    for center in {(y, x) for y in centers for x in centers} - corners:
        places |= {(center[0] + y, center[1] + x) for y in range(-2, 3) for x in range(-2, 3)}
    if version >= 7:
        places |= {(y, x) for y in range(6) for x in range(size - 11, size - 8)}
        places |= {(x, y) for y in range(6) for x in range(size - 11, size - 8)}
    return places


def _words(dark: list[list[bool]], fixed: set[tuple[int, int]], mask: int) -> bytes:
    """All code words, in the order of placement: two columns at a time, up and down in turn."""
    size, bits, upwards = len(dark), [], True
    for right in (x if x > 6 else x - 1 for x in range(size - 1, 0, -2)):
        for y in range(size - 1, -1, -1) if upwards else range(size):
            bits += [dark[y][x] ^ (MASKS[mask](y, x) == 0) for x in (right, right - 1) if (y, x) not in fixed]
        upwards = not upwards
    return bytes(
        int("".join("01"[bit] for bit in bits[i : i + 8]), 2) for i in range(0, len(bits) // 8 * 8, 8)
    )


def text_of(png: bytes) -> str:
    """The text in a QR code of one pixel per module."""
    return text_in(modules(png))


def text_in(dark: list[list[bool]]) -> str:
    """The text in the modules of a QR code."""
    size = len(dark)
    version = (size - 17) // 4
    # Format: two bits of level, three of mask, from the left along row 8.
    information = int("".join("01"[dark[8][x]] for x in range(5)), 2) ^ 0b10101
    level, mask = information >> 3, information & 7
    words = iter(_words(dark, _fixed(size, version), mask))
    sizes = [kind.num_data for kind in consts.ECC[version][level] for _ in range(kind.num_blocks)]
    blocks: list[list[int]] = [[] for _ in sizes]
    for i in range(max(sizes)):
        for block, length in zip(blocks, sizes, strict=True):
            if i < length:
                block.append(next(words))
    data = "".join(f"{word:08b}" for block in blocks for word in block)
    assert data[:4] == "0100"
    start = 4 + (8 if version < 10 else 16)
    length = int(data[4:start], 2)
    return bytes(int(data[start + 8 * i : start + 8 * i + 8], 2) for i in range(length)).decode("ascii")
