"""Hook `octoprint.printer.factory`: OctoPrint's printer with the gate's guards in it."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from octoprint_imprimatur.compat.printer import GuardedPrinter, Starts, guarded_printer

ORDER = -99999
"""Before every other plugin's: OctoPrint takes the first printer it is given."""
_log = logging.getLogger("octoprint.plugins.imprimatur.printer")


def factory(starts: Starts) -> Callable[[Mapping[str, Any]], GuardedPrinter | None]:
    """The hook. It never raises: then OctoPrint takes its own printer, and the gate's self-check tells so."""

    def make(components: Mapping[str, Any], *_args: Any, **_kwargs: Any) -> GuardedPrinter | None:
        try:
            return guarded_printer(components, starts)
        except Exception:
            _log.exception("The guarded printer couldn't be made. No licensed job can be printed.")
            return None

    return make
