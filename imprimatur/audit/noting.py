"""An index that remembers one block for good, however far it goes on."""

import sqlite3
from collections.abc import Sequence

from imprimatur.chain.events import Block, Row, SqliteEventStore


class NotingStore(SqliteEventStore):
    """Events in SQLite; and `noted`, the block with the number `number` on the chain that they are of."""

    def __init__(self, connection: sqlite3.Connection, number: int) -> None:
        super().__init__(connection)
        self.noted: Block | None = None
        self._number = number

    def apply(self, rows: Sequence[Row], blocks: Sequence[Block], after: Block | None, keep: int) -> None:
        super().apply(rows, blocks, after, keep)
        self.noted = next((block for block in blocks if block.number == self._number), self.noted)

    def rollback(self, to: Block | None, top: Block) -> None:
        super().rollback(to, top)
        if to is None or to.number < self._number:
            self.noted = None
