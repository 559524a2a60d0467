"""OctoPrint's timelapse: off while a confidential job prints, as it was afterwards."""

import logging
from typing import Any

from octoprint import timelapse

_log = logging.getLogger("octoprint.plugins.imprimatur.compat.camera")


class Shutter:
    """Closed for one job at a time.

    A timelapse that somebody switches on by hand meanwhile, and the live picture of a webcam, are beyond it.
    """

    def __init__(self) -> None:
        self._closed = False

    def close(self) -> None:
        """Before a print starts: no timelapse of it. Kept in memory only, so a restart opens it too."""
        if timelapse.current is None:
            return
        _configure({"type": "off"})
        self._closed = True

    def open(self) -> None:
        """Timelapses by OctoPrint's settings again."""
        if not self._closed:
            return
        self._closed = False
        try:
            _configure(None)
        except Exception:
            _log.exception("Timelapses stay off until OctoPrint is restarted or they are configured anew.")


def _configure(config: dict[str, Any] | None) -> None:
    timelapse.configure_timelapse(config=config, persist=False)
    _log.info("Timelapse %s.", "off for a confidential job" if config else "as configured")
