"""OctoPrint's lines: where each comes from, which job it belongs to, and ending what isn't licensed."""

import logging
import re
import threading
from collections.abc import Callable
from typing import Any

from octoprint_imprimatur.compat.connectors import transfer_names
from octoprint_imprimatur.compat.job import CANCEL_TAGS
from octoprint_imprimatur.licensed_file import LicensedFile
from octoprint_imprimatur.policy import Job, Source

FILE_TAG = "source:file"
"""On every line that OctoPrint reads from the file it prints."""
START_TAG = "trigger:comm.start_print"
"""On what OctoPrint sends when it starts a job."""
_CARD_POSITION = re.compile(r"SD printing byte (\d+)/(\d+)")
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
    if FILE_TAG in tags:
        return Source.FILE
    if "source:job" in tags:
        return Source.ENDING if tags & _ENDING else Source.JOB
    return Source.OTHER


def job_of(comm: Any, permitted: LicensedFile | None, free: Any) -> Job:
    """What `comm` is busy with.

    Args:
        permitted: the licensed file that may print. This very object counts, never its name.
        free: the file of the own job that was started last while own files may print.
    """
    current = comm._currentFile
    if permitted is not None and current is permitted and not permitted.revoked:
        return Job.LICENSED
    if not comm.isBusy():
        return Job.NONE
    if isinstance(current, LicensedFile):
        return Job.OVER
    return Job.FREE if current is not None and current is free else Job.UNLICENSED


def current_file(comm: Any) -> Any:
    """The file that `comm` prints or would print; None without one."""
    return comm._currentFile


def card_position(line: str) -> int | None:
    """Where the printer is in a print from its own card, in bytes; 0 without one, None if not told."""
    if "SD printing" not in line and "Done printing file" not in line:
        return None
    match = _CARD_POSITION.search(line)
    return int(match[1]) if match else 0


def stop_card_print(comm: Any) -> None:
    """Abort what the printer prints from its own card: M524; M25 pauses it where M524 isn't known."""
    for command in ("M524", "M25"):
        comm.sendCommand(command, force=True, tags=set(CANCEL_TAGS))


def jumps_queue(comm: Any, gcode: str) -> bool:
    """Whether OctoPrint sends this command past its queue, and without the hook `sending`: what the settings
    call emergency commands, when the firmware has a parser for them."""
    return gcode in comm._emergency_commands and bool(
        comm._capability_supported(comm.CAPABILITY_EMERGENCY_PARSER)
    )


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
            comm._callback.on_comm_file_transfer_failed(*transfer_names(current), 0.0)

    if comm.isStreaming():
        _in_background(give_up)


def _in_background(action: Callable[[], Any]) -> None:
    def run() -> None:
        try:
            action()
        except Exception:
            _log.exception("Ending a refused job failed; its lines stay held back.")

    threading.Thread(target=run, name="imprimatur-end-job", daemon=True).start()
