"""Fetching the next blocks while the present ones are decoded and written."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from imprimatur.chain.events.page import Fetched

Fetch = Callable[[int, int], Fetched]


class ReadAhead:
    """Fetches ranges, one of them ahead of its time in a thread of its own.

    The thread lives for one range. Errors come out where the range is asked for.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._first: int | None = None
        self._future: Future[Fetched] = Future()

    def start(self, first: int, last: int) -> None:
        """Begin to fetch a range that will probably be asked for next."""
        future: Future[Fetched] = Future()

        def work() -> None:
            try:
                future.set_result(self._fetch(first, last))
            except BaseException as error:
                future.set_exception(error)

        self._first, self._future = first, future
        threading.Thread(target=work, name="imprimatur-read-ahead", daemon=True).start()

    def fetch(self, first: int, last: int) -> Fetched:
        """The blocks from `first`: those that were started, whatever their last is, or fetched now."""
        if self._first is None:
            return self._fetch(first, last)
        # Waited for even if others are wanted: one request at a time is enough for a node.
        ahead, self._first = self._first, None
        error = self._future.exception()
        if ahead != first:
            return self._fetch(first, last)
        if error is not None:
            raise error
        return self._future.result()
