"""One run of an outbox in a world that follows from a seed, and the verdict on it.

A storm: jobs are queued while network, node and process fail. Then it becomes calm, with one reorganisation
of the greatest promised depth at the worst moment and one at the very end. Every job must have been carried
out exactly once, by a counter that doesn't protect itself.
"""

import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

from library.adversary.clock import VirtualClock
from library.adversary.happenings import Happenings
from library.adversary.ledger import COUNTER, REVERTING
from library.adversary.network import CALM, Killed, KillSwitch, Network
from library.adversary.records import states_in
from library.adversary.simulated_node import CHAIN_ID, SimulatedNode
from library.adversary.story import Story
from library.adversary.verdict import Verdict

from imprimatur.chain.outbox import (
    Call,
    Outbox,
    Rules,
    State,
    Store,
    sqlite_transactions,
)
from imprimatur.chain.outbox.records import SETTLED
from imprimatur.chain.outbox.signing import FeesTooHigh
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.transactions import NotEnoughFunds

ETHER = 10**18
GWEI = 10**9
SIGNER = KeySigner(bytes(range(1, 33)))
TRACE_LENGTH = 400
CAPS = (60 * GWEI, 2000 * GWEI)
"""Wei per gas that an outbox may offer; a rush can go beyond the lower one."""
PATIENCE = 250
"""Blocks within which everything must be settled once the faults are over."""


Build = Callable[..., Outbox]


class World:
    """The run of one story. `build` makes the outbox; mutants are made here."""

    def __init__(self, story: Story, folder: Path, build: Build = Outbox) -> None:
        self.story = story
        self.dice = Random(f"world {story.seed}")
        self.clock = VirtualClock()
        self._start = self.clock()
        self._trace: deque[str] = deque(maxlen=TRACE_LENGTH)
        wei = ETHER // 50 if story.poor else 100 * ETHER
        self.node = SimulatedNode(
            self.clock,
            seed=story.seed,
            balances={SIGNER.address: wei},
            depth=story.depth,
            block_time=story.block_time,
            trace=self.trace,
        )
        self.kill = KillSwitch(Random(f"kill {story.seed}"), story.kills, story.kill_at)
        self.network = Network(
            self.node, Random(f"network {story.seed}"), story.weather, self.kill, self.trace
        )
        self._build = build
        path = folder / f"outbox-{story.seed}.sqlite"
        self._transactions = sqlite_transactions(path)
        # Open as long as the world is: SQLite would begin a new log for every transaction.
        self._database = sqlite3.connect(path)
        self._problems: list[str] = []
        # As an operator sets it who knows for how long a node of his may stand still.
        self._lost_after = max(60.0, 3 * story.weather.lag)
        self._patience = PATIENCE + int(self._lost_after / story.block_time if story.restored else 0)
        self._lives = 0
        self._wanted: dict[int, float] = {}
        self._submitted: set[int] = set()
        self._to_cancel: dict[int, float] = {}
        self._done: dict[int, float] = {}
        self._metrics: Counter[str] = Counter()
        self._happenings = Happenings(story, self.node, SIGNER, self.trace)
        self._outbox: Outbox | None = None
        bursts = [self.dice.uniform(0, story.storm) for _ in range(story.bursts)] + [0.98 * story.storm]
        for number in range(story.jobs):
            moment = self.dice.choice(bursts) if story.bursts else self.dice.uniform(0, story.storm)
            self._wanted[number] = self._start + moment
            if self.dice.random() < story.cancelled:
                self._to_cancel[number] = self._wanted[number] + self.dice.uniform(0, 60)
        for number in range(story.reverting):
            self._wanted[REVERTING + number] = self._start + self.dice.uniform(0, story.storm)

    def trace(self, line: str) -> None:
        """Remember what happened, for the report of a failure."""
        self._trace.append(f"{self.clock() - self._start:8.1f}  {line}")

    def close(self) -> None:
        self._database.close()

    # --- the process and its lives

    @contextmanager
    def _transaction(self) -> Iterator[Store]:
        """The outbox's and the callers' transactions: the process may die at both ends of a commit."""
        with self._transactions() as store:
            yield store
            self.kill("before commit")
        self.kill("after commit")

    def _live(self) -> None:
        """One pass of the process, which may die in it."""
        try:
            if self._outbox is None:
                self._lives += 1
                rules = Rules(
                    CHAIN_ID,
                    self.story.finality,
                    max_in_flight=self.dice.choice((4, 16, 64)),
                    replace_after=self.dice.choice((15.0, 30.0)),
                    lost_after=self._lost_after,
                    max_fee=self.dice.choice(CAPS),
                )
                self._outbox = self._build(
                    self.network, SIGNER, self._transaction, rules, clock=self.clock, checkpoint=self.kill
                )
            self._queue(self._outbox)
            self._outbox.step()
        except Killed as killed:
            self.trace(f"killed {killed}")
            self._bury()
            self.clock.advance(self.dice.choice((0.1, 1.0, 30.0)))
        except (NodeUnreachable, NodeRefused, NotEnoughFunds, FeesTooHigh) as trouble:
            self.trace(f"trouble: {trouble}")

    def _bury(self) -> None:
        if self._outbox is not None:
            for name in ("signed", "sent", "resent", "replaced", "reorganised", "requeued", "settled"):
                self._metrics[name] += getattr(self._outbox.metrics, name)
        self._outbox = None

    def _queue(self, outbox: Outbox) -> None:
        """What callers do: queue what is due, again and again until they know that it was committed."""
        now = self.clock()
        due = [job for job, at in self._wanted.items() if at <= now and job not in self._submitted]
        for job in due:
            call = Call(COUNTER, f"0x{job:064x}", gas=self._gas(job))
            if job < self.story.jobs * self.story.drafted:
                draft = outbox.draft(call)
                with self._transaction() as store:
                    outbox.sign(store, _key(job), draft)
            else:
                with self._transaction() as store:
                    outbox.enqueue(store, _key(job), call)
            self._submitted.add(job)
        for job in [job for job, at in self._to_cancel.items() if at <= now and job in self._submitted]:
            with self._transaction() as store:
                outbox.cancel(store, _key(job))
            del self._to_cancel[job]

    def _gas(self, job: int) -> int | None:
        """Some callers know the gas; then a call that reverts is found out on the chain only."""
        return 80_000 if job % 3 == 0 else None

    # --- what must be true

    def states(self) -> dict[int, State]:
        """What the outbox says of each job."""
        return states_in(self._database)

    def executed(self) -> Counter[int]:
        """How often each job was carried out, by the chain."""
        return Counter(job for job, _ in self.node.ledger.executed())

    def _look(self) -> None:
        """DONE was true when it was said, and stays true."""
        executed = self.executed()
        for job, state in self.states().items():
            if state is State.DONE and job not in self._done:
                self._done[job] = self.clock()
                self.trace(f"job {_name(job)} is done")
            if state is not State.DONE and job in self._done and not self.story.restored:
                self._problem(f"job {_name(job)} was done and is {state} now")
        for job in self._done:
            if executed[job] == 0 and not self.story.restored:
                self._problem(f"job {_name(job)} was called done and isn't on the chain")
        for job, times in executed.items():
            if times > 1:
                self._problem(f"job {_name(job)} was carried out {times} times")

    def _problem(self, text: str) -> None:
        if text not in self._problems:
            self._problems.append(text)
            self.trace(f"PROBLEM: {text}")

    # --- the story

    def run(self) -> Verdict:
        """Storm, calm, verdict."""
        while self.clock() < self._start + self.story.storm and not self._problems:
            self._live()
            self._look()
            self.clock.advance(self.dice.uniform(0.2, 4.0))
            self._happenings.pass_by()
            self._look()
        self._become_calm()
        calm = self.node.ledger.head.number
        if not self._problems:
            self._settle("mined", self._nothing_waits)
            self.node.reorganise(self.node.depth, self.dice.choice((0.0, 1.0)), self.dice.random())
            self._look()
            self._settle("settled", self._all_settled)
        blocks = self.node.ledger.head.number - calm
        if not self._problems:
            self.node.reorganise(self.node.depth, 0.0, 0.0)
            self._look()
            self._settle("settled after the last reorganisation", self._all_settled)
            self._judge()
        self._bury()
        return Verdict(
            story=self.story,
            problems=self._problems,
            executions=sum(self.executed().values()),
            unwanted=sum(state in (State.CANCELLED, State.FAILED) for state in self.states().values()),
            lives=self._lives,
            seconds=self.clock() - self._start,
            calm_blocks=blocks,
            faults=self.network.faults,
            kills=self.kill.kills,
            passed=self.kill.passed,
            metrics=self._metrics,
            trace=list(self._trace),
        )

    def _become_calm(self) -> None:
        self.trace("the storm is over")
        self.network.weather = CALM
        self.kill.rate = 0.0
        self._happenings.end()
        if self.story.poor:
            self.node.ledger.fund(SIGNER.address.lower(), 100 * ETHER)

    def _settle(self, what: str, reached: Callable[[], bool]) -> None:
        """Let the outbox work until something is reached, for a bounded time."""
        until = self.node.ledger.head.number + self._patience
        while not reached() and not self._problems:
            if self.node.ledger.head.number > until:
                self._problem(f"not all is {what} after {self._patience} calm blocks: {self._open()}")
                return
            self._live()
            self._look()
            self.clock.advance(min(2.0, self.story.block_time))

    def _nothing_waits(self) -> bool:
        return len(self._submitted) == len(self._wanted) and not {State.QUEUED, State.SENT} & set(
            self.states().values()
        )

    def _all_settled(self) -> bool:
        return len(self._submitted) == len(self._wanted) and all(
            state in SETTLED for state in self.states().values()
        )

    def _open(self) -> dict[str, str]:
        return {_name(job): str(state) for job, state in self.states().items() if state not in SETTLED}

    def _judge(self) -> None:
        states, executed = self.states(), self.executed()
        may_be_cancelled = self.story.cancelled > 0
        for job in self._wanted:
            state, times = states.get(job), executed[job]
            if job >= REVERTING:
                expected = state is State.FAILED and times == 0
            elif may_be_cancelled and state is State.CANCELLED:
                expected = times == 0
            else:
                expected = state is State.DONE and times == 1
            if not expected:
                self._problem(f"job {_name(job)} is {state} and was carried out {times} times")


def _key(job: int) -> str:
    return f"job {job}"


def _name(job: int) -> str:
    return str(job) if job < REVERTING else f"reverting {job - REVERTING}"


def run(story: Story, folder: Path, build: Build = Outbox) -> Verdict:
    """Let a story happen. Its database is made in `folder`."""
    with closing(World(story, folder, build)) as world:
        return world.run()
