"""Render an STL file and put the picture into a G-code file as its thumbnails.

PrusaSlicer draws thumbnails with OpenGL and therefore leaves them out when it runs from the
command line.  This script adds them in the same header format, without a graphics card.

Usage: python3 render_thumbnail.py PART.stl PART.gcode [--save-png FOLDER]

Lengths are in millimetres, angles in degrees, colours in linear light from 0 to 1.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]

SIZES = ((64, 64), (320, 240))
AZIMUTH, ELEVATION = -40.0, 42.0
# Two facets that meet at less than this angle are shown as one smooth surface.
CREASE_ANGLE = 40.0
SAMPLES_PER_AXIS = 4
PALETTE_SIZE = 256
OPACITY_WEIGHT = 2.5

PART_COLOUR: Floats = np.array([0.93, 0.30, 0.035])
# Directions are relative to the viewer: right, away, up.
KEY_LIGHT: Floats = np.array([-0.62, -0.10, 1.0])
KEY_COLOUR: Floats = np.array([1.0, 0.96, 0.90]) * 0.92
SKY_COLOUR: Floats = np.array([0.80, 0.90, 1.0]) * 0.62
GROUND_COLOUR: Floats = np.array([1.0, 0.93, 0.86]) * 0.16
SHADOW_STRENGTH = 0.5


@dataclass(frozen=True)
class View:
    """An orthographic camera: `axes` holds its right, up and towards-the-viewer unit vectors."""

    axes: Floats
    centre: Floats  # the point (x, y in camera axes) shown in the middle of the picture
    scale: float  # pixels per millimetre
    width: int
    height: int

    def project(self, points: Floats) -> Floats:
        """Return pixel x, pixel y and nearness (mm, larger is nearer) of points in mm."""
        seen = points @ self.axes.T
        seen[..., 0] = (seen[..., 0] - self.centre[0]) * self.scale + self.width / 2
        seen[..., 1] = (self.centre[1] - seen[..., 1]) * self.scale + self.height / 2
        return seen


def read_stl(path: Path) -> Floats:
    """Read a binary or ASCII STL file as an array of triangles, shape (n, 3, 3), in mm.

    Raises OSError when the file cannot be read and ValueError when it holds no whole triangles.
    """
    data = path.read_bytes()
    # Binary files may start with the word "solid" too, so only their exact size tells them apart.
    if len(data) >= 84 and len(data) == 84 + 50 * struct.unpack_from("<I", data, 80)[0]:
        record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        triangles = np.frombuffer(data, record, offset=84)["corners"].astype(np.float64)
    else:
        corners = re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", data)
        if len(corners) % 3:
            raise ValueError(f"{path}: not an STL file, or cut off")
        triangles = np.array(corners, dtype=np.float64).reshape(-1, 3, 3)
    if not len(triangles):
        raise ValueError(f"{path}: holds no triangles")
    return triangles


def unit(vectors: Floats) -> Floats:
    """Scale vectors to length 1; vectors of length zero stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def smooth_normals(triangles: Floats) -> Floats:
    """Return a unit normal for each corner, averaged over the facets that join smoothly there."""
    flat = unit(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]))
    towards_next = unit(np.roll(triangles, -1, axis=1) - triangles)
    towards_last = unit(np.roll(triangles, 1, axis=1) - triangles)
    # Weighting by corner angle keeps the long slivers of a triangulated face from dominating.
    angle = np.arccos(np.clip((towards_next * towards_last).sum(-1), -1, 1))

    _, vertex = np.unique(triangles.reshape(-1, 3).round(4), axis=0, return_inverse=True)
    order = np.argsort(vertex.ravel(), kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(vertex.ravel()[order])) + 1)
    normals = np.repeat(flat, 3, axis=0)
    limit = np.cos(np.radians(CREASE_ANGLE))
    for group in groups:
        around = flat[group // 3]
        joined = (around @ around.T > limit) * angle.ravel()[group]
        normals[group] = unit(joined @ around)
    return normals.reshape(-1, 3, 3)


def camera_axes(towards_viewer: Floats) -> Floats:
    """Return right, up and towards-the-viewer unit vectors, with +z upright in the picture."""
    back = unit(towards_viewer)
    right = unit(np.cross([0.0, 0.0, 1.0] if abs(back[2]) < 0.999 else [0.0, 1.0, 0.0], back))
    return np.array([right, np.cross(back, right), back])


def fit_view(points: Floats, axes: Floats, width: int, height: int, margin: float) -> View:
    """Return a view that shows all points (mm), leaving `margin` (share of the size) at each side."""
    seen = points.reshape(-1, 3) @ axes.T
    low, high = seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)
    room = np.array([width, height]) * (1 - 2 * margin)
    return View(axes, (low + high) / 2, float((room / (high - low)).min()), width, height)


def rasterize(corners: Floats, width: int, height: int) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Draw projected triangles into a z-buffer.

    Returns, for each pixel, the index of the nearest triangle (-1 where there is none), the
    nearness (mm) and the barycentric weights of the three corners.
    """
    facet = np.full((height, width), -1)
    nearness = np.full((height, width), -np.inf)
    weights = np.zeros((height, width, 3))
    for index, (a, b, c) in enumerate(corners):
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-9:
            continue
        left, right = max(int(min(a[0], b[0], c[0])), 0), min(int(max(a[0], b[0], c[0])) + 1, width)
        top, bottom = max(int(min(a[1], b[1], c[1])), 0), min(int(max(a[1], b[1], c[1])) + 1, height)
        x = np.arange(left, right) + 0.5
        y = np.arange(top, bottom)[:, None] + 0.5
        of_b = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        of_c = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        of_a = 1 - of_b - of_c
        near = of_a * a[2] + of_b * b[2] + of_c * c[2]
        box = np.s_[top:bottom, left:right]
        hit = (of_a >= 0) & (of_b >= 0) & (of_c >= 0) & (near > nearness[box])
        facet[box][hit] = index
        nearness[box][hit] = near[hit]
        weights[box][hit] = np.stack([of_a, of_b, of_c], axis=-1)[hit]
    return facet, nearness, weights


def sky_directions(count: int) -> Floats:
    """Return unit vectors spread over the upper hemisphere, denser towards the top (cosine-weighted)."""
    step = np.arange(count)
    out = np.sqrt((step + 0.5) / count)
    turn = step * np.pi * (3 - np.sqrt(5))
    return np.stack([out * np.cos(turn), out * np.sin(turn), np.sqrt(1 - out**2)], axis=-1)


class ShadowMaps:
    """The part as seen from far away in several directions, to tell what it hides from them."""

    SIDE = 400  # pixels
    TOLERANCE = 0.12  # mm; hides the steps of a map on the surface that casts them

    def __init__(self, triangles: Floats, directions: Floats) -> None:
        """Draw one map of the triangles (mm) for each unit vector in directions."""
        self._maps = []
        for direction in directions:
            view = fit_view(triangles, camera_axes(direction), self.SIDE, self.SIDE, margin=0.01)
            self._maps.append((view, rasterize(view.project(triangles), self.SIDE, self.SIDE)[1]))

    def open_share(self, points: Floats) -> Floats:
        """Return the share (0 to 1) of the directions in which each point (mm) sees past the part."""
        seen = np.zeros(len(points))
        for view, nearness in self._maps:
            spot = view.project(points)
            column, row = spot[:, 0].astype(int), spot[:, 1].astype(int)
            inside = (spot[:, :2] >= 0).all(axis=1) & (column < self.SIDE) & (row < self.SIDE)
            lit = np.ones(len(points))
            lit[inside] = nearness[row[inside], column[inside]] < spot[inside, 2] + self.TOLERANCE
            seen += lit
        return seen / len(self._maps)


class Scene:
    """A part on the print bed with its lights, ready to be rendered in several sizes."""

    def __init__(self, triangles: Floats) -> None:
        """Place the triangles (mm) on the bed, lowest point at z = 0, and draw their shadow maps."""
        self._triangles = triangles - [0, 0, triangles[..., 2].min()]
        self._normals = smooth_normals(self._triangles)
        azimuth, elevation = np.radians([AZIMUTH, ELEVATION])
        away = -np.array([np.cos(azimuth), np.sin(azimuth), 0])
        self._axes = camera_axes(np.array([0, 0, np.sin(elevation)]) - away * np.cos(elevation))
        self._key = unit(KEY_LIGHT @ np.array([self._axes[0], away, [0, 0, 1]]))
        # A sun of some width gives the shadow a soft edge.
        disc = sky_directions(32) * [0.16, 0.16, 0] @ camera_axes(self._key)
        self._key_maps = ShadowMaps(self._triangles, unit(self._key + disc))
        self._sky_maps = ShadowMaps(self._triangles, sky_directions(64))

    def render(self, width: int, height: int) -> Image.Image:
        """Return an RGBA picture of this size in pixels: the part and its shadow, nothing else."""
        shadow = self._triangles - self._triangles[..., 2:] / self._key[2] * self._key
        sides = width * SAMPLES_PER_AXIS, height * SAMPLES_PER_AXIS
        view = fit_view(np.concatenate([self._triangles, shadow]), self._axes, *sides, margin=0.05)
        facet, _, weights = rasterize(view.project(self._triangles), *sides)
        part = facet >= 0

        share = weights[part][..., None]
        normals = unit((self._normals[facet[part]] * share).sum(axis=1))
        # Starting a little above the surface keeps a facet from shading itself.
        points = (self._triangles[facet[part]] * share).sum(axis=1) + 0.06 * normals
        bed = bed_points(view, ~part)

        colours = np.zeros((view.height, view.width, 4))
        key_open, sky_open = self._key_maps.open_share(points), self._sky_maps.open_share(points)
        colours[part, :3] = shade(normals, key_open, sky_open, self._key, self._axes[2])
        colours[part, 3] = 1
        dark = 1 - 0.6 * self._key_maps.open_share(bed) - 0.4 * self._sky_maps.open_share(bed)
        # The faintest shade is left out, because it would end abruptly at the frame.
        colours[~part, 3] = SHADOW_STRENGTH * np.clip(dark - 0.04, 0, None)
        return to_image(colours)


def bed_points(view: View, pixels: NDArray[np.bool_]) -> Floats:
    """Return the points (mm) of the print bed that show through the given pixels."""
    row, column = np.nonzero(pixels)
    x = (column + 0.5 - view.width / 2) / view.scale + view.centre[0]
    y = view.centre[1] - (row + 0.5 - view.height / 2) / view.scale
    right, up, back = view.axes
    on_screen = x[:, None] * right + y[:, None] * up
    points: Floats = on_screen - (on_screen[:, 2:] / back[2]) * back
    return points


def shade(normals: Floats, key_open: Floats, sky_open: Floats, key: Floats, back: Floats) -> Floats:
    """Return linear colours: a sun with a highlight, light from the sky, light back from the bed."""
    facing = np.clip(normals @ key, 0, None)[:, None] * key_open[:, None]
    upward = (normals[:, 2:] + 1) / 2
    # The count covers the whole sky, of which a wall sees at most half: that half is fully open.
    ambient = np.clip(sky_open[:, None] / np.clip(upward, 0.3, 1), 0, 1)
    light = KEY_COLOUR * facing + (SKY_COLOUR * upward + GROUND_COLOUR * (1 - upward)) * ambient
    gleam = np.clip(normals @ unit(key + back), 0, 1)[:, None] ** 40 * key_open[:, None]
    rim = (1 - np.clip(normals @ back, 0, 1))[:, None] ** 3
    colours: Floats = PART_COLOUR * light + 0.10 * gleam + 0.05 * rim * SKY_COLOUR
    return colours


def to_image(colours: Floats) -> Image.Image:
    """Average the samples of each pixel and turn linear RGBA into an 8-bit sRGB picture."""
    height, width = colours.shape[0] // SAMPLES_PER_AXIS, colours.shape[1] // SAMPLES_PER_AXIS
    # Clipped before averaging: a highlight brighter than white would give jagged edges.
    colours = np.clip(colours, 0, 1)
    colours[..., :3] = encode_srgb(colours[..., :3]) * colours[..., 3:]
    blocks = colours.reshape(height, SAMPLES_PER_AXIS, width, SAMPLES_PER_AXIS, 4)
    mean = blocks.mean(axis=(1, 3))
    mean[..., :3] /= np.where(mean[..., 3:] > 0, mean[..., 3:], 1)
    return Image.fromarray((mean * 255).round().astype(np.uint8), "RGBA")


def encode_srgb(linear: Floats) -> Floats:
    """Apply the sRGB transfer curve."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def reduce_palette(picture: Image.Image, size: int) -> Image.Image:
    """Return the RGBA picture with at most `size` colours, each with its own opacity.

    Pillow's own quantizer for RGBA leaves visible steps in the shadow; this is plain k-means,
    started from the most different colours, hence without chance.
    """
    pixels = np.asarray(picture, dtype=np.float64).reshape(-1, 4)
    # Opacity multiplied in: the colour of an invisible pixel does not matter.
    # Opacity counts more than colour: the shadow is smooth, so that its steps would show.
    weighted = np.concatenate([pixels[:, :3] * pixels[:, 3:] / 255, pixels[:, 3:] * OPACITY_WEIGHT], axis=1)
    samples, index, count = np.unique(weighted.round(), axis=0, return_inverse=True, return_counts=True)
    chosen = [int(count.argmax())]
    distance = np.full(len(samples), np.inf)
    while len(chosen) < min(size, len(samples)):
        distance = np.minimum(distance, ((samples - samples[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(distance.argmax()))
    centres = samples[chosen]
    nearest = np.zeros(len(samples), dtype=np.intp)
    for _ in range(12):
        nearest = ((centres**2).sum(axis=1) - 2 * samples @ centres.T).argmin(axis=1)
        weight = np.bincount(nearest, count, len(centres))
        for channel in range(4):
            total = np.bincount(nearest, count * samples[:, channel], len(centres))
            centres[:, channel] = np.where(weight > 0, total / np.maximum(weight, 1), centres[:, channel])
    centres[:, 3] /= OPACITY_WEIGHT
    # PNG stores opacity only up to the last entry that is not opaque.
    order = np.lexsort((centres.sum(axis=1), centres[:, 3]))
    rank = np.argsort(order)
    palette = centres[order]
    palette[:, :3] *= 255 / np.maximum(palette[:, 3:], 1)
    reduced = Image.fromarray(rank[nearest[index.ravel()]].astype(np.uint8).reshape(picture.size[::-1]), "P")
    reduced.putpalette(palette.clip(0, 255).round().astype(np.uint8).tobytes(), rawmode="RGBA")
    return reduced


def png_bytes(picture: Image.Image) -> bytes:
    """Encode the picture as a small PNG."""
    buffer = io.BytesIO()
    reduce_palette(picture, PALETTE_SIZE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def thumbnail_block(png: bytes, width: int, height: int) -> str:
    """Return the comment lines that carry one PNG (size in pixels), as PrusaSlicer writes them."""
    text = base64.b64encode(png).decode("ascii")
    rows = "".join(f"; {text[start : start + 78]}\n" for start in range(0, len(text), 78))
    return f"\n;\n; thumbnail begin {width}x{height} {len(text)}\n{rows}; thumbnail end\n;\n"


def insert_thumbnails(gcode: str, blocks: Sequence[str]) -> str:
    """Return the G-code with these blocks after its "generated by" line, in place of earlier ones.

    Raises ValueError when there is no such line.
    """
    bare = re.sub(r"\n;\n; thumbnail begin [^\n]*\n(?:; [^\n]*\n)*?; thumbnail end\n;\n", "", gcode)
    start = re.search(r"^; generated by .*\n\n?", bare, flags=re.MULTILINE)
    if start is None:
        raise ValueError('no line "; generated by ...": not G-code of PrusaSlicer')
    return bare[: start.end()] + "".join(blocks) + bare[start.end() :]


def add_thumbnails(stl: Path, gcode: Path, save_png: Path | None = None) -> None:
    """Render the STL in every size of SIZES and write the pictures into the G-code file.

    With `save_png`, also writes each picture as a file into that folder.
    Raises OSError when a file cannot be read or written, and ValueError when it is of another kind.
    """
    text = gcode.read_text(encoding="utf-8")
    scene = Scene(read_stl(stl))
    blocks = []
    for width, height in SIZES:
        png = png_bytes(scene.render(width, height))
        blocks.append(thumbnail_block(png, width, height))
        if save_png is not None:
            (save_png / f"{stl.stem}-{width}x{height}.png").write_bytes(png)
    gcode.write_text(insert_thumbnails(text, blocks), encoding="utf-8", newline="\n")


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Put a rendered picture of an STL file into its G-code.")
    parser.add_argument("stl", type=Path)
    parser.add_argument("gcode", type=Path)
    parser.add_argument("--save-png", type=Path, metavar="FOLDER", help="also write the pictures there")
    arguments = parser.parse_args()
    try:
        add_thumbnails(arguments.stl, arguments.gcode, arguments.save_png)
    except (OSError, ValueError) as error:
        print(f"render_thumbnail: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
