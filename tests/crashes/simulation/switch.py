"""Where the process can die, or its disk fill up: counted while it runs, so that no step can be forgotten."""

import errno
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Crash(BaseException):
    """The power went. Nothing catches it, and nothing leaves the process or reaches its disk any more."""


class Fault(Enum):
    """What happens at a boundary."""

    CRASH = "crash"
    FULL = "full"
    """The disk is full, for this commit or piece of a file and the next ones."""


@dataclass(frozen=True, slots=True)
class Blow:
    """`fault` happens at the boundary number `at` since the last crash, the first one being 0."""

    at: int
    fault: Fault = Fault.CRASH

    def __str__(self) -> str:
        return f"{self.fault.value} at {self.at}"


@dataclass(frozen=True, slots=True)
class Passed:
    """A boundary that was passed: its name, and how often anything had changed until then."""

    name: str
    changes: int


FULL_FOR = 3
"""Commits and pieces that fail once the disk is full."""
PIECE = "within the file"


def writes(passed: Passed) -> bool:
    """Whether a boundary is one at which a full disk shows."""
    return passed.name == PIECE or passed.name.startswith("before commit")


class Switch:
    """Passed at each commit and each sending, before it and after it; strikes as planned."""

    def __init__(self, plan: Sequence[Blow] = ()) -> None:
        self._left = list(plan)
        self._full = 0
        self._watching = True
        self.is_dead = False
        self.changes = 0
        """How often anything has changed that outlives the process."""
        self.lives: list[list[Passed]] = [[]]
        """The boundaries passed, life by life."""

    def live_again(self) -> None:
        """The process is started once more."""
        self.is_dead = False
        self._full = 0
        self.lives.append([])

    def changed(self) -> None:
        """Something has changed that outlives the process: a disk, the chain, people elsewhere, the time."""
        self.changes += 1

    def rest(self) -> None:
        """No more boundaries are counted, and nothing strikes any more."""
        self._watching = False
        self._full = 0

    def __call__(self, name: str) -> None:
        """A boundary.

        Raises:
            Crash: here, or because it has struck already and a handler goes on as if it hadn't.
            sqlite3.OperationalError, OSError: the disk is full.
        """
        if self.is_dead:
            raise Crash(name)
        if not self._watching:
            return
        passed = self.lives[-1]
        passed.append(Passed(name, self.changes))
        if self._left and self._left[0].at == len(passed) - 1:
            blow = self._left.pop(0)
            if blow.fault is Fault.CRASH:
                self.is_dead = True
                raise Crash(name)
            self._full = FULL_FOR
        if self._full and writes(passed[-1]):
            self._full -= 1
            if name == PIECE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise sqlite3.OperationalError("database or disk is full")
