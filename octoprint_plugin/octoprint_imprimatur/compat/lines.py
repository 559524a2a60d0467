"""OctoPrint's lines: where each comes from, which job it belongs to, and ending what isn't licensed."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from octoprint_imprimatur.compat.job import CANCEL_TAGS
from octoprint_imprimatur.licensed_file import LicensedFile
from octoprint_imprimatur.policy import Job, Source

_log = logging.getLogger("octoprint.plugins.imprimatur.compat.lines")

_ENDING = frozenset(
    {
        "trigger:cancel",
        "trigger:pause",
        "script:afterPrintCancelled",
        "script:afterPrintPaused",
        "script:afterPrintDone",
    }
)


def source_of(tags: set[str] | None) -> Source:
    """Where a line comes from, by the tags that OctoPrint's communication layer gives it."""
    tags = tags or set()
    if "source:file" in tags:
        return Source.FILE
    if "source:job" in tags:
        return Source.ENDING if tags & _ENDING else Source.JOB
    return Source.OTHER


def job_of(comm: Any, permitted: LicensedFile | None) -> Job:
    """What `comm` is busy with; LICENSED only for the very object that was permitted."""
    current = comm._currentFile
    if permitted is not None and current is permitted and not permitted.revoked:
        return Job.LICENSED
    return Job.UNLICENSED if comm.isBusy() else Job.NONE


def end_job(comm: Any, within_file: bool) -> None:
    """Cancel an unlicensed job.

    Args:
        within_file: called for a line of the file. That thread owns the job lock, and unless the job ends
            right here OctoPrint runs through the whole file and reports it as printed. For all other lines
            taking that lock here could wait for a thread that waits for us.
    """
    if within_file:
        comm.cancelPrint(disable_log_position=True, tags=set(CANCEL_TAGS))
    else:
        _in_background(lambda: comm.cancelPrint(disable_log_position=True, tags=set(CANCEL_TAGS)))


def end_transfer(comm: Any) -> None:
    """Give up copying a file to the printer's card, whose M28 was held back.

    OctoPrint's own way would end with M29: the printer knows of no file that it should close.
    """

    def give_up() -> None:
        with comm._jobLock:
            current = comm._currentFile
            if not comm.isStreaming() or comm.isPrinting():
                return
            comm._currentFile = None
            current.close()
            comm._callback.on_comm_file_transfer_failed(
                current.getLocalFilename(), current.getRemoteFilename(), 0.0
            )

    if comm.isStreaming():
        _in_background(give_up)


def _in_background(action: Callable[[], Any]) -> None:
    def run() -> None:
        try:
            action()
        except Exception:
            _log.exception("Ending a refused job failed; its lines stay held back.")

    threading.Thread(target=run, name="imprimatur-end-job", daemon=True).start()
