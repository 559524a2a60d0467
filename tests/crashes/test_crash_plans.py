"""A printer that is killed anywhere, twice, whatever else happens: it pays once, prints what it paid for,
loses nothing and goes on.

Every boundary (a commit, a request, a line) is found by running, so a new step is struck too. All single
blows are tried here and a sample of the pairs; `IMPRIMATUR_PLANS=all`, as `python -m tools.chaos --printers`
sets it, tries all.
"""

import os

import pytest
from crashes.simulation.mutants import MUTANTS, Mutant
from crashes.simulation.plans import Run, Tally, distinct, found_out, runs, singles, try_all
from crashes.simulation.scenarios import SCENARIOS, Scenario
from crashes.simulation.switch import Blow, Fault

PAIRS = None if os.environ.get("IMPRIMATUR_PLANS") == "all" else 100
"""Of each scenario."""
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_plan(run: Run, scenario: Scenario, tallies: dict[str, Tally]) -> None:
    tally = tallies[scenario.name] = Tally()
    try_all(run, scenario, tally, PAIRS)
    assert not tally.found, "\n".join(tally.found[:3])


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_what_a_scenario_is_about_happens(run: Run, scenario: Scenario) -> None:
    outcome = run(scenario, ())
    boundaries = {passed.name for life in outcome.lives for passed in life}
    assert outcome.problems == []
    assert set(scenario.shows) <= outcome.seen | boundaries


def test_each_commit_and_each_sending_is_a_boundary(run: Run) -> None:
    """The list is recorded; this only shows that the recording sees every kind."""
    (names,) = [[passed.name for passed in life] for life in run(BY_NAME["plain"], ()).lives]
    for kind in (
        "before commit: insert job",
        "before commit: update job, insert signature",
        "before commit: update job, update signature, insert outcome",
        "before GET the file",
        "within the file",
        "before POST /api/v1/device/uses",
        "before POST /api/v1/keys",
        "before POST /api/v1/device/outcomes",
        "before the line G1 X1 E1",
    ):
        assert kind in names
        assert kind.replace("before", "after") in names or "GET" in kind
    (names,) = [
        [passed.name for passed in life] for life in run(BY_NAME["lost, paid by the printer"], ()).lives
    ]
    for kind in ("eth_sendRawTransaction", "commit: insert intent", "commit: update intent, insert attempt"):
        assert any(name.startswith(f"before {kind}") for name in names), names
        assert any(name.startswith(f"after {kind}") for name in names), names


def test_a_plan_repeats_exactly(run: Run) -> None:
    plan = (Blow(20), Blow(7))
    first, second = (run(BY_NAME["taken away"], plan) for _ in range(2))
    assert first == second
    assert [len(life) for life in first.lives[:2]] == [21, 8]


def test_blows_between_which_nothing_changes_come_to_the_same(run: Run) -> None:
    """One of them stands for the others."""
    quiet = run(BY_NAME["plain"], ())
    representatives = distinct(singles(quiet), quiet)
    others = [blow for blow in singles(quiet) if blow not in representatives]
    assert len(others) > 10
    for blow in others:
        passed = quiet.lives[0]
        (same,) = [
            one
            for one in representatives
            if one.fault is Fault.CRASH and passed[one.at].changes == passed[blow.at].changes
        ]
        ends = [
            (outcome.states, outcome.lives[1:])
            for outcome in (run(BY_NAME["plain"], (one,)) for one in (blow, same))
        ]
        assert ends[0] == ends[1]


def test_a_full_disk_strikes_at_the_commit(run: Run) -> None:
    quiet = run(BY_NAME["plain"], ())
    (at, *_) = [at for at, passed in enumerate(quiet.lives[0]) if passed.name.startswith("before commit")]
    outcome = run(BY_NAME["plain"], (Blow(at, Fault.FULL),))
    assert outcome.problems == []
    assert "The file can't be kept on this machine (database or disk is full)" in "".join(outcome.trace)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_printer_without_this_rule_is_found_out(mutant: Mutant) -> None:
    with runs() as run, mutant.leave_out():
        problems = found_out(run, BY_NAME[mutant.scenario], mutant.needs_pairs)
    # Not by something else that the mutant breaks.
    assert mutant.shows in "\n".join(problems)
