"""What a seed makes of the world."""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from library.adversary.network import CALM, Weather

from imprimatur.chain.outbox import Confirmations, Finality, Finalized


@dataclass(frozen=True, slots=True)
class Story:
    """What a seed makes of the world. Times in seconds."""

    seed: int
    jobs: int = 40
    depth: int = 3
    block_time: float = 5.0
    storm: float = 900.0
    bursts: int = 0
    """Moments at which many jobs come at once; 0: each comes when it likes."""
    finality: Finality = field(default_factory=lambda: Confirmations(3))
    weather: Weather = CALM
    kills: float = 0.0
    kill_at: str | None = None
    """Name of the point at which the process certainly dies once."""
    events: float = 0.1
    """How likely something happens to the node, per pass."""
    foreign: bool = False
    """Somebody else uses the key, too."""
    restored: bool = False
    """Once, the node comes back from a backup. The promise is broken; exactly once must still come true."""
    poor: bool = False
    """The purse is nearly empty at first, and filled up later."""
    cancelled: float = 0.0
    """Share of jobs that are cancelled at some moment."""
    drafted: float = 0.0
    """Share of jobs that are signed in their caller's own commit."""
    reverting: int = 0
    """Further jobs, which the contract always refuses."""

    @classmethod
    def of(cls, seed: int, **fixed: Any) -> "Story":
        """The story of a seed; single traits can be fixed."""
        dice = Random(f"story {seed}")
        depth = dice.randint(2, 5)
        rough = dice.choice((0.3, 1.0, 1.0, 2.0))
        weather = Weather(
            lag=dice.choice((20.0, 60.0, 200.0)),
            **{
                name: rough * dice.uniform(0, most)
                for name, most in (
                    ("refused", 0.05),
                    ("lost", 0.05),
                    ("stalled", 0.01),
                    ("busy", 0.03),
                    ("limited", 0.01),
                    ("swallowed", 0.1),
                    ("doubled", 0.1),
                    ("delayed", 0.1),
                    ("lagging", 0.3),
                )
            },
        )
        story = cls(
            seed=seed,
            depth=depth,
            block_time=dice.choice((1.0, 2.0, 5.0, 12.0)),
            storm=dice.uniform(300, 1200),
            bursts=dice.choice((0, 3, 6)),
            finality=Finalized() if dice.random() < 0.3 else Confirmations(depth),
            weather=weather,
            kills=dice.choice((0.0, 0.01, 0.02, 0.04)),
            events=dice.uniform(0.02, 0.25),
            foreign=dice.random() < 0.15,
            poor=dice.random() < 0.15,
            cancelled=dice.choice((0.0, 0.0, 0.1)),
            drafted=dice.choice((0.0, 0.0, 0.5)),
            reverting=dice.choice((0, 0, 2)),
        )
        if not story.foreign and dice.random() < 0.1:
            story = replace(story, restored=True)
        return replace(story, **fixed)
