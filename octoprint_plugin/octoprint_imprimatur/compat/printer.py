"""OctoPrint's printer, with a guard before everything that starts a print; and what else stands in the way.

Each start of OctoPrint's own, of plugins and on the printer's wish ends in `startPrint` of the communication
layer, each copy to the card in `startFileTransfer`. The guards are attributes of the one connection, so they
are gone with it; nothing of OctoPrint's classes is changed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import octoprint.util
from octoprint.plugin import plugin_manager
from octoprint.printer.standard import Printer

from octoprint_imprimatur.compat.connectors import (
    ConnectedPrinter,
    comm_module,
    comm_of,
    is_foreign_connection,
)

_HOOK = "octoprint.comm.protocol.gcode."
_PACKAGE = Path(__file__).parents[1]
_SENDING = (
    "sendCommand",
    "_sendCommand",
    "_process_command_phase",
    "_command_phase_queuing",
    "_capability_supported",
    "_emergency_force_send",
    "_enqueue_for_sending",
    "_continue_sending",
    "_send_from_job",
    "_get_next_from_job",
    "_send_loop",
    "_do_send",
    "_do_increment_and_send_with_checksum",
    "_do_send_with_checksum",
    "_do_send_without_checksum",
    "isStreaming",
    "isPrinting",
    "isBusy",
)
"""What a line passes on its way to the printer, and what decides whether hooks see it."""


class Starts(Protocol):
    """Who is asked before something starts. Both answer in any case, and tell the operator why not."""

    def refuses_start(self, comm: Any) -> bool:
        """Whether the file that `comm` has may not be printed now."""

    def refuses_transfer(self) -> bool:
        """Whether nothing may be copied to the printer's card."""


class GuardedPrinter(Printer):
    """OctoPrint's own printer; refused starts change nothing in it, and heat nothing."""

    def __init__(self, starts: Starts, *args: Any) -> None:
        self.starts = starts
        self.guarded: tuple[Any, dict[str, Callable[..., Any]]] = (None, {})
        """The connection, and what has to be in place of its own functions."""
        super().__init__(*args)

    def connect(self, *args, **kwargs):
        result = super().connect(*args, **kwargs)
        comm = comm_of(self)
        if comm is not None and self.guarded[0] is not comm:
            self.guarded = (comm, _guard(comm, self.starts))
        return result

    def start_print(self, *args, **kwargs):
        comm = comm_of(self)
        if comm is None:
            asked = is_foreign_connection(self)
        else:
            asked = comm.isOperational() and not comm.isPrinting() and comm._currentFile is not None
        if asked and self.starts.refuses_start(comm):
            return None
        return super().start_print(*args, **kwargs)

    def add_sd_file(self, filename, path, on_success=None, on_failure=None, *args, **kwargs):
        if self.starts.refuses_transfer():
            if callable(on_failure):
                on_failure(filename, filename, "sdcard")
            return None
        return super().add_sd_file(filename, path, on_success, on_failure, *args, **kwargs)


def guarded_printer(components: Mapping[str, Any], starts: Starts) -> GuardedPrinter:
    """What hook `octoprint.printer.factory` answers."""
    return GuardedPrinter(
        starts,
        components["file_manager"],
        components["analysis_queue"],
        components["printer_profile_manager"],
    )


def _guard(comm: Any, starts: Starts) -> dict[str, Callable[..., Any]]:
    start, transfer = comm.startPrint, comm.startFileTransfer

    def start_print(*args: Any, **kwargs: Any) -> Any:
        # Asked in any state: it may change before the start itself looks at it.
        return None if starts.refuses_start(comm) else start(*args, **kwargs)

    def start_transfer(*args: Any, **kwargs: Any) -> Any:
        if not starts.refuses_transfer():
            return transfer(*args, **kwargs)
        if ConnectedPrinter is not None:
            # Version 2 has made a copy of the file, which it deletes only when this fails.
            raise OSError("Copying to the printer's card needs a license.")
        return None

    guards = {"startPrint": start_print, "startFileTransfer": start_transfer}
    for name, guard in guards.items():
        setattr(comm, name, guard)
    return guards


# What else stands in the way ----------------------------------------------------------------------------


def printer_trouble(printer: Any, starts: Starts) -> str | None:
    """Who has replaced the guarded printer, or a guard of its connection; None when nobody has."""
    # The injected printer is a proxy: its type() tells nothing.
    if printer.__class__ is not GuardedPrinter or printer.starts is not starts:
        return f"{printer.__class__.__module__}.{printer.__class__.__qualname__}"
    comm = comm_of(printer)
    if comm is None:
        return None
    guarded, guards = printer.guarded
    if guarded is not comm:
        return "startPrint"
    for name, guard in guards.items():
        found = getattr(comm, name)
        if found is not guard:
            return f"{_module_of(found)}: {name}"
    return None


def lines_trouble(printer: Any, hooks: Mapping[str, Callable[..., Any]]) -> str | None:
    """Who else has the last word on lines, or has changed how they are sent; None when nobody has.

    Args:
        hooks: ours, by phase.
    """
    for phase, ours in hooks.items():
        registered = plugin_manager().plugin_hooks.get(_HOOK + phase, [])
        if not registered or registered[-1][1] != ours:
            return registered[-1][0] if registered else phase
    comm = comm_of(printer)
    if comm is None:
        return None
    for phase, ours in hooks.items():
        live = list(comm._gcode_hooks[phase].items())
        if not live or getattr(live[-1][1], "__wrapped__", None) != ours:
            return live[-1][0] if live else phase
        # OctoPrint wraps each hook to take its time.
        if not _is_code_of(live[-1][1], octoprint.util):
            return f"{_module_of(live[-1][1])}: {phase}"
    for name in _SENDING:
        function = getattr(comm, name)
        if not _is_code_of(function, comm_module) and not _is_ours(function):
            return f"{_module_of(function)}: {name}"
    return None


def requests_trouble(handler: Callable[[], Any]) -> str | None:
    """What is missing when requests to OctoPrint's API aren't shown to `handler`; None when they are."""
    from octoprint.server import app

    return None if handler in app.before_request_funcs.get("api", ()) else "before_request"


def _code_file(function: Any) -> str:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return str(code.co_filename) if code is not None else ""


def _is_code_of(function: Any, module: ModuleType) -> bool:
    return _code_file(function) == module.__file__


def _is_ours(function: Any) -> bool:
    return _PACKAGE in Path(_code_file(function)).parents


def _module_of(function: Any) -> str:
    # `__module__` is what functools.wraps has copied.
    names = getattr(getattr(function, "__func__", function), "__globals__", {})
    return str(names.get("__name__", type(function).__module__))
