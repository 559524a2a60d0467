"""What came of a run."""

from collections import Counter
from dataclasses import dataclass

from library.adversary.story import Story


@dataclass
class Verdict:
    """What came of a story."""

    story: Story
    problems: list[str]
    executions: int
    unwanted: int
    """Jobs that were cancelled in time, or that the contract refused."""
    lives: int
    seconds: float
    """Of virtual time."""
    calm_blocks: int
    """Blocks from the end of the faults until all was settled."""
    faults: Counter[str]
    kills: Counter[str]
    passed: Counter[str]
    metrics: Counter[str]
    trace: list[str]

    def report(self) -> str:
        """For people who look for the reason."""
        return "\n".join([*self.trace, f"{self.story}", *self.problems])
