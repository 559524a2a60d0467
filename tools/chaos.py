"""Attack the outbox for long: a simulated world per seed, then a real node, real processes and SIGKILL.

    python -m tools.chaos                         20 seeds of 40 jobs against anvil, 200 in the simulation
    python -m tools.chaos --seeds 1 --first 7     seed 7 alone, with what happened in it
    python -m tools.chaos --seeds 0 --simulated 5000
    python -m tools.chaos --seeds 0 --printers    every crash plan of a printer; OctoPrint killed everywhere

Every job must be carried out exactly once, and every mutant be found out. Ends with 1 when not. A seed of the
simulation repeats exactly; one against the real node repeats its orders, not its timing. The plans of
`--printers` run in OctoPrint's environment, which `python3 run.py install` makes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The adversaries live beside the tests.
sys.path.insert(0, str(ROOT / "tests"))

MUTANT_SEEDS = 20
LONGEST_TRACE = 60
"""Lines of a failed seed's story that are shown."""


@dataclass
class Row:
    """One line of the final table."""

    name: str
    seeds: int = 0
    jobs: int = 0
    executions: int = 0
    unwanted: int = 0
    deaths: int = 0
    faults: int = 0
    seconds: float = 0.0
    bad: list[int] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)


def say(line: str) -> None:
    """Progress, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _show(problems: list[str], trace: list[str]) -> None:
    for line in [*trace[-LONGEST_TRACE:], *problems]:
        say(f"    {line}")


def simulate(first: int, seeds: int, jobs: int, folder: Path) -> Row:
    """Seeds of the simulation, each in a world of its own."""
    from library.adversary.story import Story
    from library.adversary.world import run

    row = Row("simulation")
    started = time.monotonic()
    for seed in range(first, first + seeds):
        verdict = run(Story.of(seed, jobs=jobs), folder)
        row.seeds += 1
        row.jobs += jobs + verdict.story.reverting
        row.executions += verdict.executions
        row.unwanted += verdict.unwanted
        row.places += verdict.kills
        row.faults += verdict.faults.total()
        if verdict.problems:
            row.bad.append(seed)
            say(f"simulation, seed {seed}: FAILED\n    {verdict.story}")
            _show(verdict.problems, verdict.trace)
        elif row.seeds % 20 == 0:
            say(f"simulation, seeds up to {seed}: {row.jobs} jobs, {len(row.bad)} seeds failed")
    row.deaths, row.seconds = row.places.total(), time.monotonic() - started
    return row


def attack(first: int, seeds: int, jobs: int, folder: Path) -> Row:
    """Seeds against anvil."""
    from library.adversary.chaos import Plan, run

    row = Row("real node")
    started = time.monotonic()
    for seed in range(first, first + seeds):
        outcome = run(Plan(seed, jobs), folder)
        row.seeds += 1
        row.jobs += jobs
        row.executions += outcome.executed
        row.places += outcome.kills
        row.faults += outcome.faults.total()
        word = "FAILED" if outcome.problems else "exactly once"
        say(
            f"real node, seed {seed}: {outcome.executed} of {jobs} jobs, {word}; "
            f"{outcome.kills.total()} deaths, {outcome.faults.total()} faults, "
            f"{outcome.happenings['reorg'] + 2} reorganisations, {outcome.seconds:.0f} s"
        )
        if outcome.problems:
            row.bad.append(seed)
        if outcome.problems or seeds == 1:
            _show(outcome.problems, outcome.trace)
    row.deaths, row.seconds = row.places.total(), time.monotonic() - started
    return row


def hunt(first: int, seeds: int, folder: Path) -> dict[str, int]:
    """By how many seeds of the simulation each mutant is found out."""
    from library.adversary.mutants import MUTANTS
    from library.adversary.story import Story
    from library.adversary.world import run

    caught = {}
    for mutant in MUTANTS:
        (folder / mutant.__name__).mkdir()
        found = [
            bool(run(Story.of(seed), folder / mutant.__name__, mutant).problems)
            for seed in range(first, first + seeds)
        ]
        caught[mutant.__name__] = sum(found)
        say(f"mutant {mutant.__name__}: found out by {sum(found)} of {seeds} seeds")
    return caught


def table(rows: list[Row]) -> str:
    """Lines for people."""
    heads = (
        ("seeds", 7),
        ("jobs", 8),
        ("carried out", 13),
        ("cancelled, refused", 20),
        ("deaths", 8),
        ("faults", 8),
        ("time", 8),
    )
    lines = [" " * 12 + "".join(f"{head:>{width}}" for head, width in heads) + "  failed seeds"]
    lines += [
        f"{row.name:<12}{row.seeds:>7}{row.jobs:>8}{row.executions:>13}{row.unwanted:>20}{row.deaths:>8}{row.faults:>8}"
        f"{row.seconds:>6.0f} s  {', '.join(map(str, row.bad)) or 'none'}"
        for row in rows
    ]
    places = sum((row.places for row in rows), Counter[str]())
    lines.append("died at: " + ", ".join(f"{place} {count}" for place, count in places.most_common()))
    return "\n".join(lines)


def printers() -> int:
    """Every pair of crash points of a licensed print, and kill -9 of a real OctoPrint at each step, at once;
    how many of the two found something."""
    python = ROOT / ".venv-octoprint" / "bin" / "python"
    wanted = {"IMPRIMATUR_PLANS": "all", "IMPRIMATUR_KILLS": "all"}
    runs = [
        subprocess.Popen([python, "-m", "pytest", "-q", place], cwd=ROOT, env=os.environ | wanted)
        for place in ("tests/crashes", "tests/plugin/test_killed.py")
    ]
    return sum(run.wait() != 0 for run in runs)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20, help="seeds against the real node (20)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=40, help="jobs per seed (40)")
    parser.add_argument("--simulated", type=int, help="seeds of the simulation (ten for each real one)")
    parser.add_argument("--printers", action="store_true", help="crash plans and killed OctoPrints too")
    arguments = parser.parse_args()
    simulated = 10 * arguments.seeds if arguments.simulated is None else arguments.simulated
    rows, caught = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if simulated:
            rows.append(simulate(arguments.first, simulated, arguments.jobs, folder))
            caught = hunt(arguments.first, min(MUTANT_SEEDS, simulated), folder)
        if arguments.seeds:
            rows.append(attack(arguments.first, arguments.seeds, arguments.jobs, folder))
    if rows:
        say(table(rows))
    if arguments.printers and printers():
        return 1
    survivors = [mutant for mutant, times in caught.items() if not times]
    if survivors and simulated >= MUTANT_SEEDS:
        say(f"SURVIVED: {', '.join(survivors)}")
        return 1
    return 1 if any(row.bad for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
