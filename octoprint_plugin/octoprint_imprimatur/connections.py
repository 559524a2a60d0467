"""Hook `octoprint.printer.handle_connect`: no connection through which lines would pass the gate unseen.

OctoPrint 2 has connectors that show no line to any plugin. Where only licensed jobs print, nothing is
connected through them.
"""

import logging
from collections.abc import Callable
from typing import Any

from octoprint_imprimatur.compat import connectors
from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.messages import Message
from octoprint_imprimatur.policy import LICENSED_AND_FREE

_log = logging.getLogger("octoprint.plugins.imprimatur.connections")


def guard(gate: Gate) -> Callable[..., bool]:
    """The hook. True keeps OctoPrint from connecting, an exception wouldn't: so it raises none."""

    def handle_connect(_printer: Any, *_args: Any, connector: str | None = None, **_kwargs: Any) -> bool:
        try:
            if not connectors.is_foreign(connector) or gate.policy == LICENSED_AND_FREE:
                return False
            gate.tell(Message("connector_refused", {"connector": str(connector or connectors.SERIAL)}))
        except Exception:
            _log.exception("Whether lines can be checked isn't known, so the printer wasn't connected.")
        return True

    return handle_connect
