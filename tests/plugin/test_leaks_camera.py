"""No timelapse of a confidential job, and the configured one again afterwards."""

from typing import Any

import pytest

from octoprint_imprimatur.compat import camera


class Timelapse:
    """OctoPrint's module, as far as it is used."""

    def __init__(self, current: object) -> None:
        self.current = current
        self.calls: list[tuple[Any, bool]] = []

    def configure_timelapse(self, config: Any, persist: bool) -> None:
        self.calls.append((config, persist))


@pytest.fixture
def timelapse(monkeypatch: pytest.MonkeyPatch) -> Timelapse:
    module = Timelapse(object())
    monkeypatch.setattr(camera, "timelapse", module)
    return module


def test_it_is_off_for_one_job(timelapse: Timelapse) -> None:
    shutter = camera.Shutter()
    shutter.close()
    assert timelapse.calls == [({"type": "off"}, False)]
    shutter.open()
    shutter.open()
    assert timelapse.calls == [({"type": "off"}, False), (None, False)]


def test_where_there_is_none_nothing_is_touched(timelapse: Timelapse) -> None:
    timelapse.current = None
    shutter = camera.Shutter()
    shutter.close()
    shutter.open()
    assert timelapse.calls == []
