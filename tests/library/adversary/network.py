"""What lies between the outbox and its node, and how it goes wrong."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from library.adversary.ledger import Block
from library.adversary.signed import Signed, read
from library.adversary.simulated_node import SimulatedNode

from imprimatur.chain.rpc import BATCH_SIZE, READ_TIMEOUT, NodeBusy, NodeRefused, NodeUnreachable, Rpc

LIMIT_EXCEEDED = -32005

Call = tuple[str, list[Any]]


class Killed(BaseException):
    """The process ended here. Not an `Exception`: nobody may handle it."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How likely each fault is, per request or, where a sending is meant, per transaction."""

    refused: float = 0.0
    """No connection: nothing happened, and the client can't know."""
    lost: float = 0.0
    """Everything was done; the answer is lost."""
    stalled: float = 0.0
    """As either of the two, after the client's whole patience."""
    busy: float = 0.0
    """HTTP 429 or 503."""
    limited: float = 0.0
    """A single call of a batch is refused for the node's own reasons."""
    swallowed: float = 0.0
    """The node says "sent", and forgets it."""
    doubled: float = 0.0
    """The transaction arrives once more, later."""
    delayed: float = 0.0
    """The node says "sent" or nothing at all; it arrives later."""
    lagging: float = 0.0
    """The load balancer asks another node, which lags behind and may stand on another branch."""
    lag: float = 60.0
    """Seconds, at most."""
    delay: float = 120.0
    """Seconds, at most."""


CALM = Weather()


class KillSwitch:
    """Ends the process at a named point: by chance, or the first time that `chosen` is reached."""

    def __init__(self, dice: Random, rate: float, chosen: str | None = None) -> None:
        self._dice = dice
        self.rate = rate
        self.chosen = chosen
        self.passed: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        self.passed[name] += 1
        if name == self.chosen or self._dice.random() < self.rate:
            self.chosen = None if name == self.chosen else self.chosen
            self.kills[name] += 1
            raise Killed(name)


class Network(Rpc):
    """A node as the outbox sees it."""

    def __init__(
        self,
        node: SimulatedNode,
        dice: Random,
        weather: Weather,
        kill: Callable[[str], None],
        trace: Callable[[str], None],
    ) -> None:
        self._node = node
        self._dice = dice
        self.weather = weather
        self._kill = kill
        self._trace = trace
        self.faults: Counter[str] = Counter()
        self.requests = 0
        self._stuck_at = node.ledger.head
        self._stuck_until = 0.0

    def call(self, method: str, params: list[Any]) -> Any:
        (answer,) = self._request([(method, params)])
        if isinstance(answer, NodeRefused):
            raise answer
        return answer

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        # Each HTTP request reaches one node.
        answers: list[Any] = []
        for start in range(0, len(calls), BATCH_SIZE):
            answers += self._request(calls[start : start + BATCH_SIZE])
        return answers

    def _request(self, calls: Sequence[Call]) -> list[Any]:
        self.requests += 1
        sends = any(method == "eth_sendRawTransaction" for method, _ in calls)
        name = "send" if sends else "ask"
        self._kill(f"before {name}")
        clock = self._node.clock
        clock.advance(self._dice.uniform(0.005, 0.05))
        fault = self._fault()
        if fault == "busy":
            raise NodeBusy(self._dice.choice((429, 503)), self._dice.choice((None, 1.0, 5.0)))
        if fault == "refused" or (fault == "stalled" and self._dice.random() < 0.5):
            if fault == "stalled":
                clock.advance(READ_TIMEOUT)
            raise NodeUnreachable("the simulated network gave no connection")
        head = self._head_behind() if self._happens("lagging") else self._node.ledger.head
        lost = fault is not None
        answers = []
        for method, params in calls:
            if method == "eth_sendRawTransaction":
                answer, unanswered = self._send(params[0], head)
                lost = lost or unanswered
            else:
                answer = self._ask(method, params, head)
            answers.append(answer)
        if fault == "stalled":
            clock.advance(READ_TIMEOUT)
        self._kill(f"after {name}")
        if lost:
            raise NodeUnreachable("the simulated network lost the answer")
        return answers

    def _head_behind(self) -> Block:
        """What the other node believes in: it stands still for a while, perhaps on a lost branch."""
        now = self._node.clock()
        if now >= self._stuck_until:
            self._stuck_at = self._node.head_before(self._dice.uniform(0, self.weather.lag / 4))
            self._stuck_until = now + self._dice.uniform(0, self.weather.lag)
        return self._stuck_at

    def _ask(self, method: str, params: list[Any], head: Block) -> Any:
        if self._happens("limited"):
            return NodeRefused(LIMIT_EXCEEDED, "daily request count exceeded, request rate limited")
        try:
            return self._node.answer(method, params, head)
        except NodeRefused as refused:
            return refused

    def _send(self, raw: str, head: Block) -> tuple[Any, bool]:
        """The answer to a sending, and whether it gets lost."""
        transaction = read(bytes.fromhex(raw.removeprefix("0x")))
        what = f"nonce {transaction.nonce} {transaction.hash[:8]}"
        if self._happens("swallowed"):
            self._trace(f"swallowed {what}")
            return transaction.hash, False
        later = self._dice.uniform(1, self.weather.delay)
        if self._happens("delayed"):
            self._trace(f"delayed by {later:.0f} s: {what}")
            self._node.clock.after(later, lambda: self._arrive(transaction))
            return transaction.hash, self._dice.random() < 0.5
        if self._happens("doubled"):
            self._node.clock.after(later, lambda: self._arrive(transaction))
        answer = self._ask("eth_sendRawTransaction", [raw], head)
        self._trace(f"sent {what}: {answer.message if isinstance(answer, NodeRefused) else 'ok'}")
        return answer, False

    def _fault(self) -> str | None:
        return next((name for name in ("refused", "lost", "stalled", "busy") if self._happens(name)), None)

    def _happens(self, name: str) -> bool:
        # Always one throw, so that a rate of zero doesn't shift the rest of the run.
        rate: float = getattr(self.weather, name)
        happens = self._dice.random() < rate
        self.faults[name] += happens
        return happens

    def _arrive(self, transaction: Signed) -> None:
        useful = self._node.submit(transaction)
        self._trace(f"late arrival: nonce {transaction.nonce} {transaction.hash[:8]}, useful: {useful}")
