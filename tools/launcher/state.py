"""The folder that one demo keeps its data in: ours, and used by one demo at a time."""

import fcntl
import os
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.launcher.steps import StepFailed

MARK = ".lock"
WAIT = 20.0
"""Seconds that the servers of a demo that was killed may need to end."""


class StateFolder:
    """Holds the folder for the `with` block.

    The lock belongs to an open file that every server inherits: it is held until the last of them has ended,
    even if the launcher is killed.
    """

    def __init__(self, path: Path, wait: float = WAIT) -> None:
        self.path = path
        self.descriptor = -1
        self._wait = wait

    def __enter__(self) -> Self:
        """Raises StepFailed: another demo runs there, or the folder holds something else."""
        mark = self.path / MARK
        if self.path.exists() and not self.path.is_dir():
            raise StepFailed(f"{self.path} is a file; the demo needs a folder.")
        if self.path.exists() and not mark.exists() and any(self.path.iterdir()):
            raise StepFailed(f"{self.path} holds something that isn't a demo's. Name an empty or new folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(mark, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + self._wait
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(self.descriptor)
                    raise StepFailed(f"A demo is running in {self.path}. Stop it first (Ctrl-C).") from None
                time.sleep(0.2)

    def empty(self) -> None:
        """Delete everything but the lock."""
        for entry in self.path.iterdir():
            if entry.name == MARK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)
