"""HTTP connections that look at a deadline before every piece they read or write.

The timeout of a socket counts from byte to byte: a server that sends single bytes holds its client for as
long as it likes, in the headers as well, which no user of an HTTP library sees arriving.
"""

import io
import threading
import time
from functools import cache
from typing import Any

PIECE = 1 << 14
"""Bytes written at once: what a TLS socket sends within one timeout."""

_THREAD = threading.local()


def set_deadline(deadline: float) -> None:
    """From now on, connections of this thread stop at `deadline` (of `time.monotonic`)."""
    _THREAD.deadline = deadline


def _left(limit: float | None) -> float:
    """Seconds that the next step may take, at most `limit`.

    Raises:
        TimeoutError
    """
    left: float = _THREAD.deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left if limit is None else min(left, limit)


class LimitedReader(io.RawIOBase):
    """What comes from a socket. The socket's timeout at the start stays the limit from byte to byte."""

    def __init__(self, sock: Any) -> None:
        super().__init__()
        self._sock = sock
        self._limit = sock.gettimeout()
        # Unbuffered, and of the socket's own kind: it keeps the socket open until everything is read.
        self._stream = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._limit))
        count: int | None = self._stream.readinto(buffer)
        return count

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


class LimitedSocket:
    """A connected socket, plain or TLS, as `http.client` uses it."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, content: Any) -> None:
        limit = self._sock.gettimeout()
        view = memoryview(content)
        for start in range(0, len(view), PIECE):
            self._sock.settimeout(_left(limit))
            self._sock.sendall(view[start : start + PIECE])

    def makefile(self, mode: str, buffering: int | None = None) -> io.BufferedReader:
        del buffering
        if mode != "rb":
            raise ValueError("Only for reading bytes.")
        return io.BufferedReader(LimitedReader(self._sock))


@cache
def _limited(pool: Any) -> Any:
    """A class of urllib3's connection pools with connections that keep the deadline."""
    ordinary = pool.ConnectionCls

    def connect(connection: Any) -> None:
        ordinary.connect(connection)
        connection.sock = LimitedSocket(connection.sock)

    limited = type(ordinary.__name__, (ordinary,), {"connect": connect})
    return type(pool.__name__, (pool,), {"ConnectionCls": limited})


def _limit(manager: Any) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _limited(pool) for scheme, pool in pools.items()}


@cache
def _adapter_class() -> Any:
    from requests.adapters import HTTPAdapter

    class DeadlineAdapter(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options)
            _limit(self.poolmanager)

        def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
            is_new = proxy not in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **options)
            if is_new:
                _limit(manager)
            return manager

    return DeadlineAdapter


def deadline_session() -> Any:
    """A `requests.Session` for one thread whose connections stop at `set_deadline`.

    Looking up a name, and each attempt to connect, have limits of their own.
    """
    import requests

    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _adapter_class()())
    return session
