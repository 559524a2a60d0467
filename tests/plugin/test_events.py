"""Events of licensed jobs: one for each step, none twice, nothing secret."""

import dataclasses
from typing import Any

import pytest
from octoprint.events import Events

from imprimatur.device.job import Job, State
from octoprint_imprimatur import events


def job(state: State = State.PICKED, **values: Any) -> Job:
    unknown = dict.fromkeys(field.name for field in dataclasses.fields(Job))
    known = {"id": "j1", "license_id": 5, "number": "4711", "name": "clip.gcode", "copy": 2, "copies": 4}
    return Job(**unknown | known | {"state": state, "manifest": b"secret", "file_hash": "ab" * 32} | values)


def test_each_step_is_told_once_and_signatures_arent_steps() -> None:
    fired: list[str] = []
    announcer = events.Announcer(lambda name, _: fired.append(name))
    for state in State:
        announcer.changed(job(state))
        announcer.changed(job(state))
    silent = {State.SIGNED, State.SENT}
    assert fired == [f"plugin_imprimatur_{state.lower()}" for state in State if state not in silent]


def test_what_earlier_runs_told_isnt_told_again() -> None:
    fired: list[str] = []
    known = [job(State.FAILED), job(State.ARMED, id="j2")]
    announcer = events.Announcer(lambda name, _: fired.append(name), known)
    announcer.changed(job(State.FAILED))
    assert fired == []
    announcer.changed(job(State.KEYED, id="j2"))
    assert fired == ["plugin_imprimatur_keyed"]


def test_the_payload_is_what_people_see() -> None:
    assert events.payload(job(State.KEYED)) == {
        "job": "j1",
        "license": "0x" + "0" * 63 + "5",
        "number": "4711",
        "name": "clip.gcode",
        "copy": 2,
        "copies": 4,
    }


@pytest.mark.parametrize("name", events.NAMES)
def test_octoprint_takes_the_names(name: str) -> None:
    assert name in events.names()
    _, value = Events.register_event(name, prefix="plugin_imprimatur_")
    assert value == events.PREFIX + name
