"""What other people do with the chain: how full blocks are, and what they pay."""

from dataclasses import dataclass
from random import Random

from library.adversary.pool import GAS_LIMIT

GWEI = 10**9
NORMAL_BASE_FEE = 10 * GWEI
NORMAL_TIP = GWEI


@dataclass
class Market:
    """Demand from one block to the next. `rush`: for how many more blocks everybody wants in.

    A base fee rises by an eighth per full block (EIP-1559): 20 of them make it ten times as high.
    """

    dice: Random
    rush: int = 0
    tip: int = NORMAL_TIP
    """Wei per gas at which a full block has a place."""

    def next_block(self, base_fee: int) -> int:
        """Gas that others will take in a block with this base fee."""
        if self.rush > 0:
            self.rush -= 1
            self.tip = min(int(self.tip * self.dice.uniform(1.0, 1.3)), 100 * NORMAL_TIP)
            return GAS_LIMIT
        self.tip = max(NORMAL_TIP, int(self.tip * 0.7))
        pull = (NORMAL_BASE_FEE - base_fee) / max(NORMAL_BASE_FEE, base_fee)
        share = min(1.0, max(0.0, 0.5 + 0.5 * pull + self.dice.uniform(-0.2, 0.2)))
        return int(share * GAS_LIMIT)

    @property
    def suggestion(self) -> int:
        """The tip that a node would propose: sometimes behind the times."""
        return int(self.tip * self.dice.choice((1.0, 1.0, 0.5)))
