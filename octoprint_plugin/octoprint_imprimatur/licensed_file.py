"""A print job whose bytes never had a name on disk.

OctoPrint reads its lines from an object; this one reads from an open, unnamed file: the very bytes whose
SHA-256 was checked. The gate recognises the job by this object's identity, never by a path.
"""

import io
from typing import BinaryIO

from octoprint.util.comm import PrintingFileInformation, PrintingGcodeFileInformation

_UTF8_MARK = b"\xef\xbb\xbf"


class LicensedFile(PrintingGcodeFileInformation):
    """The file of one licensed job; may be started exactly once.

    Args:
        stub: path of the placeholder that gives the job its name in OctoPrint.
        source: the checked bytes, seekable; closed together with this object.
        job_id: of the journal's job.
    """

    def __init__(
        self,
        stub,
        source: BinaryIO,
        job_id: str,
        offsets_callback=None,
        current_tool_callback=None,
        user=None,
    ) -> None:
        super().__init__(
            stub, offsets_callback=offsets_callback, current_tool_callback=current_tool_callback, user=user
        )
        self._source = source
        self._size = source.seek(0, io.SEEK_END)
        self.job_id = job_id
        self.started = False
        self.revoked = False

    def start(self) -> None:
        """Begin with the first line. A second start would print a second part: it revokes the permit."""
        PrintingFileInformation.start(self)
        with self._handle_mutex:
            if self.started:
                self.revoked = True
                return
            self.started = True
            self._source.seek(0)
            mark = self._source.read(len(_UTF8_MARK)) == _UTF8_MARK
            self._source.seek(0)
            self._handle = io.TextIOWrapper(self._source, encoding="utf-8-sig", errors="replace", newline="")
            self._pos = len(_UTF8_MARK) if mark else 0
            self._read_lines = 0

    def seek(self, _offset: int) -> None:
        """Starting in the middle isn't part of a license: it revokes the permit."""
        with self._handle_mutex:
            self.revoked = True

    def close(self) -> None:
        """Forget the bytes."""
        super().close()
        self._source.close()
