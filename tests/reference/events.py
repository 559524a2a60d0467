"""What the reference shares: its log, its refusals, and the values that mean none."""

from typing import Any

NOBODY = "0x" + "00" * 20
ZERO_HASH = bytes(32)

Event = tuple[str, dict[str, Any]]


class Refused(Exception):
    """The contract must revert with the error of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class EventLog:
    """Events since the last `take`, in order."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def add(self, name: str, **values: Any) -> None:
        self._events.append((name, values))

    def take(self) -> list[Event]:
        """The events so far, which are forgotten here."""
        taken, self._events = self._events, []
        return taken
