"""A print job whose bytes never lie on a disk.

OctoPrint reads its lines from an object; this one decrypts them as they are asked for, from the sealed file
whose plain bytes were hashed just before. The gate recognises the job by this object's identity, never by a
path.
"""

import io
from typing import Any

from octoprint_imprimatur.compat.connectors import PrintingFileInformation, PrintingGcodeFileInformation

_UTF8_MARK = b"\xef\xbb\xbf"
_AHEAD = 1 << 16
"""Bytes read ahead of the line that is being sent."""


class LicensedFile(PrintingGcodeFileInformation):
    """The file of one licensed job; may be started exactly once.

    Its first bytes are read at once, so that a file which can't be opened shows before OctoPrint starts it.

    Args:
        stub: path of the placeholder that gives the job its name in OctoPrint.
        source: the plain bytes, readable once and forward only; closed together with this object.
        size: how many there are.
        job_id: of the journal's job.

    Raises:
        Exception: the source's; nothing was started.
    """

    def __init__(
        self,
        stub,
        source: io.RawIOBase,
        size: int,
        job_id: str,
        offsets_callback=None,
        current_tool_callback=None,
        user=None,
    ) -> None:
        super().__init__(
            stub, offsets_callback=offsets_callback, current_tool_callback=current_tool_callback, user=user
        )
        self._source = io.BufferedReader(source, _AHEAD)
        self._has_mark = self._source.peek(len(_UTF8_MARK)).startswith(_UTF8_MARK)
        self._size = size
        self.job_id = job_id
        self.started = False
        self.revoked = False
        self.broken = False
        """The source failed in the middle of the print."""

    def start(self) -> None:
        """Begin with the first line. A second start would print a second part: it revokes the permit."""
        PrintingFileInformation.start(self)
        with self._handle_mutex:
            if self.started:
                self.revoked = True
                return
            self.started = True
            self._handle = io.TextIOWrapper(self._source, encoding="utf-8-sig", errors="replace", newline="")
            self._pos = len(_UTF8_MARK) if self._has_mark else 0
            self._read_lines = 0

    def getNext(self) -> Any:
        """The next line; OctoPrint ends the print when this raises OSError, and stands still on others."""
        try:
            return super().getNext()
        except Exception as error:
            self.broken = True
            raise OSError(f"The licensed file can't be read on: {error}") from error

    @property
    def lines(self) -> int:
        """How many lines were read so far, comments not counted."""
        return int(self._read_lines)

    def seek(self, _offset: int) -> None:
        """Starting in the middle isn't part of a license: it revokes the permit."""
        with self._handle_mutex:
            self.revoked = True

    def close(self) -> None:
        """Forget the bytes."""
        super().close()
        self._source.close()
