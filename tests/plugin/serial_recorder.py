"""An OctoPrint plugin of one file that records what really reaches the virtual printer.

It wraps the `write` of the virtual printer's serial object itself, behind every plugin's hooks, and appends
each raw line to the file that the environment names in IMPRIMATUR_SERIAL_RECORD. With IMPRIMATUR_HURRY set
the machine behind that object moves and heats in no time, which changes nothing of what it is sent.
"""

import os
import re
import threading

__plugin_name__ = "Serial recorder"
__plugin_version__ = "1.0"
__plugin_description__ = "Records every line that is written to the virtual printer."
__plugin_pythoncompat__ = ">=3.11,<4"


def _record(path):
    from octoprint.plugins.virtual_printer.virtual import VirtualPrinter

    write = VirtualPrinter.write
    record = open(path, "ab", buffering=0)  # noqa: SIM115 - open as long as the process
    lock = threading.Lock()

    def recording_write(self, data):
        # The printer's buffer takes as many bytes as fit and says how many; the rest comes again.
        with lock:
            written = write(self, data)
            record.write(data[:written])
            return written

    VirtualPrinter.write = recording_write


def _hurry():
    from octoprint.plugins.virtual_printer.virtual import VirtualPrinter

    def simulate_temperatures(self, delta=0.5):
        self.temp = [float(target) or self._ambient_temperature for target in self.targetTemp]
        self.bedTemp = float(self.bedTargetTemp) or self._ambient_temperature

    move = VirtualPrinter._performMove

    def move_at_once(self, line):
        move(self, re.sub(r"F[\d.]+", "", line) + " F999999999")

    VirtualPrinter._performMove = move_at_once
    VirtualPrinter._simulateTemps = simulate_temperatures


def __plugin_load__():
    if os.environ.get("IMPRIMATUR_HURRY"):
        _hurry()
    path = os.environ.get("IMPRIMATUR_SERIAL_RECORD")
    if path:
        _record(path)
