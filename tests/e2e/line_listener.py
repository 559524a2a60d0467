"""An OctoPrint plugin of one file that sees every line that is sent, as many plugins do."""

__plugin_name__ = "Line listener"
__plugin_version__ = "1.0"
__plugin_description__ = "Hears what is sent to the printer and keeps it to itself."
__plugin_pythoncompat__ = ">=3.11,<4"


def _heard(_comm, _phase, _line, _type, _gcode, *_args, **_kwargs):
    """Nothing is done with it."""


__plugin_hooks__ = {"octoprint.comm.protocol.gcode.sent": _heard}
