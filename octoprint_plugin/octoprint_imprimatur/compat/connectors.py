"""OctoPrint's connection to the printer, which version 2 rebuilt.

Version 1 knows serial printers only. In version 2 plugins bring connectors of their own, and the serial one
is a plugin too. Only that one shows each line to other plugins before it leaves: what prints through another
connector can't be judged. Which version is running is decided once, when this module is imported.
"""

import sys
from typing import Any

try:
    from octoprint.plugins.serial_connector import serial_comm as comm_module
    from octoprint.printer.connection import ConnectedPrinter
except ImportError:
    from octoprint.util import comm as comm_module

    ConnectedPrinter = None

PrintingFileInformation = comm_module.PrintingFileInformation
PrintingGcodeFileInformation = comm_module.PrintingGcodeFileInformation
SERIAL = "serial"
_SERIAL_CONNECTOR = "octoprint.plugins.serial_connector.connector"
"""Importing it registers the connector: that is up to its own plugin, which may be switched off."""


def comm_of(printer: Any) -> Any | None:
    """The communication layer that sends lines; None without a connection that has one."""
    if ConnectedPrinter is None:
        return printer._comm
    connection = printer._connection
    return connection._comm if _is_serial(type(connection)) else None


def is_foreign(connector: str | None) -> bool:
    """Whether lines would leave through this connector without being shown to the gate.

    The class counts, not the name: another plugin can register its own as `serial`.
    """
    return ConnectedPrinter is not None and not _is_serial(ConnectedPrinter.find(connector or SERIAL))


def is_foreign_connection(printer: Any) -> bool:
    """Whether the printer is connected in such a way now."""
    connection = None if ConnectedPrinter is None else printer._connection
    return connection is not None and not _is_serial(type(connection))


def _is_serial(connector: type | None) -> bool:
    module = sys.modules.get(_SERIAL_CONNECTOR)
    return module is not None and connector is module.ConnectedSerialPrinter


def select(printer: Any, files: Any, path: str, user: str | None) -> None:
    """Make a local file OctoPrint's job, without starting it."""
    if ConnectedPrinter is None:
        printer.select_file(path, False, user=user)
    else:
        printer.set_job(files.create_job("local", path, owner=user), user=user)


def unselect(printer: Any) -> None:
    """Leave OctoPrint without a job."""
    if ConnectedPrinter is None:
        printer.unselect_file()
    else:
        printer.set_job(None)


def show_size(printer: Any, path: str, size: int, user: str | None) -> None:
    """Show `size` bytes for the selected file, whatever lies on the disk at `path`."""
    if ConnectedPrinter is None:
        printer._comm._callback.on_comm_file_selected(path, size, False, user=user)
        return
    connection = printer._connection
    # The serial connector's own `set_job` would select the file anew.
    ConnectedPrinter.set_job(connection, connection.current_job.model_copy(update={"size": size}), user=user)


def transfer_names(file: Any) -> tuple[str, str]:
    """Local and remote name of a file that is being copied to the printer's card."""
    if ConnectedPrinter is None:
        return file.getLocalFilename(), file.getRemoteFilename()
    return file.local_name, file.remote_name
