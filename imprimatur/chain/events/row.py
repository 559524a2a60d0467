"""What an index holds: blocks, and one row for each event."""

import json
from typing import Any, NamedTuple


class Block(NamedTuple):
    """A block's number and hash (0x, lower case)."""

    number: int
    hash: str


class Row(NamedTuple):
    """One event.

    Its values are JSON. Unsigned integers of up to 48 bits (copies, times of 32 bits, flags) are numbers;
    wider ones, ids and hashes among them, are 0x and 64 hexadecimal digits. Bytes are 0x and hexadecimal,
    addresses have a checksum, arrays are lists. So the form depends on the contract's types, never on the
    value.
    """

    contract: str
    """Address of the contract, with checksum."""
    name: str
    text: str
    """The values by name, as JSON."""
    license: str | None
    """The license that the event is about (`format_id`), if it has an `id`."""
    block_number: int
    block_hash: str
    timestamp: int
    """Of the block, Unix seconds."""
    transaction_hash: str
    log_index: int
    """Position among all events of the block."""

    @property
    def values(self) -> dict[str, Any]:
        """The values by name."""
        values: dict[str, Any] = json.loads(self.text)
        return values
