"""How many blocks are read at once."""

FIRST = 4
"""Blocks: small, so that reading ahead begins early."""
LARGEST = 2000
ROWS = 2000
"""Rows of one window that are enough: they are held in memory and written in one commit."""


class Window:
    """Doubles while windows are read easily; halves when they are too large."""

    def __init__(self, largest: int = LARGEST, size: int = FIRST) -> None:
        self._largest = largest
        self._refused = False
        self.size = min(size, largest)

    def fitted(self, blocks: int, rows: int) -> None:
        """A window of so many blocks was read, with so many rows."""
        if rows > ROWS:
            self.size = max(1, blocks * ROWS // rows)
        elif blocks == self.size and rows <= ROWS // 2:
            # Once a node has set a limit, stay near it: each attempt beyond costs a request.
            step = max(1, self.size // 8) if self._refused else self.size
            self.size = min(self._largest, self.size + step)

    def halve(self) -> bool:
        """A window was too large. Whether a smaller one can be tried."""
        if self.size == 1:
            return False
        self._refused = True
        self.size //= 2
        return True
