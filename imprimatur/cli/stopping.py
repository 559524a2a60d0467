"""Being stopped by Ctrl-C, by SIGTERM, or by the end of the terminal.

All of them raise KeyboardInterrupt, so that half-written files are removed. What runs at that moment may turn
that into an error of its own, as pyrage does, or lose it. So the signal is remembered too: a command that was
stopped says so whatever error ended it, and publishes no file.
"""

import signal
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
_received: list[int] = []


def catch() -> None:
    """From now on, these signals stop the command. Those that the process was told to ignore stay ignored."""
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def let_go() -> None:
    """From now on, these signals end the process at once: the answer is being written."""
    for number in _NUMBERS:
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_DFL)


def received() -> int | None:
    """Number of the signal that stopped the command."""
    return _received[0] if _received else None


def check() -> None:
    """Before something lasting is done.

    Raises:
        KeyboardInterrupt: the command was stopped, even if nobody noticed.
    """
    if _received:
        raise KeyboardInterrupt


def _stop(number: int, _frame: Any) -> None:
    _received.append(number)
    raise KeyboardInterrupt
