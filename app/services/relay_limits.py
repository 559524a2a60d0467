"""The relay's limits: the operator's settings, or those that fit most portals."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """How much the relay takes in and sends at once.

    Attributes:
        waiting: messages that may wait for a batch, of all devices.
        per_device: messages of one device that may be on their way.
        batch: most entries of one transaction.
        gather: seconds after a batch in which messages wait for more, unless they fill the next one.
    """

    waiting: int = 2000
    per_device: int = 8
    batch: int = 128
    gather: float = 0.4


DEFAULTS = RelayLimits()
