"""One after the other: what operators want of jobs, and changes of what jobs depend on. Nobody waits long."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from octoprint_imprimatur.messages import Refused

PATIENCE = 2.0
"""Seconds. OctoPrint answers few requests at once; those that wait keep others from cancelling a print."""


class Turn:
    """Has one holder at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Raises Refused: busy."""
        if not self._lock.acquire(timeout=PATIENCE):
            raise Refused("busy")
        try:
            yield
        finally:
            self._lock.release()
