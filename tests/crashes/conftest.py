"""What the tests of crash plans share: where plans run, and the count of them at the end."""

from collections.abc import Iterator
from typing import Any

import pytest
from crashes.simulation.plans import Run, Tally, runs

TALLIES = pytest.StashKey[dict[str, Tally]]()


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    """Runs a plan of a scenario."""
    with runs() as run:
        yield run


@pytest.fixture(scope="session")
def tallies(pytestconfig: pytest.Config) -> dict[str, Tally]:
    """By scenario; told at the end of the tests."""
    return pytestconfig.stash.setdefault(TALLIES, {})


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    tallies = config.stash.get(TALLIES, {})
    if not tallies:
        return
    terminalreporter.section("crash plans")
    for name, tally in tallies.items():
        terminalreporter.line(f"{name:26} {tally}")
    terminalreporter.line(f"{sum(tally.plans for tally in tallies.values())} plans were run")
