"""Time that passes only when somebody waits."""

import heapq
import itertools
from collections.abc import Callable

Event = Callable[[], None]


class VirtualClock:
    """Seconds since the Unix epoch. What is due happens while time passes, in order."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._due: list[tuple[float, int, Event]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        return self._now

    def at(self, moment: float, event: Event) -> None:
        """Let something happen once `moment` is reached."""
        heapq.heappush(self._due, (moment, next(self._order), event))

    def after(self, seconds: float, event: Event) -> None:
        """Let something happen in `seconds`."""
        self.at(self._now + seconds, event)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        until = self._now + seconds
        while self._due and self._due[0][0] <= until:
            moment, _, event = heapq.heappop(self._due)
            # An event that itself takes time may have passed others.
            self._now = max(self._now, moment)
            event()
        self._now = max(self._now, until)
