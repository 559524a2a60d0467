"""One after the other, and nobody waits long."""

import threading

import pytest

from octoprint_imprimatur import turn
from octoprint_imprimatur.messages import Refused
from octoprint_imprimatur.turn import Turn


def test_who_comes_second_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "PATIENCE", 0.05)
    shared, reasons = Turn(), []

    def second() -> None:
        try:
            with shared.taken():
                reasons.append("taken")
        except Refused as error:
            reasons.append(error.message.key)

    def fails() -> None:
        with shared.taken():
            thread = threading.Thread(target=second)
            thread.start()
            thread.join(10)
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fails()
    second()
    assert reasons == ["busy", "taken"]
