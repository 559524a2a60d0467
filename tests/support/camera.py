"""Codes in pictures and before a camera, and a browser that reads them: Chromium on Linux can't by itself.

Chromium shows a file as its camera with `ARGUMENTS` and `--use-file-for-fake-video-capture=FILE`. What its
pages see of that is read back here, in place of its `BarcodeDetector`.
"""

import base64
import io
from pathlib import Path

import segno
from PIL import Image
from playwright.sync_api import BrowserContext

from support import qr

ARGUMENTS = ["--use-fake-device-for-media-stream"]
SIZE = (640, 480)
READER = """window.BarcodeDetector = class {
    static async getSupportedFormats() { return ['qr_code'] }
    async detect(picture) {
        const canvas = document.createElement('canvas')
        canvas.width = picture.videoWidth || picture.width
        canvas.height = picture.videoHeight || picture.height
        if (!canvas.width) return []
        canvas.getContext('2d').drawImage(picture, 0, 0)
        const text = await window.readCode(canvas.toDataURL('image/png'))
        return text ? [{rawValue: text}] : []
    }
}"""


def can_read(context: BrowserContext) -> None:
    """From now on pages find codes in pictures."""
    context.expose_function("readCode", _read)
    context.add_init_script(READER)


def picture(text: str, pixels: int = 6) -> Image.Image:
    """A code with so many pixels for each of its modules."""
    png = io.BytesIO()
    segno.make(text, mode="byte", micro=False).save(png, kind="png", scale=pixels)
    return Image.open(png).convert("L")


def photo(text: str) -> bytes:
    """A picture of a code, as a PNG."""
    png = io.BytesIO()
    picture(text).save(png, "PNG")
    return png.getvalue()


def film(path: Path, text: str | None) -> None:
    """What the camera sees when it is switched on next: a code on a grey table, or the empty table."""
    frame = Image.new("L", SIZE, 140)
    if text is not None:
        code = picture(text)
        frame.paste(code, tuple((of - its) // 2 for of, its in zip(SIZE, code.size, strict=True)))
    # Limited range: 16 is black, 235 is white. Half as many places of colour in each direction.
    luma = frame.point(lambda value: 16 + value * 219 // 255).tobytes()
    grey = bytes([128]) * (SIZE[0] * SIZE[1] // 2)
    header = f"YUV4MPEG2 W{SIZE[0]} H{SIZE[1]} F10:1 Ip A1:1 C420mpeg2\n".encode()
    path.write_bytes(header + (b"FRAME\n" + luma + grey) * 2)


def _read(url: str) -> str:
    """The text of the code in a picture (a data URL), upright and without noise; empty without one."""
    seen = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L")
    dark = seen.point(lambda value: 255 * (value < 70))
    box = dark.getbbox()
    if box is None:
        return ""
    code = dark.crop(box)
    # The first pattern begins with seven dark modules.
    row = [code.getpixel((x, 0)) for x in range(code.width)]
    module = row.index(0) / 7
    size = round(code.width / module)
    places = [int((i + 0.5) * module) for i in range(size)]
    return qr.text_in([[bool(code.getpixel((x, y))) for x in places] for y in places])
