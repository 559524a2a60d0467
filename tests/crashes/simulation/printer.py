"""A printer that takes one line at a time, with the gate's watch before each."""

import sqlite3
from collections import Counter
from typing import BinaryIO

from crashes.simulation.switch import Switch

from imprimatur.device.job import Job
from imprimatur.device.journal import WrongState
from octoprint_imprimatur.policy import ExtrusionWatch
from octoprint_imprimatur.runner import CannotStart, Runner


class Printer:
    """The machine of a runner. What it has made outlives the computer in front of it.

    Args:
        switch: passed before and after each line.
    """

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self.begun: Counter[tuple[int, int | None]] = Counter()
        """How often a part of a license's copy was begun."""
        self.done: Counter[tuple[int, int | None]] = Counter()
        """How often its last line was sent."""
        self.unasked: list[str] = []
        """Jobs that were started without an operator's wish in this life."""
        self.wanted: set[str] = set()
        """Ids of the jobs that the operator wants printed, in this life."""
        self.ends: list[int] = []
        """The line at which somebody cancels the next print, the one after it, …; 0 when it doesn't start."""
        self._reset()

    def _reset(self) -> None:
        self._line = 0
        self._job: Job | None = None
        self._source: BinaryIO | None = None
        self._watch: ExtrusionWatch | None = None

    def turned_off(self) -> None:
        """The computer died: no more lines come, and nobody remembers a wish."""
        if self._source is not None:
            self._source.close()
        self._reset()
        self.wanted.clear()

    @property
    def is_printing(self) -> bool:
        return self._job is not None

    def ready(self) -> bool:
        return self._job is None

    def start(self, job: Job, source: BinaryIO, size: int) -> None:
        del size
        self._switch("before the start")
        if job.id not in self.wanted:
            self.unasked.append(job.id)
        if self.ends[:1] == [0]:
            del self.ends[0]
            raise CannotStart("no bed")
        self._job, self._source, self._watch = job, source, ExtrusionWatch()

    def print_line(self, runner: Runner) -> None:
        """Let the next line go, as the gate does; at the end tell the runner."""
        job, source = self._job, self._source
        assert job is not None
        assert source is not None
        self._line += 1
        if self.ends[:1] == [self._line]:
            del self.ends[0]
            source.close()
            self._reset()
            runner.print_ended(job.id, cancelled=True)
            return
        line = source.readline().decode().strip()
        if not line:
            source.close()
            self._reset()
            self.done[job.license_id, job.copy] += 1
            runner.print_done(job.id)
            return
        feeds = self._watch is not None and self._watch.feeds(line)
        if feeds:
            try:
                runner.part_begins(job.id)
            except (WrongState, sqlite3.Error):
                # The line doesn't leave, and OctoPrint gives the print up.
                source.close()
                self._reset()
                runner.print_ended(job.id, cancelled=False)
                return
            self._watch = None
        self._switch(f"before the line {line}")
        self._switch.changed()
        if feeds:
            self.begun[job.license_id, job.copy] += 1
        self._switch(f"after the line {line}")
