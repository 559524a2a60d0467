"""Every plan of a scenario: where the boundaries are is recorded, never listed."""

import gc
import itertools
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from crashes.simulation.memo import remembering
from crashes.simulation.scenarios import Scenario
from crashes.simulation.switch import Blow, Fault, writes
from crashes.simulation.world import Outcome, World

RAM = Path("/dev/shm")
"""Where commits cost nothing, if the machine has it."""
COLLECT_EVERY = 50
"""Plans."""
Run = Callable[[Scenario, Sequence[Blow]], Outcome]


@dataclass
class Tally:
    """How many plans there are, how many were run, and what was found.

    Blows between which nothing changes leave the same world behind: one of them is run (`distinct`).
    """

    boundaries: int = 0
    singles: int = 0
    singles_run: int = 0
    pairs: int = 0
    """That begin with a single blow that was run."""
    distinct: int = 0
    """Pairs that leave different worlds behind."""
    pairs_run: int = 0
    found: list[str] = field(default_factory=list)

    @property
    def plans(self) -> int:
        return self.singles_run + self.pairs_run

    def __str__(self) -> str:
        return (
            f"{self.boundaries:4} boundaries, {self.singles:4} single blows ({self.singles_run:4} run), "
            f"{self.pairs:6} pairs ({self.distinct:6} distinct, {self.pairs_run:6} run): "
            f"{len(self.found)} with a problem"
        )


@contextmanager
def runs() -> Iterator[Run]:
    """What runs a plan, in a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="imprimatur-test-", dir=RAM if RAM.is_dir() else None) as folder,
        remembering() as begin_secrets_anew,
    ):
        numbers = itertools.count()
        # Looking for cycles after each plan takes a fifth of the time.
        gc.collect()
        gc.freeze()
        gc.disable()
        shown: set[tuple[str, object]] = set()

        def is_new(name: str, resting: object) -> bool:
            before = len(shown)
            shown.add((name, resting))
            return len(shown) > before

        def run(scenario: Scenario, plan: Sequence[Blow]) -> Outcome:
            place = Path(folder) / str(next(numbers))
            place.mkdir()
            try:
                begin_secrets_anew()
                world = World(
                    place / "jobs.db",
                    plan,
                    scenario.with_payer,
                    scenario.copies,
                    scenario.own_file,
                    scenario.longest_pause,
                )
                scenario.happens(world)
                world.is_new = lambda resting: is_new(scenario.name, resting)
                return world.run()
            finally:
                shutil.rmtree(place)
                if next(plans) % COLLECT_EVERY == 0:
                    # Only what is new: what is remembered stays.
                    gc.collect(0)

        plans = itertools.count()
        try:
            yield run
        finally:
            gc.enable()
            gc.unfreeze()


def singles(outcome: Outcome) -> list[Blow]:
    """A crash at each boundary of the last life of a run, and a full disk wherever something is written."""
    passed = outcome.lives[-1]
    crashes = [Blow(at) for at in range(len(passed))]
    full = [Blow(at, Fault.FULL) for at, one in enumerate(passed) if writes(one)]
    return crashes + full


def seconds(first: Blow, after: Outcome) -> list[Blow]:
    """What can strike at each boundary that comes after `first` has struck."""
    begin = 0 if first.fault is Fault.CRASH else first.at + 1
    return [blow for blow in singles(after) if blow.at >= begin]


def distinct(blows: Sequence[Blow], outcome: Outcome) -> list[Blow]:
    """Of the crashes between which nothing changed that outlives the process only one: they leave the same
    world behind, and what they interrupt is gone."""
    passed = outcome.lives[-1]
    found: dict[tuple[int, Fault], Blow] = {}
    for blow in blows:
        key = (passed[blow.at].changes if blow.fault is Fault.CRASH else -1 - blow.at, blow.fault)
        found.setdefault(key, blow)
    return list(found.values())


def try_all(run: Run, scenario: Scenario, tally: Tally, most_pairs: int | None = None, seed: int = 0) -> None:
    """Every single blow of a scenario, and every ordered pair of them, as far as they leave different worlds
    behind; at most `most_pairs` pairs, drawn by `seed`."""
    quiet = run(scenario, ())
    _keep(tally, scenario, (), quiet)
    every = singles(quiet)
    tally.boundaries += len(quiet.lives[-1])
    tally.singles += len(every)
    pairs: list[tuple[Blow, Blow]] = []
    for first in distinct(every, quiet):
        after = run(scenario, (first,))
        tally.singles_run += 1
        _keep(tally, scenario, (first,), after)
        others = seconds(first, after)
        tally.pairs += len(others)
        pairs += [(first, second) for second in distinct(others, after)]
    tally.distinct += len(pairs)
    if most_pairs is not None and len(pairs) > most_pairs:
        pairs = random.Random(f"{scenario.name} {seed}").sample(pairs, most_pairs)
    for pair in pairs:
        tally.pairs_run += 1
        _keep(tally, scenario, pair, run(scenario, pair))


def found_out(run: Run, scenario: Scenario, needs_pairs: bool = False) -> list[str]:
    """The problems of the first plan of a scenario that has any.

    Raises:
        AssertionError: none has one.
    """
    tried = 0
    quiet = run(scenario, ())
    if quiet.problems:
        return quiet.problems
    every = distinct(singles(quiet), quiet)
    for first in every:
        tried += 1
        after = run(scenario, (first,))
        if after.problems:
            return after.problems
        for second in distinct(seconds(first, after), after) if needs_pairs else ():
            tried += 1
            if second.fault is Fault.FULL and (problems := run(scenario, (first, second)).problems):
                return problems
    raise AssertionError(f"None of {tried} plans finds it out.")


def _keep(tally: Tally, scenario: Scenario, plan: Sequence[Blow], outcome: Outcome) -> None:
    if outcome.problems:
        where = ", ".join(map(str, plan)) or "undisturbed"
        story = "\n    ".join([*outcome.trace[-25:], *outcome.states])
        tally.found.append(f"{scenario.name}, {where}: {'; '.join(outcome.problems)}\n    {story}")
