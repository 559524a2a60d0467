"""The outbox against a real node: real processes, SIGKILL, a proxy without manners.

Here for some seconds; `python -m tools.chaos` does it for long.
"""

import pytest
from library.adversary.chaos import Plan, run


@pytest.mark.parametrize("seed", [0, 4])
def test_everything_exactly_once(tmp_path, seed):
    outcome = run(Plan(seed, storm=3.0, deaths=8), tmp_path)
    assert not outcome.problems, "\n".join([*outcome.trace, *outcome.problems])
    assert outcome.executed == outcome.plan.jobs
    # Otherwise nothing was shown.
    assert outcome.kills.total() >= 3
    assert outcome.faults.total() >= 3
    assert outcome.happenings["reorg"] >= 1


def test_it_can_fail(tmp_path):
    """Callers that don't know whether they were heard ask again: without a key, it is done twice."""
    outcome = run(Plan(0, jobs=10, storm=2.0, deaths=4, kind="WithoutKey"), tmp_path)
    assert outcome.executed > outcome.plan.jobs
    assert outcome.problems
