"""An OctoPrint plugin of one file with a connector of its own, and the ways to start that version 2 brought.

Like the connectors for printers that aren't serial it shows no line to any plugin. What it is told to print,
it writes to the file `quiet.log` in the base folder.
"""

import io
from pathlib import Path

import octoprint.plugin
from octoprint.filemanager.util import StreamWrapper
from octoprint.printer.connection import ConnectedPrinter, ConnectedPrinterRegistration, ConnectedPrinterState
from octoprint.settings import settings

__plugin_name__ = "Quiet connector"
__plugin_version__ = "1.0"
__plugin_description__ = "A printer that isn't serial, and a plugin that starts prints."
__plugin_pythoncompat__ = ">=3.11,<4"


class Quiet(ConnectedPrinter):
    connector = "quiet"
    name = "Quiet"
    record = Path()

    def __init__(self, *args, port=None, baudrate=None, **kwargs):
        super().__init__(*args, **kwargs)

    def connect(self, *args, **kwargs):
        self._note("connected")
        self.set_state(ConnectedPrinterState.OPERATIONAL)

    def disconnect(self, *args, **kwargs):
        self.set_state(ConnectedPrinterState.CLOSED)

    def supports_job(self, job):
        return True

    def start_print(self, *args, **kwargs):
        self._note(f"printed {self.current_job.path}")

    def get_error(self):
        return ""

    def _note(self, text):
        with self.record.open("a") as file:
            file.write(f"{text}\n")


class Starter(octoprint.plugin.SimpleApiPlugin):
    def initialize(self):
        Quiet.record = Path(settings().getBaseFolder("base")) / "quiet.log"
        self._serial = None

    def get_api_commands(self):
        return {
            "set_job": [],
            "connection": [],
            "card": [],
            "connect": ["connector"],
            "mask": [],
            "unmask": [],
        }

    def is_api_protected(self):
        return True

    def on_api_command(self, command, data):
        path = data.get("path")
        if command == "set_job":
            self._printer.set_job(self._file_manager.create_job("local", path), print_after_select=True)
        elif command == "connection":
            self._printer.set_job(self._file_manager.create_job("local", path))
            self._printer.current_connection.start_print()
        elif command == "card":
            data = Path(self._file_manager.path_on_disk("local", path)).read_bytes()
            self._file_manager.add_file("printer", "stolen.gcode", StreamWrapper(path, io.BytesIO(data)))
        elif command == "connect":
            self._printer.connect(connector=data["connector"], parameters=data.get("parameters"))
        elif command == "mask":
            # Another class under the name of the serial connector.
            self._serial = ConnectedPrinterRegistration.connectors["serial"]
            ConnectedPrinterRegistration.connectors["serial"] = Quiet
        elif command == "unmask" and self._serial is not None:
            ConnectedPrinterRegistration.connectors["serial"] = self._serial


def __plugin_load__():
    global __plugin_implementation__
    __plugin_implementation__ = Starter()
