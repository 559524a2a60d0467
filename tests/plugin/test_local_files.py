"""Files of the operator's own: found by their hash, never believed, never outside of OctoPrint's folder."""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from octoprint_imprimatur import local_files
from octoprint_imprimatur.local_files import LocalFiles
from octoprint_imprimatur.messages import Refused
from support.octoprint import wait_for


class Folder:
    """Uploads, and what is found among them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.busy = False
        self.told = threading.Semaphore(0)
        self.files = LocalFiles(
            folder, lambda name: name.endswith(".gcode"), lambda: self.busy, self.told.release
        )

    def put(self, path: str, data: bytes) -> str:
        """Upload a file, which is there at once as a whole; its hash."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".partial{file.name}")
        partial.write_bytes(data)
        partial.replace(file)
        self.files.look_soon()
        return hashlib.sha256(data).hexdigest()

    def wait_for(self, file_hash: str, *paths: str) -> None:
        wait_for(f"{paths} is found", lambda: self.files.with_hash(file_hash) == sorted(paths), 10, 0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    (tmp_path / "uploads").mkdir()
    folder = Folder(tmp_path / "uploads")
    yield folder
    folder.files.stop()


def test_wanted_files_are_found_and_told(folder: Folder) -> None:
    wanted = folder.put("parts/clip.gcode", b"G28\n")
    folder.put("other.gcode", b"G29\n")
    folder.put("clip.stl", b"G28\n")
    folder.put(".clip.gcode", b"G28\n")
    folder.files.want([wanted])
    folder.wait_for(wanted, "parts/clip.gcode")
    assert folder.told.acquire(timeout=10)
    folder.put("copy.gcode", b"G28\n")
    folder.wait_for(wanted, "copy.gcode", "parts/clip.gcode")
    (folder.folder / "parts/clip.gcode").unlink()
    folder.files.look_soon()
    folder.wait_for(wanted, "copy.gcode")
    folder.put("copy.gcode", b"another file")
    folder.wait_for(wanted)


def test_nothing_is_hashed_that_nobody_wants(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    real = local_files.sha256_file
    monkeypatch.setattr(local_files, "sha256_file", lambda path: hashed.append(path) or real(path))
    found = folder.put("clip.gcode", b"G28\n")
    folder.files.want([])
    folder.files.look_soon()
    assert hashed == []
    folder.files.want([found])
    folder.wait_for(found, "clip.gcode")
    folder.files.look_soon()
    second = folder.put("second.gcode", b"G29\n")
    folder.files.want([found, second])
    folder.wait_for(second, "second.gcode")
    assert sorted(path.name for path in hashed) == ["clip.gcode", "second.gcode"], "each one once"


def test_a_printer_that_prints_isnt_disturbed(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_files, "PAUSE", 0.01)
    folder.busy = True
    found = folder.put("clip.gcode", b"G28\n")
    folder.files.want([found])
    assert not folder.told.acquire(timeout=0.3)
    folder.busy = False
    folder.wait_for(found, "clip.gcode")


def test_only_so_many_are_remembered(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_files, "MOST_FILES", 3)
    hashes = [folder.put(f"{n}.gcode", b"G%d\n" % n) for n in range(6)]
    for n in range(6):
        os.utime(folder.folder / f"{n}.gcode", (1000 + n, 1000 + n))
    folder.files.want(hashes)
    for n in (3, 4, 5):
        folder.wait_for(hashes[n], f"{n}.gcode")
    assert [folder.files.with_hash(found) for found in hashes[:3]] == [[], [], []]


def test_a_file_that_changes_while_it_is_hashed_isnt_offered(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = local_files.sha256_file

    def slow(path: Path) -> str:
        found = real(path)
        path.write_bytes(path.read_bytes() + b"; more\n")
        return found

    monkeypatch.setattr(local_files, "sha256_file", slow)
    before = folder.put("clip.gcode", b"G28\n")
    folder.files.want([before])
    wait_for("It was looked at", lambda: b"more" in (folder.folder / "clip.gcode").read_bytes(), 10, 0.01)
    assert not folder.told.acquire(timeout=0.2)
    assert folder.files.with_hash(before) == []


@pytest.mark.parametrize(
    "path",
    ["../secret.gcode", "/etc/passwd", "link.gcode", "way/secret.gcode", "", ".", "none.gcode", "a\0b"],
)
def test_nothing_outside_of_the_folder_is_taken(folder: Folder, path: str) -> None:
    (folder.folder.parent / "secret.gcode").write_text("G28\n")
    (folder.folder / "link.gcode").symlink_to(folder.folder.parent / "secret.gcode")
    (folder.folder / "way").symlink_to(folder.folder.parent)
    with pytest.raises(Refused) as refused:
        folder.files.path_of(path)
    assert refused.value.message.key == "no_local_file"


def test_links_that_lead_out_arent_offered(folder: Folder) -> None:
    secret = folder.folder.parent / "secret.gcode"
    secret.write_bytes(b"G28\n")
    (folder.folder / "link.gcode").symlink_to(secret)
    found = folder.put("clip.gcode", b"G28\n")
    folder.files.want([found])
    folder.wait_for(found, "clip.gcode")
    assert folder.files.path_of("clip.gcode") == (folder.folder / "clip.gcode").resolve()
