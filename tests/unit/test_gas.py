"""What transactions cost: pinned exactly, within the budgets, the same for the first and the last part."""

import pytest

from tools import gas
from tools.gas_jobs import measure


@pytest.fixture(scope="module")
def measured():
    return measure()


def test_numbers_are_the_snapshots(measured):
    assert gas.as_snapshot(measured) == gas.SNAPSHOT.read_text(), "run.py gas --write, and say why"


def test_guide_shows_these_numbers(measured):
    guide = gas.GUIDE.read_text()
    assert gas.with_tables(guide, measured) == guide, "run.py gas --write"


def test_budgets_are_kept(measured):
    assert gas.over_budget(measured) == []


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("use, part 1", "use, part 1000"),
        ("use and log, part 1", "use and log, part 1001"),
        ("relayed, part 1", "relayed, part 1002"),
        ("report failure, part 1", "report failure, part 1002"),
        ("issue, license 1", "issue, license 300"),
        ("use, license 1", "use, license 300"),
    ],
)
def test_nothing_grows(measured, first, last):
    """SAMPL's contract took 206,155 gas for the first part and 1,200,204 for the 400th."""
    assert measured[first].execution == measured[last].execution


def test_exceeded_budgets_are_named(measured):
    dear = measured | {"issue": measured["redeem"]}
    assert any(sentence.startswith("issue: ") for sentence in gas.over_budget(dear))


def test_table_shows_the_alternatives(measured):
    other = {"leanest": {"issue": measured["redeem"]}, "same terms": {}}
    line = next(line for line in gas.table(measured, other).splitlines() if line.startswith("issue  "))
    assert line.split()[:2] == ["issue", f"{measured['issue'].gas:,}"]
    assert f"{measured['redeem'].gas:,}" in line
    assert line.endswith("117,387")
