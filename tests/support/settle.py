"""Letting an outbox come to rest on a node that mines in its own time."""

import time

from imprimatur.chain.outbox import Outbox

QUIET = 3
"""Passes in a row without news: a node mines what it got a moment later."""
PAUSE = 0.03
"""Seconds."""
MOST = 200
"""Passes."""


def settle(outbox: Outbox) -> None:
    """Step until nothing moves any more."""
    quiet = 0
    for _ in range(MOST):
        if outbox.step():
            quiet = 0
            continue
        quiet += 1
        if quiet == QUIET:
            return
        time.sleep(PAUSE)
    raise AssertionError("the outbox never comes to rest")
