"""OctoPrint's job: putting checked bytes into it instead of a file, and taking them out again."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from octoprint.filemanager import FileDestinations

from octoprint_imprimatur.compat import connectors, placeholder
from octoprint_imprimatur.compat.terminal import CannotHide, curtain_of
from octoprint_imprimatur.licensed_file import LicensedFile

CANCEL_TAGS = frozenset({"source:plugin", "plugin:imprimatur"})


class NotStarted(Exception):
    """OctoPrint didn't start the licensed file; `str` says why."""


@dataclass(frozen=True, slots=True)
class Described:
    """What OctoPrint and people are told about a licensed job."""

    id: str
    """The journal's."""
    placeholder: str
    """Path among OctoPrint's files."""
    name: str
    user: str | None
    size: int
    """Bytes of the file."""
    confidential: bool
    """Its lines are kept out of the terminal and logs."""
    seconds: int | None = None
    """How long the print is said to take."""
    picture: bytes | None = None
    """A PNG."""


def start_licensed(
    printer: Any,
    files: Any,
    described: Described,
    source: io.RawIOBase,
    permit: Callable[[LicensedFile], None],
) -> LicensedFile:
    """Put the checked bytes into OctoPrint's job and start it.

    `source` is read forward only and has `described.size` bytes. `permit` is called with the object before
    anything of it can leave.

    Raises:
        NotStarted: the printer got busy or disconnected, or somebody selected another file meanwhile.
    """
    stub, user = described.placeholder, described.user
    placeholder.add(files, stub, described.name, user, described.seconds, described.picture)
    path = files.path_on_disk(FileDestinations.LOCAL, stub)
    comm = connectors.comm_of(printer)
    if comm is None or not printer.is_ready():
        raise NotStarted("the printer isn't ready")
    # The same order of locks as in OctoPrint's own start: job, then sending.
    with comm._jobLock:
        connectors.select(printer, files, stub, user)
        if comm._currentFile is None or comm._currentFile.getFilename() != path:
            raise NotStarted("the placeholder couldn't be selected")
        try:
            licensed = LicensedFile(
                path,
                source,
                described.size,
                described.id,
                offsets_callback=comm.getOffsets,
                current_tool_callback=comm.getCurrentTool,
                user=user,
            )
            if described.confidential:
                curtain_of(comm).hide(licensed)
        except Exception as error:
            # The placeholder won't stay: nobody should start it.
            connectors.unselect(printer)
            if isinstance(error, CannotHide):
                raise NotStarted(str(error)) from error
            raise
        comm._currentFile = licensed
        connectors.show_size(printer, path, licensed.getFilesize(), user)
        permit(licensed)
        printer.start_print(user=user, tags=set(CANCEL_TAGS))
        if comm._currentFile is not licensed or not licensed.started or comm.isError():
            raise NotStarted("the printer didn't accept the job")
    return licensed


def release(printer: Any, licensed: LicensedFile) -> None:
    """Take a licensed file that isn't printing any more out of OctoPrint's job."""
    comm = connectors.comm_of(printer)
    if comm is not None and comm._currentFile is licensed and not comm.isBusy():
        connectors.unselect(printer)
    licensed.close()


def is_current(printer: Any, licensed: LicensedFile) -> bool:
    """Whether the licensed file is still being printed, paused, or brought to its end."""
    comm = connectors.comm_of(printer)
    return comm is not None and comm._currentFile is licensed and comm.isBusy()
