"""The file that stands for a licensed job among OctoPrint's: a note, and the picture that the owner signed.

OctoPrint needs a file for the job's name, its events and its history. Nothing of the part stands in it.
"""

import base64
import io
import struct
from typing import Any

from octoprint.filemanager import FileDestinations
from octoprint.filemanager.analysis import EMPTY_RESULT
from octoprint.filemanager.util import StreamWrapper

TEXT = "; Placeholder of a licensed job. The part itself is never stored here.\n"
_PNG = b"\x89PNG\r\n\x1a\n"
_COLUMNS = 78


def contents(picture: bytes | None) -> str:
    """Comments only. A PNG goes in as slicers do it, so that file lists which show pictures show this one."""
    if picture is None or not picture.startswith(_PNG) or len(picture) < 24:
        return TEXT
    width, height = struct.unpack(">II", picture[16:24])
    data = base64.b64encode(picture).decode()
    lines = [data[start : start + _COLUMNS] for start in range(0, len(data), _COLUMNS)]
    return "\n; ".join(
        [TEXT + ";", f"thumbnail begin {width}x{height} {len(data)}", *lines, "thumbnail end\n"]
    )


def add(
    files: Any, path: str, name: str, user: str | None, seconds: int | None, picture: bytes | None
) -> None:
    """Put it there.

    Args:
        name: shown to people instead of `path`.
        seconds: how long the print is said to take, for OctoPrint's estimates.
        picture: PNG, or None.
    """
    # A whole analysis keeps OctoPrint from starting a process that analyses the placeholder.
    analysis = {**EMPTY_RESULT, "filament": {}, "estimatedPrintTime": float(seconds) if seconds else None}
    files.add_file(
        FileDestinations.LOCAL,
        path,
        StreamWrapper(path, io.BytesIO(contents(picture).encode())),
        allow_overwrite=True,
        analysis=analysis,
        display=name or None,
        user=user,
    )
    # OctoPrint itself does this some time later, or never: by then the job has been selected.
    files.set_additional_metadata(FileDestinations.LOCAL, path, "analysis", analysis, overwrite=True)


def remove(files: Any, path: str) -> None:
    """Delete it; never a file of the same name that somebody else made."""
    if not files.file_exists(FileDestinations.LOCAL, path):
        return
    mark = TEXT.encode()
    with open(files.path_on_disk(FileDestinations.LOCAL, path), "rb") as file:
        # Somebody else's can be of any size.
        is_ours = file.read(len(mark)) == mark and all(line.startswith(b";") for line in file)
    if is_ours:
        files.remove_file(FileDestinations.LOCAL, path)
