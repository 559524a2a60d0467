"""An OctoPrint plugin of one file that ends the whole process at one point of a print, as a power cut does.

The name of the point stands in the file `kill_at` of the base folder: a state of the journal, right after its
commit, or the end of a request that has just been answered.
"""

import functools
import os
import signal
from pathlib import Path

import octoprint.plugin

__plugin_name__ = "Killer"
__plugin_version__ = "1.0"
__plugin_description__ = "Ends OctoPrint at one point."
__plugin_pythoncompat__ = ">=3.11,<4"


def _patch(folder: Path) -> None:
    from imprimatur.device.http import SignedHttp
    from imprimatur.device.journal import Journal

    def passed(point):
        wanted = folder / "kill_at"
        if wanted.exists() and wanted.read_text() == point:
            # Once: the next life goes on.
            wanted.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def after(owner, name, point_of):
        real = getattr(owner, name)

        @functools.wraps(real)
        def wrapped(*args, **kwargs):
            result = real(*args, **kwargs)
            passed(point_of(args, result))
            return result

        setattr(owner, name, wrapped)

    after(Journal, "pick", lambda args, job: job.state.value)
    after(Journal, "step", lambda args, job: job.state.value)
    after(SignedHttp, "send", lambda args, reply: f"{args[1]} {args[2].rpartition('/')[2]}")
    pieces = SignedHttp.pieces

    def counted(self, response):
        for piece in pieces(self, response):
            yield piece
            passed("download")

    SignedHttp.pieces = counted


class Killer(octoprint.plugin.StartupPlugin):
    """Says only that it is there."""


def __plugin_load__():
    global __plugin_implementation__
    from octoprint.settings import settings

    _patch(Path(settings().getBaseFolder("base")))
    __plugin_implementation__ = Killer()
