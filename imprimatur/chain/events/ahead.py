"""Asking for the next blocks while the last ones are decoded and written."""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Fetched = TypeVar("Fetched")
Fetch = Callable[[int, int], Fetched]
"""Asks a node for the blocks from a first to a last one."""

_Orders = SimpleQueue[tuple[Fetch[Any], int, int, "Future[Any]"] | None]


class Ahead(Generic[Fetched]):
    """At most one range that a thread is asking for, or has.

    What is ahead is as old as a slow answer would be: whoever takes it checks it as any other. The thread
    keeps one connection, ends with this object, and keeps no program from ending.
    """

    def __init__(self, fetch: Fetch[Fetched]) -> None:
        self._fetch = fetch
        self._orders: _Orders | None = None
        self._future: Future[Fetched] | None = None
        self.range: tuple[int, int] | None = None
        """First and last block of what is ahead."""

    def start(self, first: int, last: int) -> None:
        """Ask for a range."""
        if self._orders is None:
            self._orders = SimpleQueue()
            threading.Thread(
                target=_serve, args=(self._orders,), name="imprimatur-ahead", daemon=True
            ).start()
            weakref.finalize(self, self._orders.put, None)
        self.range, self._future = (first, last), Future()
        self._orders.put((self._fetch, first, last, self._future))

    def take(self) -> Fetched:
        """The answer to what was asked; raises what asking raised."""
        future, self._future, self.range = self._future, None, None
        if future is None:
            raise LookupError("Nothing is ahead.")
        return future.result()

    def drop(self) -> None:
        """Forget it: the chain has changed."""
        self._future, self.range = None, None


def _serve(orders: _Orders) -> None:
    # An order is forgotten before the next is awaited, so that the thread keeps nobody's object alive.
    while _carry_out(orders.get()):
        pass


def _carry_out(order: tuple[Fetch[Any], int, int, "Future[Any]"] | None) -> bool:
    if order is None:
        return False
    fetch, first, last, future = order
    try:
        future.set_result(fetch(first, last))
    except BaseException as error:
        future.set_exception(error)
    return True
