"""Reading from what a caller gave as a source of bytes."""

from typing import BinaryIO


def read_from(source: BinaryIO, size: int) -> bytes:
    """At most `size` bytes; none only at the end.

    Raises:
        BlockingIOError: the source doesn't wait, and has no bytes at the moment. Taken for the end, that
            would cut a file off.
    """
    data: bytes | None = source.read(size)
    if data is None:
        raise BlockingIOError(
            "The source has no bytes at the moment. Open it so that reading waits for them, then start again."
        )
    return data
