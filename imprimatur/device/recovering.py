"""Putting in order what the last run of a device left behind: a host's first act after every start.

Neither network nor settings nor the device's key are needed, so nothing of them can keep it from happening.
"""

import time
from collections.abc import Callable
from pathlib import Path

from imprimatur.device.files import Files
from imprimatur.device.job import UNPAID, State
from imprimatur.device.journal import Journal
from imprimatur.device.messages import Ending
from imprimatur.device.reasons import why
from imprimatur.device.reports import outcome_of
from imprimatur.device.sealed_cache import KEEP_PARTIAL


def recover(journal: Journal, folder: Path, clock: Callable[[], float] = time.time) -> None:
    """Abandon what isn't signed, keep what is paid, and call a begun part failed. Starts nothing.

    Can be repeated, also after it was interrupted; but not while jobs are being prepared or printed.

    Args:
        folder: of the sealed files.
        clock: Unix seconds.

    Raises:
        OSError, sqlite3.Error: the disk doesn't help.
    """
    for job in journal.in_states(*UNPAID):
        journal.step(job.id, job.state, State.ABANDONED, why("stopped_before_paying"))
    for job in journal.in_states(State.ARMED):
        journal.step(job.id, State.ARMED, job.resting, why("stopped_before_printing", copy=job.copy))
    for job in journal.in_states(State.PRINTING):
        reason = why("interrupted", copy=job.copy)
        told = outcome_of(job, Ending.FAILED, clock(), reason=reason)
        journal.step(job.id, State.PRINTING, State.FAILED, reason, told)
    # Not what `imprimatur print --dry-run` has just fetched.
    Files(journal, None, folder).sweep(KEEP_PARTIAL)
