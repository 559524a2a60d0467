"""An OctoPrint plugin of one file that notes when certain lines reach the virtual printer.

These are `M117` with a mark in it, and what heats. One line each in file `marks` of the base folder: time
(Unix seconds), processor time of OctoPrint so far (seconds), command. All other lines pass with one search
for two bytes.
"""

import re
import time
from pathlib import Path

__plugin_name__ = "Line timer"
__plugin_version__ = "1.0"
__plugin_description__ = "Notes when certain lines reach the virtual printer."
__plugin_pythoncompat__ = ">=3.11,<4"

_NOTED = re.compile(rb"M117 mark \w+|M1(?:04|09|40|90) S[1-9]\d*")


def __plugin_load__():
    from octoprint.plugins.virtual_printer.virtual import VirtualPrinter
    from octoprint.settings import settings

    marks = Path(settings().getBaseFolder("base")) / "marks"
    write = VirtualPrinter.write

    def noting_write(self, data):
        if b"M1" in data and (found := _NOTED.search(data)):
            with marks.open("ab") as file:
                file.write(b"%f %f %s\n" % (time.time(), time.process_time(), found[0]))
        return write(self, data)

    VirtualPrinter.write = noting_write
