"""The file that stands for a licensed job: comments only, with the picture that the owner signed."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from octoprint_imprimatur.compat import placeholder
from support.delivery_portal import PIXEL


def test_the_picture_stands_in_it_as_slicers_write_it() -> None:
    lines = placeholder.contents(PIXEL * 20).splitlines()
    assert lines[0] == placeholder.TEXT.strip()
    assert all(line.startswith(";") for line in lines)
    begin = next(number for number, line in enumerate(lines) if "thumbnail begin" in line)
    end = lines.index("; thumbnail end")
    text = "".join(line.removeprefix("; ") for line in lines[begin + 1 : end])
    assert lines[begin] == f"; thumbnail begin 1x1 {len(text)}"
    assert base64.b64decode(text) == PIXEL * 20


@pytest.mark.parametrize("picture", [None, b"", b"\xff\xd8\xff" + bytes(50), b"\x89PNG\r\n\x1a\n"])
def test_without_a_png_it_is_a_note(picture: bytes | None) -> None:
    assert placeholder.contents(picture) == placeholder.TEXT


class Files:
    """OctoPrint's file manager over one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file_exists(self, _where: str, path: str) -> bool:
        return (self._folder / path).exists()

    def path_on_disk(self, _where: str, path: str) -> str:
        return str(self._folder / path)

    def remove_file(self, _where: str, path: str) -> None:
        (self._folder / path).unlink()


@pytest.mark.parametrize(
    ("contents", "removed"),
    [
        (placeholder.contents(None), True),
        (placeholder.contents(PIXEL), True),
        (placeholder.TEXT + "G28\n", False),
        ("; somebody's own\n", False),
        ("", False),
    ],
)
def test_only_a_placeholder_is_removed(tmp_path: Path, contents: str, removed: bool) -> None:
    file = tmp_path / "licensed-1.gcode"
    file.write_text(contents)
    files: Any = Files(tmp_path)
    placeholder.remove(files, "licensed-1.gcode")
    assert file.exists() is not removed
    placeholder.remove(SimpleNamespace(file_exists=lambda *_: False), "licensed-2.gcode")
