"""Asking for the next blocks while the last ones are decoded and written."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Fetched = TypeVar("Fetched")
Fetch = Callable[[int, int], Fetched]
"""Asks a node for the blocks from a first to a last one."""


class Ahead(Generic[Fetched]):
    """At most one range that a thread is asking for, or has.

    What is ahead is as old as a slow answer would be: whoever takes it checks it as any other.
    """

    def __init__(self, fetch: Fetch[Fetched]) -> None:
        self._fetch = fetch
        self._future: Future[Fetched] | None = None
        self.range: tuple[int, int] | None = None
        """First and last block of what is ahead."""

    def start(self, first: int, last: int) -> None:
        """Ask for a range, in a thread that ends with the answer."""
        self.range, self._future = (first, last), Future()
        # A daemon: a node that doesn't answer keeps no program from ending.
        threading.Thread(target=self._run, args=(first, last, self._future), daemon=True).start()

    def take(self) -> Fetched:
        """The answer to what was asked; raises what asking raised."""
        future, self._future, self.range = self._future, None, None
        if future is None:
            raise LookupError("Nothing is ahead.")
        return future.result()

    def drop(self) -> None:
        """Forget it: the chain has changed."""
        self._future, self.range = None, None

    def _run(self, first: int, last: int, future: "Future[Fetched]") -> None:
        try:
            future.set_result(self._fetch(first, last))
        except BaseException as error:
            future.set_exception(error)
