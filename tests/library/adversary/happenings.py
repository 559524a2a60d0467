"""What happens to a node and its chain while an outbox uses it."""

import math
from collections.abc import Callable
from random import Random

from library.adversary.simulated_node import CHAIN_ID, SimulatedNode
from library.adversary.story import Story

from imprimatur.chain.rpc import NodeRefused
from imprimatur.chain.signers import Signer

GWEI = 10**9
STRANGER = "0x" + "77" * 20
LONGEST_LOSS = 30
"""Blocks that a backup lacks, at most."""


class Happenings:
    """Chosen by a story's seed. `signer` is the outbox's own key, which may be used elsewhere, too."""

    def __init__(
        self, story: Story, node: SimulatedNode, signer: Signer, trace: Callable[[str], None]
    ) -> None:
        self._story = story
        self._node = node
        self._signer = signer
        self._trace = trace
        self._dice = Random(f"happenings {story.seed}")
        share = self._dice.uniform(0.3, 0.9)
        self._restoring_at = node.clock() + share * story.storm if story.restored else math.inf
        self._kinds: dict[str, Callable[[], None]] = {
            "reorganisation": self._reorganise,
            "deep reorganisation": self._reorganise_deeply,
            "rush": self._rush,
            "restart": self._restart,
            "gossip": self._gossip,
            "laziness": self._be_lazy,
            "pressure": self._press,
            "foreign": self._foreign,
        }
        self._weights = (2, 1, 1, 1, 2, 1, 1, 1 if story.foreign else 0)

    def pass_by(self) -> None:
        """Perhaps something happens."""
        if self._node.clock() >= self._restoring_at:
            self._restoring_at = math.inf
            self._node.restore(self._dice.randint(self._story.depth + 1, LONGEST_LOSS))
        if self._dice.random() < self._story.events:
            (kind,) = self._dice.choices(list(self._kinds), self._weights)
            self._kinds[kind]()

    def end(self) -> None:
        """From now on the node behaves."""
        self._node.lazy = 0.0
        self._node.pool.floor = 1
        self._node.market.rush = 0

    def _reorganise(self) -> None:
        depth, returned = self._dice.randint(1, self._node.depth), self._dice.choice((0.0, 0.5, 1.0))
        self._node.reorganise(depth, returned, included=self._dice.random())

    def _reorganise_deeply(self) -> None:
        returned = self._dice.choice((0.0, 1.0))
        self._node.reorganise(self._node.depth, returned, included=self._dice.random())

    def _rush(self) -> None:
        self._node.market.rush = self._dice.randint(5, 25)
        self._trace(f"rush for {self._node.market.rush} blocks")

    def _restart(self) -> None:
        self._node.restart(keep=self._dice.choice((0.0, 0.5)))
        self._trace("the node restarts and forgets its pool")

    def _gossip(self) -> None:
        """Some peer still has old bytes and spreads them."""
        if self._node.known:
            old = self._dice.choice(self._node.known)
            if self._node.submit(old):
                self._trace(f"gossip brings back nonce {old.nonce} {old.hash[:8]}")

    def _be_lazy(self) -> None:
        self._node.lazy = self._dice.choice((0.0, 0.3, 0.8))

    def _press(self) -> None:
        self._node.pool.press(self._dice.choice((1, 1, GWEI, 5 * GWEI)))

    def _foreign(self) -> None:
        """Somebody else who has the key sends something."""
        head = self._node.ledger.head
        transaction = {
            "type": 2,
            "chainId": CHAIN_ID,
            "nonce": head.nonces.get(self._signer.address.lower(), 0),
            "to": STRANGER,
            "value": 1,
            "data": "0x",
            "gas": 21_000,
            "maxFeePerGas": 4 * head.base_fee + 50 * GWEI,
            "maxPriorityFeePerGas": 50 * GWEI,
        }
        raw, hash = self._signer.sign_transaction(transaction)
        self._trace(f"a foreign transaction wants nonce {transaction['nonce']}: {hash[:8]}")
        try:
            self._node.call("eth_sendRawTransaction", ["0x" + raw.hex()])
        except NodeRefused as refused:
            self._trace(f"it is refused: {refused.message}")
