"""Telling people what is going on: one line a step, and what went wrong with the log's tail."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TAIL_LINES = 25

_print_lock = threading.Lock()


class StepFailed(Exception):
    """A step that can't go on; `str(error)` is what to tell the user."""


def say(text: str) -> None:
    """One line on standard output, whole even when several steps run at once."""
    with _print_lock:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented."""
    if not path.exists():
        return "    (no log)"
    text = path.read_text(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in text[-lines:]) or "    (the log is empty)"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, then its duration or that it failed."""
    say(f"… {title}")
    started = time.monotonic()
    try:
        yield
    except (StepFailed, OSError):
        say(f"✗ {title} failed")
        raise
    say(f"✓ {title} ({time.monotonic() - started:.1f} s)")
