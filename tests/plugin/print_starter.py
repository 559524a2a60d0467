"""An OctoPrint plugin of one file that starts prints in every way that a plugin can."""

import octoprint.plugin

__plugin_name__ = "Print starter"
__plugin_version__ = "1.0"
__plugin_description__ = "Starts prints from inside OctoPrint."
__plugin_pythoncompat__ = ">=3.11,<4"


class Starter(octoprint.plugin.SimpleApiPlugin):
    def get_api_commands(self):
        return {
            "select_and_start": ["path"],
            "select_to_print": ["path"],
            "comm": ["path"],
            "card": ["path"],
            "restart": [],
        }

    def is_api_protected(self):
        return True

    def on_api_command(self, command, data):
        path = data.get("path")
        if command == "restart":
            self._printer.start_print()
        elif command == "select_and_start":
            self._printer.select_file(path, False)
            self._printer.start_print()
        elif command == "select_to_print":
            self._printer.select_file(path, False, printAfterSelect=True)
        elif command == "comm":
            self._printer.select_file(path, False)
            self._printer._comm.startPrint()
        elif command == "card":
            self._printer.add_sd_file(path, self._file_manager.path_on_disk("local", path))


def __plugin_load__():
    global __plugin_implementation__
    __plugin_implementation__ = Starter()
