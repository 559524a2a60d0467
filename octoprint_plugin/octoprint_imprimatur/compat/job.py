"""OctoPrint's job: putting checked bytes into it instead of a file, and taking them out again."""

import io
from collections.abc import Callable
from typing import Any

from octoprint.filemanager import FileDestinations
from octoprint.filemanager.util import StreamWrapper

from octoprint_imprimatur.licensed_file import LicensedFile

CANCEL_TAGS = frozenset({"source:plugin", "plugin:imprimatur"})
STUB_TEXT = "; Placeholder of a licensed job. The part itself is never stored here.\n"


class NotStarted(Exception):
    """OctoPrint didn't start the licensed file; `str` says why."""


def start_licensed(
    printer: Any,
    files: Any,
    stub: str,
    name: str,
    source: io.RawIOBase,
    size: int,
    job_id: str,
    user: str | None,
    permit: Callable[[LicensedFile], None],
) -> LicensedFile:
    """Put the checked bytes into OctoPrint's job and start it.

    `source` is read forward only and has `size` bytes. `name` is shown to people; `permit` is called with the
    object before anything of it can leave.

    Raises:
        NotStarted: the printer got busy or disconnected, or somebody selected another file meanwhile.
    """
    files.add_file(
        FileDestinations.LOCAL,
        stub,
        StreamWrapper(stub, io.BytesIO(STUB_TEXT.encode())),
        allow_overwrite=True,
        # A finished analysis keeps OctoPrint from analysing the placeholder.
        analysis={"_empty": True},
        display=name or None,
        user=user,
    )
    path = files.path_on_disk(FileDestinations.LOCAL, stub)
    comm = printer._comm
    if comm is None or not printer.is_ready():
        raise NotStarted("the printer isn't ready")
    # The same order of locks as in OctoPrint's own start: job, then sending.
    with comm._jobLock:
        printer.select_file(stub, False, user=user)
        if comm._currentFile is None or comm._currentFile.getFilename() != path:
            raise NotStarted("the placeholder couldn't be selected")
        licensed = LicensedFile(
            path,
            source,
            size,
            job_id,
            offsets_callback=comm.getOffsets,
            current_tool_callback=comm.getCurrentTool,
            user=user,
        )
        comm._currentFile = licensed
        comm._callback.on_comm_file_selected(path, licensed.getFilesize(), False, user=user)
        permit(licensed)
        printer.start_print(user=user, tags=set(CANCEL_TAGS))
        if comm._currentFile is not licensed or not licensed.started or comm.isError():
            raise NotStarted("the printer didn't accept the job")
    return licensed


def release(printer: Any, licensed: LicensedFile) -> None:
    """Take a licensed file that isn't printing any more out of OctoPrint's job."""
    comm = printer._comm
    if comm is not None and comm._currentFile is licensed and not comm.isBusy():
        printer.unselect_file()
    licensed.close()


def is_current(printer: Any, licensed: LicensedFile) -> bool:
    """Whether the licensed file is still being printed, paused, or brought to its end."""
    comm = printer._comm
    return comm is not None and comm._currentFile is licensed and comm.isBusy()


def remove_stub(files: Any, stub: str) -> None:
    """Delete a placeholder; never a file of the same name that somebody else made."""
    if not files.file_exists(FileDestinations.LOCAL, stub):
        return
    with open(files.path_on_disk(FileDestinations.LOCAL, stub), "rb") as file:
        if file.read(len(STUB_TEXT) + 1) != STUB_TEXT.encode():
            return
    files.remove_file(FileDestinations.LOCAL, stub)
