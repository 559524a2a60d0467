"""Whether each layer of the gate is in place: before anything is paid, and before each print."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from octoprint_imprimatur.compat import printer as guards

_log = logging.getLogger("octoprint.plugins.imprimatur.self_check")


def troubles(
    printer: Any,
    starts: guards.Starts,
    answers: Callable[[], Any] | None,
    hooks: Mapping[str, Callable[..., Any]],
) -> dict[str, str | None]:
    """Who stands in the way of each layer; None when nobody does. Fails closed.

    Args:
        printer: OctoPrint's.
        starts: who is to be asked before starts.
        answers: handler of the API's requests; None before start-up.
        hooks: that are to have the last word on lines, by phase.
    """
    looks: dict[str, Callable[[], str | None]] = {
        "http": lambda: guards.requests_trouble(answers) if answers else "start-up",
        "printer": lambda: guards.printer_trouble(printer, starts),
        "lines": lambda: guards.lines_trouble(printer, hooks),
    }
    found: dict[str, str | None] = {}
    for layer, look in looks.items():
        try:
            found[layer] = look()
        except Exception as error:
            _log.exception("The self-check of the gate failed.")
            found[layer] = type(error).__name__
    return found
