"""What a G-code file says about itself in its comments: PrusaSlicer, SuperSlicer, OrcaSlicer and Cura.

Only the head and the tail of a file are read, whatever its size. A value that isn't there, or can't be
meant, is `None`; no input makes the reader fail.
"""

import base64
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

HEAD_BYTES = 512 * 1024
TAIL_BYTES = 256 * 1024
MAX_THUMBNAIL_SIDE = 400
"""Pixels."""
MAX_THUMBNAIL_BYTES = 200 * 1024
MAX_TEXT = 40
"""Characters of a text value such as the material."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_NUMBER = 1e9

_COMMAND = re.compile(r"^[ \t]*(?:N\d{1,9}[ \t]*)?[GMT]\d{1,4}\b", re.MULTILINE)
_KEY_AND_VALUE = re.compile(r"^;[ \t]*([^=:\n]{1,60}?)[ \t]*[=:][ \t]*(.{1,200})$", re.MULTILINE)
_GENERATOR = re.compile(
    r"^;[ \t]*(?:generated (?:by|with)|Generated with)[ \t:]+(.{1,80}?)(?: on .*)?$", re.MULTILINE | re.I
)
_DURATION = re.compile(r"(\d{1,6})[ \t]*([dhms])")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,12})?(?![\d.eE])")
_THUMBNAIL = re.compile(r"^;[ \t]*thumbnail begin (\d{1,4})[x ](\d{1,4}) (\d{1,7})[ \t]*$", re.MULTILINE)
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class GcodeFacts:
    """Facts found in a file. Lengths in mm, mass in g, time in s; `thumbnail` is a PNG."""

    material: str | None = None
    print_time_s: int | None = None
    filament_mm: float | None = None
    filament_g: float | None = None
    layer_height_mm: float | None = None
    slicer: str | None = None
    thumbnail: bytes | None = None


def looks_like_gcode(head: bytes) -> bool:
    """Whether the beginning of a file is text with at least one G-code command in it."""
    sample = head[:HEAD_BYTES]
    if b"\0" in sample:
        return False
    return _COMMAND.search(_text(sample)) is not None


def read_facts(stream: BinaryIO) -> GcodeFacts:
    """Facts of a seekable stream. Reads at most `HEAD_BYTES + TAIL_BYTES`."""
    head = stream.read(HEAD_BYTES)
    end = stream.seek(0, 2)
    stream.seek(max(len(head), end - TAIL_BYTES))
    return facts_of(head, stream.read(TAIL_BYTES))


def facts_of(head: bytes, tail: bytes = b"") -> GcodeFacts:
    """Facts in the beginning and the end of a file."""
    head_text, tail_text = _text(head), _text(tail)
    values: dict[str, str] = {}
    # Slicers write their sums at the end; what stands there wins.
    for text in (head_text, tail_text):
        for match in _KEY_AND_VALUE.finditer(text):
            values[match[1].lower()] = match[2].strip()
    generator = _GENERATOR.search(head_text)
    return GcodeFacts(
        material=_material(values.get("filament_type")),
        print_time_s=_print_time(values),
        filament_mm=_filament_length(values),
        filament_g=_sum(
            values.get("total filament used [g]")
            or values.get("filament used [g]")
            or values.get("total filament weight [g]")
        ),
        layer_height_mm=_number(values.get("layer_height") or values.get("layer height")),
        slicer=_clean(generator[1]) if generator else None,
        thumbnail=_largest_thumbnail(head_text),
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def _clean(text: str) -> str | None:
    return "".join(c for c in text if c.isprintable()).strip()[:MAX_TEXT] or None


def _number(text: str | None) -> float | None:
    match = _NUMBER.match(text.strip()) if text else None
    if match is None:
        return None
    value = float(match[0])
    return value if math.isfinite(value) and 0 < value < _MAX_NUMBER else None


def _sum(text: str | None) -> float | None:
    """The sum over all tools of a multi-material print: `12.5, 3.1`."""
    parts = [_number(part) for part in text.split(",")] if text else []
    known = [part for part in parts if part is not None]
    return round(sum(known), 6) if known else None


def _material(text: str | None) -> str | None:
    """Materials of all tools, each once: `PLA;PLA;PETG` → `PLA, PETG`."""
    names = [name.strip().strip('"') for name in re.split("[;,]", text)] if text else []
    return _clean(", ".join(dict.fromkeys(name for name in names if name)))


def _print_time(values: dict[str, str]) -> int | None:
    text = values.get("estimated printing time (normal mode)")
    if text is None and (model := values.get("model printing time")):
        # Orca: `; model printing time: 8m 2s; total estimated time: 12m 30s`
        text = model.rpartition("total estimated time:")[2] or model
    if text is not None:
        seconds = sum(int(amount) * _SECONDS[unit] for amount, unit in _DURATION.findall(text))
        return seconds if 0 < seconds < _MAX_NUMBER else None
    cura = _number(values.get("time"))
    return round(cura) if cura and cura >= 1 else None


def _filament_length(values: dict[str, str]) -> float | None:
    millimetres = _sum(values.get("filament used [mm]") or values.get("total filament length [mm]"))
    if millimetres is not None:
        return millimetres
    cura = values.get("filament used", "")  # metres: `1.23456m, 0m`
    metres = _sum(cura) if "m" in cura and "mm" not in cura else None
    return round(metres * 1000, 3) if metres is not None else None


def _largest_thumbnail(text: str) -> bytes | None:
    return max((png for png in _thumbnails(text)), key=_pixels, default=None)


def _pixels(png: bytes) -> int:
    return int.from_bytes(png[16:20], "big") * int.from_bytes(png[20:24], "big")


def _thumbnails(text: str) -> Iterator[bytes]:
    """PNGs of a bearable size whose header tells the size that was announced."""
    for match in _THUMBNAIL.finditer(text):
        width, height, length = int(match[1]), int(match[2]), int(match[3])
        if not (0 < width <= MAX_THUMBNAIL_SIDE and 0 < height <= MAX_THUMBNAIL_SIDE):
            continue
        if length > MAX_THUMBNAIL_BYTES * 4 // 3 + 4:
            continue
        block = text[match.end() : match.end() + 2 * length + 1024].partition("thumbnail end")[0]
        digits = "".join(line.lstrip("; \t").strip() for line in block.splitlines())
        try:
            png = base64.b64decode(digits[:length], validate=True)
        except ValueError:
            continue
        size = (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big"))
        if png.startswith(_PNG_SIGNATURE) and size == (width, height):
            yield png
