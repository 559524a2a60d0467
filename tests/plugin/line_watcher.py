"""An OctoPrint plugin of one file that looks at each line that leaves, as a remote service might.

Only while it is told to: switched off at start-up, it couldn't be switched on without a restart.
"""

import octoprint.plugin

__plugin_name__ = "Line watcher"
__plugin_version__ = "1.0"
__plugin_description__ = "Sees every line that is sent."
__plugin_pythoncompat__ = ">=3.11,<4"

HOOK = "octoprint.comm.protocol.gcode.sent"


def _look(_comm, _phase, _command, *_args, **_kwargs):
    return None


class Watcher(octoprint.plugin.SimpleApiPlugin):
    def get_api_commands(self):
        return {"watch": [], "rest": []}

    def is_api_protected(self):
        return True

    def on_api_command(self, command, data):
        hooks = self._plugin_manager._plugin_hooks[HOOK]
        ours = (None, self._identifier, _look)
        if command == "watch":
            hooks.append(ours)
        else:
            hooks.remove(ours)


def __plugin_load__():
    global __plugin_implementation__
    __plugin_implementation__ = Watcher()
