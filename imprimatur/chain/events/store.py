"""Where an index is kept."""

from collections.abc import Sequence
from typing import Protocol

from imprimatur.chain.events.row import Block, Row


class EventStore(Protocol):
    """Rows and the newest blocks that they were read from. The newest block is the cursor.

    Every method that writes does so in one commit: all of it, or nothing.
    """

    def claim(self, what: str) -> None:
        """Note what the index is of, the first time; compare afterwards.

        Raises:
            OtherIndex: it is of something else.
        """

    def top(self) -> Block | None:
        """The newest block that was read; None before the first."""

    def blocks(self) -> list[Block]:
        """The remembered blocks, newest first, without gaps."""

    def apply(self, rows: Sequence[Row], blocks: Sequence[Block], after: Block | None, keep: int) -> None:
        """Write what stands in the blocks that follow `after`.

        Args:
            blocks: ascending, without gaps at the end; the last is the new top.
            keep: how many blocks are remembered; older ones are forgotten.

        Raises:
            CursorMoved: `after` isn't the top.
        """

    def rollback(self, to: Block | None, top: Block) -> None:
        """Forget blocks and rows above `to`; all of them for None.

        Raises:
            CursorMoved: `top` isn't the top.
        """
