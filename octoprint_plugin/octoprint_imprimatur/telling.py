"""Whoever watches jobs is told of each step, and can't get in its way."""

import logging
from collections.abc import Callable

from imprimatur.device.job import Job

Changed = Callable[[Job, float | None], None]
"""Called with a job and the progress of its step (0 to 1, or None) whenever it moves."""
_log = logging.getLogger("octoprint.plugins.imprimatur.telling")


def safely(changed: Changed) -> Changed:
    """`changed`, whose faults are only logged: what the journal says has happened, whoever sees it."""

    def tell(job: Job, progress: float | None) -> None:
        try:
            changed(job, progress)
        except Exception:
            _log.exception("A step of job %s couldn't be shown.", job.id)

    return tell
