"""What can be wrong with a node's answers, and with an index."""

from imprimatur.chain.events.row import Block
from imprimatur.errors import ImprimaturError


class NodeInconsistent(ImprimaturError):
    """Parts of an answer don't fit each other: happens while a chain reorganises, so ask again."""

    def __init__(self, block: int, what: str) -> None:
        super().__init__(
            f"The chain node's answer about block {block} doesn't fit together: {what}. "
            "Ask again; if it stays like this, use another node."
        )
        self.block = block
        self.what = what


class NodeLies(ImprimaturError):
    """The node's answer contradicts the headers: something was hidden, forged or damaged."""

    def __init__(self, block: int, what: str) -> None:
        super().__init__(
            f"The chain node's answer about block {block} is false: {what}. "
            "Nothing of it was kept. Use another node."
        )
        self.block = block
        self.what = what


class ReorgTooDeep(ImprimaturError):
    """The chain changed below the oldest block that the index remembers."""

    def __init__(self, block: int) -> None:
        super().__init__(
            f"The chain was reorganised at or below block {block}, deeper than the index remembers. "
            "Delete the index and read anew."
        )
        self.block = block


class OtherIndex(ImprimaturError):
    """The store holds an index of something else."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(
            f"This index was made for {found}, not for {wanted}. Choose another place or delete it."
        )
        self.found = found
        self.wanted = wanted


class CursorMoved(ImprimaturError):
    """Somebody else wrote to the index in between."""

    def __init__(self, expected: Block | None, found: Block | None) -> None:
        def place(block: Block | None) -> str:
            return "the start" if block is None else f"block {block.number}"

        super().__init__(
            f"The index stands at {place(found)}, not at {place(expected)}: another process writes to it. "
            "Let only one do so."
        )
        self.expected = expected
        self.found = found
