"""A sealed file as an answer, whole or one range of it (RFC 9110, 14), straight out of the storage."""

import re
from collections.abc import Iterator

import structlog
from flask import Response, request

from app.api.problem import Problem
from app.services.storage import FileMissing, FileStore, StorageFailed

RETRY_AFTER = 30
"""Seconds after which a device may look whether the storage is back."""
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
log = structlog.get_logger()


def sealed(files: FileStore, key: str, size: int, sha256: str) -> Response:
    """The file `key` of `size` bytes; `sha256` of them is its strong ETag.

    Raises:
        Problem: 416, or 503 when the storage doesn't have it.
    """
    headers = {
        "ETag": f'"{sha256}"',
        "Accept-Ranges": "bytes",
        # Nobody between us may keep it, or pack it: the device hashes what was sealed.
        "Cache-Control": "private, no-cache, no-transform",
    }
    if request.if_none_match.contains_weak(sha256):  # as a cache on the way may have made of it
        return Response(status=304, headers=headers)
    start, stop = 0, size
    part = _wanted(size, headers["ETag"]) if request.method == "GET" else None
    if part is not None:
        start, stop = part
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    body = _read(files, key, size, start, stop)
    return Response(body, 200 if part is None else 206, headers, content_type="application/octet-stream")


def _wanted(size: int, etag: str) -> tuple[int, int] | None:
    """First byte and the one behind the last; None: everything, as whatever isn't one range in bytes."""
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.groups()
    if first:
        if last and int(last) < int(first):
            return None
        start, stop = int(first), min(int(last) + 1, size) if last else size
    elif last:
        start, stop = max(0, size - int(last)), size
    else:
        return None
    if start >= size:
        detail = f"The file has {size} bytes; none of them were asked for."
        raise Problem(416, "range_not_satisfiable", detail, {"Content-Range": f"bytes */{size}"})
    return start, stop


def _read(files: FileStore, key: str, size: int, start: int, stop: int) -> Iterator[bytes]:
    """The bytes. What can go wrong does so before the answer's first line is sent, as far as possible."""
    try:
        found = files.open(key)
        if found.size != size:
            raise StorageFailed(f"The file {key} has {found.size} bytes instead of {size}.")
        chunks = found.read(start, stop)
        first = next(chunks) if request.method == "GET" else b""
    except (FileMissing, StorageFailed, OSError, StopIteration) as error:
        log.error("file_unavailable", key=key, error=str(error), kind=type(error).__name__)
        detail = "The portal's storage can't give out this file right now. Nothing is lost; try again later."
        raise Problem(503, "file_unavailable", detail, {"Retry-After": str(RETRY_AFTER)}) from error
    return _from(first, chunks)


def _from(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
