"""How this process gives memory back."""

import ctypes
import sys

_LARGE = 32 << 20
"""Bytes up to which a freed buffer stays with the process, and twice that at the end of its heap."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of glibc's <malloc.h>."""


def keep_large_buffers() -> None:
    """Don't return a buffer to the system each time that one is freed, only to ask for the next at once.

    An upload goes through the server's buffers of some 100 KiB, and glibc would have the system clear the
    pages of each anew: that took half of the time of reading a request's body. Other C libraries have no such
    switch, and macOS and Windows need none.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, 2 * _LARGE)
