"""Which files among OctoPrint's have a license: hashed in the background, remembered while they don't change.

What is found here is only offered: the job hashes its file again, and once more while it prints.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from imprimatur.hashing import sha256_file
from octoprint_imprimatur.messages import Refused

MOST_FILES = 5000
"""Remembered; the longest ago looked at are forgotten first."""
PAUSE = 2.0
"""Seconds between two looks whether the printer prints: then it has the machine for itself."""
Mark = tuple[str, int, int]
"""Path within the folder, size, time of the last change (ns)."""
_log = logging.getLogger("octoprint.plugins.imprimatur.local_files")


class LocalFiles:
    """The print files below `folder`.

    Args:
        is_print_file: whether a file of this name can be printed.
        is_busy: whether nothing should be hashed now.
        found: told when a wanted file turned up, or is gone.
    """

    def __init__(
        self,
        folder: Path,
        is_print_file: Callable[[str], bool],
        is_busy: Callable[[], bool],
        found: Callable[[], None],
    ) -> None:
        self._folder = folder.resolve()
        self._is_print_file = is_print_file
        self._is_busy = is_busy
        self._found = found
        self._hashes: dict[Mark, str] = {}
        self._paths: dict[str, list[str]] = {}
        self._wanted: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def want(self, hashes: Iterable[str]) -> None:
        """From now on, files with one of these SHA-256 are looked for. Returns at once."""
        wanted = frozenset(hashes)
        with self._lock:
            self._wanted = wanted
        if wanted:
            self.look_soon()

    def look_soon(self) -> None:
        """Files may have come or gone. Returns at once."""
        with self._lock:
            if not self._wanted or self._stopping:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="imprimatur-files", daemon=True)
                self._thread.start()
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def with_hash(self, file_hash: str) -> list[str]:
        """Paths within the folder of the files with this SHA-256, as far as they are hashed."""
        with self._lock:
            return self._paths.get(file_hash, [])

    def path_of(self, path: str) -> Path:
        """Where a file that an operator chose lies on the disk.

        Raises:
            Refused: no_local_file, when it isn't one of the folder's.
        """
        try:
            found = (self._folder / path).resolve()
            inside = found.is_relative_to(self._folder) and found.is_file()
        except (OSError, ValueError):
            inside = False
        if not inside:
            raise Refused("no_local_file")
        return found

    # In the background -------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            try:
                self._look()
            except Exception:
                _log.exception("OctoPrint's files couldn't be compared with the licenses.")

    def _look(self) -> None:
        self._wait_while_busy()
        marks = list(self._marks())
        if self._forget_all_but(marks):
            self._found()
        for mark in marks:
            if mark not in self._hashes:
                self._wait_while_busy()
                if self._stopping:
                    return
                if self._hash(mark) in self._wanted:
                    self._found()

    def _forget_all_but(self, marks: Sequence[Mark]) -> bool:
        """Whether a wanted file is gone."""
        kept = {mark: self._hashes[mark] for mark in marks if mark in self._hashes}
        gone = [found for mark, found in self._hashes.items() if mark not in kept]
        paths: dict[str, list[str]] = {}
        for mark in sorted(kept):
            paths.setdefault(kept[mark], []).append(mark[0])
        with self._lock:
            self._hashes, self._paths = kept, paths
            return not self._wanted.isdisjoint(gone)

    def _hash(self, mark: Mark) -> str | None:
        path = self._folder / mark[0]
        try:
            found = sha256_file(path)
            if self._mark(path) != mark:
                return None
        except OSError as error:
            _log.info("%s can't be compared with the licenses: %s", mark[0], error)
            return None
        with self._lock:
            self._hashes[mark] = found
            # Somebody may be reading the list of before.
            self._paths[found] = sorted([*self._paths.get(found, []), mark[0]])
        return found

    def _wait_while_busy(self) -> None:
        while self._is_busy() and not self._stopping:
            time.sleep(PAUSE)

    def _marks(self) -> Iterable[Mark]:
        """The newest MOST_FILES print files; nothing behind links that lead out of the folder."""
        found = []
        for path in self._folder.rglob("*"):
            if path.name.startswith(".") or not self._is_print_file(path.name):
                continue
            try:
                if path.is_file() and path.resolve().is_relative_to(self._folder):
                    found.append(self._mark(path))
            except OSError as error:
                _log.info("%s can't be looked at: %s", path.name, error)
        return sorted(found, key=lambda mark: mark[2], reverse=True)[:MOST_FILES]

    def _mark(self, path: Path) -> Mark:
        status = path.stat()
        return str(path.relative_to(self._folder)), status.st_size, status.st_mtime_ns
