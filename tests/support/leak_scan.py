"""A print file that is found wherever a piece of it lies: on a disk, in an archive, in what a server answers.

Each stretch of 20 bytes within a line holds a signature, so a search looks at few places; what it finds there
counts when those 20 bytes are the file's.
"""

import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

SIGNATURE = b"7391"
WINDOW = 20
MEMORY = Path("/dev/shm")


def secret_lines(lines: int, first: int) -> list[str]:
    """Moves, each different, with a message for the display now and then."""
    return [
        f"M117 7391 {number:05d} 7391 {number:05d} 7391"
        if number % 250 == 0
        else f"G1 X{number % 190}.7391{number:04d} Y{number % 170}.7391{number:04d} E0.7391{number % 89:02d}"
        for number in range(first, first + lines)
    ]


class Secret:
    """A part, and the search for it.

    Args:
        first: number of its first line; parts with other numbers are told apart.
        begin: lines that come first and that the search doesn't know.
    """

    def __init__(
        self, lines: int = 3000, first: int = 0, begin: Sequence[str] = ("M104 S50", "G28", "M83")
    ) -> None:
        self.lines = secret_lines(lines, first)
        """Those behind `begin`."""
        comment = f"; 7391 note {first} 7391 {first}"
        self.data = "\n".join([comment, *begin, *self.lines, ""]).encode()
        self._windows = {
            line[start : start + WINDOW].encode()
            for line in [comment, *self.lines]
            for start in range(len(line) - WINDOW + 1)
        }
        assert all(SIGNATURE in window for window in self._windows)

    def in_bytes(self, data: bytes) -> bytes | None:
        """The first piece of the part in there."""
        place = data.find(SIGNATURE)
        while place >= 0:
            for start in range(max(0, place - WINDOW + len(SIGNATURE)), place + 1):
                if data[start : start + WINDOW] in self._windows:
                    return data[start : start + WINDOW]
            place = data.find(SIGNATURE, place + 1)
        return None

    def in_file(self, path: Path, but: tuple[str, ...] = ()) -> bytes | None:
        """The same for a file, unpacked if it is an archive, without members whose names end so."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        found = self.in_bytes(data)
        if found is None and data.startswith(b"PK") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if not name.endswith(but or ("\0",))]
                found = next((hit for name in names if (hit := self.in_bytes(archive.read(name)))), None)
        if found is None and data.startswith(b"\x1f\x8b"):
            try:
                found = self.in_bytes(gzip.decompress(data))
            except (EOFError, zlib.error, gzip.BadGzipFile):
                return None
        return found

    def on_disk(self, pid: int, *folders: Path, but: tuple[str, ...] = ()) -> list[tuple[Path, bytes]]:
        """Every place below the folders, or in an open file of the process group, that holds a piece.

        Args:
            but: ends of names to leave out: the tests' own recording.
        """
        found = ((path, self.in_file(path, but)) for path in files_of(pid, *folders))
        return [(path, hit) for path, hit in found if hit and not _name_of(path).endswith(but or ("\0",))]


def _name_of(path: Path) -> str:
    """An open file's own name."""
    return os.readlink(path) if path.is_symlink() else str(path)


def memory_beside(basedir: Path) -> list[Path]:
    """What lies in shared memory now, where a program may put a file as well.

    Not the folders of tests, which may lie there too (`tools/launcher/suites.py`), and not the one that holds
    `basedir`, which is looked at anyway.
    """

    def is_of_tests(path: Path) -> bool:
        return path.name.startswith("imprimatur-test-") or any(path.glob("pytest-of-*"))

    return [path for path in MEMORY.iterdir() if path not in basedir.parents and not is_of_tests(path)]


def _below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in which others come and go meanwhile."""

    def is_gone(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for place, _, names in os.walk(folder, onerror=is_gone):
        yield from (Path(place, name) for name in names)


def files_of(pid: int, *folders: Path) -> Iterator[Path]:
    """Every file among or below the folders, and every open one of the process group, deleted or not, with
    bytes."""
    for folder in folders:
        yield from (path for path in (folder, *_below(folder)) if path.is_file())
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == os.getpgid(pid):
                yield from [path for path in (process / "fd").iterdir() if path.is_file()]
        except (ProcessLookupError, FileNotFoundError):
            continue
