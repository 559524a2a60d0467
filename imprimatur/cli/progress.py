"""Progress on a terminal, silence in a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from imprimatur.cli.result import one_line


@contextmanager
def progress(label: str, length: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while it is open.

    Yields a function that is told how much of `length` is done so far. Without a known length, or when stderr
    is no terminal, nothing is shown.
    """
    if not length or not sys.stderr.isatty():
        yield lambda _done: None
        return
    with click.progressbar(length=length, label=one_line(label), file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)
