"""Whether the printer writes what it is sent to its own card, instead of doing it.

The printer goes on with that while OctoPrint restarts or connects anew. So it is written down before the line
that begins it leaves, and forgotten when the line that ends it has arrived.
"""

import logging
from pathlib import Path
from typing import Any

from octoprint_imprimatur import keys, policy

MARKER = "card-written"
"""A file that is there while the printer may be writing."""
NO_WRITING = "!! SD write not supported"
"""What Klipper answers to M28, and to M29: OctoPrint stops such a printer, so that no line follows M29."""
_log = logging.getLogger("octoprint.plugins.imprimatur.card_writing")


class CardWriting:
    """Follows the lines that leave. In memory only, until `keep_in` names a folder."""

    def __init__(self) -> None:
        self._marker: Path | None = None
        self._ending: Any = None
        """The connection through which M29 has left, until it is known to have arrived."""
        self.written = False
        """It may be writing, or may still have to get the M29 that has left."""

    def keep_in(self, folder: Path) -> None:
        """Keep it there from now on; what an earlier run has kept counts."""
        self._marker = folder / MARKER
        self.written = self.written or self._marker.exists()

    def takes(self, comm: Any) -> bool:
        """Whether lines that would leave now through this connection (None: any) may be written."""
        return self.written and (comm is None or comm is not self._ending)

    def leaves(self, comm: Any, line: str) -> bool:
        """A line is about to leave, for the first time; whether a writing begins with it. Those of jobs that
        can't concern the card needn't be told.

        Raises:
            OSError: it begins a writing that can't be kept. It mustn't leave.
        """
        if self.written and self._ending is not None:
            if comm is self._ending:
                # OctoPrint sends a new line when the printer has answered the one before.
                self.ended()
            self._ending = None
        after = policy.card_written(line, self.written)
        begins = after and not self.written
        if begins:
            # First: a disk takes its time, in which a licensed job could start.
            self.written = True
            try:
                if self._marker is not None:
                    keys.write_secret(self._marker, "")
            except BaseException:
                self.written = False
                raise
        elif self.written and not after:
            self._ending = comm
        return begins

    def answers(self, line: str) -> None:
        """The printer has said something. Anybody can make it say anything (M118), also before it comes to an
        M28 that has left; so that counts only when M29 has left too."""
        if self._ending is not None and line.startswith(NO_WRITING):
            self.ended()

    def ended(self) -> None:
        """It writes no more."""
        self.written, self._ending = False, None
        try:
            if self._marker is not None:
                self._marker.unlink(missing_ok=True)
        except OSError:
            # After a restart M29 is asked for once more, which does no harm.
            _log.exception("That the printer writes to its card no more can't be kept.")
