"""Events of licensed jobs on OctoPrint's event bus, for other plugins, scripts and browsers.

Each is called `plugin_imprimatur_` and the name of the step. Nothing secret stands in their payloads.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from imprimatur.device.job import Job, State
from imprimatur.license_id import format_id

PREFIX = "plugin_imprimatur_"
OF_STATE = {
    State.PICKED: "picked",
    State.DOWNLOADED: "downloaded",
    State.VERIFIED: "verified",
    State.CONSUMED: "consumed",
    State.KEYED: "keyed",
    State.ARMED: "armed",
    State.PRINTING: "printing",
    State.FINISHED: "finished",
    State.FAILED: "failed",
    State.ABANDONED: "abandoned",
}
"""Signed and sent uses are no events: whether they count, only the next state tells."""
NAMES = list(OF_STATE.values())
Fire = Callable[[str, dict[str, Any]], object]


def names(*_args: Any, **_kwargs: Any) -> list[str]:
    """Hook `octoprint.events.register_custom_events`; OctoPrint puts the prefix before them."""
    return list(NAMES)


def payload(job: Job) -> dict[str, Any]:
    """What an event tells: ids as text, the file's name, the copy's number out of how many."""
    return {
        "job": job.id,
        "license": format_id(job.license_id),
        "number": job.number,
        "name": job.name,
        "copy": job.copy,
        "copies": job.copies,
    }


class Announcer:
    """Fires an event each time that a job comes into another state.

    Args:
        known: jobs of the runs before; the state they are in isn't new.
    """

    def __init__(self, fire: Fire, known: Iterable[Job] = ()) -> None:
        self._fire = fire
        self._last = {job.id: job.state for job in known}
        self._lock = threading.Lock()

    def changed(self, job: Job) -> None:
        """Called whenever something about a job has changed, from any thread."""
        with self._lock:
            last = self._last.get(job.id)
            if last is job.state:
                return
            self._last[job.id] = job.state
        if name := OF_STATE.get(job.state):
            self._fire(PREFIX + name, payload(job))
