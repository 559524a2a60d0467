"""An OctoPrint plugin of one file that breaks the printer which Imprimatur wants to make.

It also turns two harmless lines into the start of a print from the card, one in each phase.
"""

__plugin_name__ = "Factory breaker"
__plugin_version__ = "1.0"
__plugin_description__ = "Stands for an OctoPrint whose printer is made differently."
__plugin_pythoncompat__ = ">=3.11,<4"


def _queuing(_comm, _phase, command, *_args, **_kwargs):
    return ["M117 more", "M24"] if command == "M117 expand" else None


def _sending(_comm, _phase, command, *_args, **_kwargs):
    return "M24" if command == "M117 turn" else None


def __plugin_load__():
    global __plugin_hooks__
    from octoprint_imprimatur.compat.printer import GuardedPrinter

    def broken(self, *_args):
        raise TypeError("This printer is made differently.")

    GuardedPrinter.__init__ = broken
    __plugin_hooks__ = {
        "octoprint.comm.protocol.gcode.queuing": _queuing,
        "octoprint.comm.protocol.gcode.sending": (_sending, 99998),
    }
