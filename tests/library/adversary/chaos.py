"""Chaos with a real node: anvil behind the fault proxy, real processes, SIGKILL, real branches.

Each job sends one wei to an account of its own: a balance of one is exactly once.
"""

import itertools
import math
import os
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from library.adversary.fault_proxy import FaultProxy
from library.adversary.mortal import KEY, recipient
from library.adversary.mortals import Mortals, mortals
from library.adversary.network import CALM, Weather
from library.adversary.places import PLACES
from library.adversary.records import states_in

from imprimatur.chain.outbox import State, sqlite_transactions
from imprimatur.chain.rpc import HttpRpc, NodeRefused
from imprimatur.chain.signers import KeySigner
from tools.anvil import running_anvil

ETHER = 10**18
GWEI = 10**9
LONGEST_STORM = 4
"""Times its planned length."""
PATIENCE = 60.0
"""Seconds within which everything must be settled once the faults are over."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed orders. Seconds are real ones."""

    seed: int
    jobs: int = 40
    depth: int = 3
    storm: float = 5.0
    deaths: int = 12
    """As many of the worker, at least."""
    block_time: float = 0.08
    kind: str = "Outbox"
    """Or the name of a mutant."""


@dataclass
class Outcome:
    """What came of a plan."""

    plan: Plan
    problems: list[str] = field(default_factory=list)
    executed: int = 0
    lives: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    happenings: Counter[str] = field(default_factory=Counter)
    returned: int = 0
    seconds: float = 0.0
    trace: list[str] = field(default_factory=list)


def weather_of(dice: Random) -> Weather:
    """How rough a seed's network is."""
    rough = dice.choice((0.5, 1.0, 2.0))
    most = {
        "refused": 0.06,
        "lost": 0.08,
        "stalled": 0.02,
        "busy": 0.05,
        "limited": 0.01,
        "swallowed": 0.2,
        "doubled": 0.2,
        "delayed": 0.2,
    }
    return Weather(delay=1.0, **{name: rough * dice.uniform(0, rate) for name, rate in most.items()})


class Chaos:
    """One plan, carried out."""

    def __init__(self, plan: Plan, node: HttpRpc, proxy: FaultProxy, workers: Mortals, folder: Path) -> None:
        self.plan = plan
        self._dice = Random(f"chaos {plan.seed}")
        # Its own: how often the other dice are thrown depends on the machine.
        self._fate = Random(f"fate {plan.seed}")
        self._node = node
        self._proxy = proxy
        self._workers = workers
        self._database = folder / f"chaos-{plan.seed}.sqlite"
        sqlite_transactions(self._database)
        self._outcome = Outcome(plan)
        self._start = time.time()
        moments = sorted(self._start + self._dice.uniform(0, plan.storm) for _ in range(plan.jobs))
        self._order = {
            "seed": plan.seed,
            "kind": plan.kind,
            "url": proxy.url,
            "database": str(self._database),
            "chain_id": int(node.call("eth_chainId", []), 16),
            "depth": plan.depth,
            "moments": moments,
        }
        # Each of them in turn; None: anywhere.
        deaths = [*PLACES, *PLACES, None, None, None]
        self._dice.shuffle(deaths)
        self._deaths = itertools.cycle(deaths)
        self._next_block = 0.0
        self._next_happening = 0.0
        self._next_kill = 0.0
        self._mines_itself = False
        self._settled = False

    def _note(self, line: str) -> None:
        self._outcome.trace.append(f"{time.time() - self._start:7.2f}  {line}")

    # --- the worker

    def _worker(self, mortal: bool, seconds: float) -> None:
        """Let the worker live for a moment, in a new life if it has none."""
        if self._workers.pid is None:
            if self._settled:
                time.sleep(seconds)
                return
            place = next(self._deaths)
            count = self._dice.randint(1, 3 if place else 40) if mortal else 0
            self._workers.bear(self._order | {"place": place, "count": count})
            self._outcome.lives += 1
            self._next_kill = time.monotonic() + self._dice.uniform(0.1, 1.5)
        if mortal and time.monotonic() >= self._next_kill:
            self._next_kill = math.inf
            self._note("killed from outside")
            self._outcome.kills["from outside"] += 1
            self._workers.kill()
        place, status = self._workers.news(seconds)
        if place is not None:
            self._note(f"killed itself: {place}")
            self._outcome.kills[place] += 1
        if status == 0:
            self._settled = True
        elif status is not None and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            self._outcome.problems.append(f"the worker ended with status {status}")

    # --- the node

    def _mine(self) -> None:
        if not self._mines_itself and time.monotonic() >= self._next_block:
            self._node.call("evm_mine", [])
            self._next_block = time.monotonic() + self.plan.block_time * self._dice.uniform(0.5, 1.5)

    def _happening(self) -> None:
        what = self._fate.choice(
            ("reorg", "reorg", "reorg", "spike", "spike", "drop", "automine", "interval", "manual", "forget")
        )
        self._outcome.happenings[what] += 1
        match what:
            case "reorg":
                self._reorganise(self._fate.randint(1, self.plan.depth))
            case "spike":
                fee = int(GWEI * self._fate.choice((5, 20, 100)))
                self._node.call("anvil_setNextBlockBaseFeePerGas", [hex(fee)])
                self._note(f"base fee {fee}")
            case "drop":
                waiting = self._node.call("txpool_content", [])["pending"]
                hashes = [t["hash"] for own in waiting.values() for t in own.values()]
                for hash in self._fate.sample(hashes, len(hashes) // 2):
                    self._node.call("anvil_dropTransaction", [hash])
            case "automine":
                self._switch(automine=True, interval=0)
            case "interval":
                self._switch(automine=False, interval=1)
            case "manual":
                self._switch(automine=False, interval=0)
            case "forget":
                self._proxy.pool.forget()
                self._proxy.pool_kept = self._fate.random() < 0.7

    def _switch(self, automine: bool, interval: int) -> None:
        self._node.call("evm_setAutomine", [automine])
        self._node.call("evm_setIntervalMining", [interval])
        # Automine alone would stop when nothing comes, and nothing would become final.
        self._mines_itself = interval > 0

    def _reorganise(self, depth: int) -> None:
        done = [job for job, state in self._states().items() if state is State.DONE]
        self._note(f"reorganisation of {depth} blocks")
        try:
            self._node.call("anvil_reorg", [depth, []])
        except NodeRefused as refused:
            self._note(f"not now: {refused.message}")
            return
        lost = [job for job in done if self._balance(job) == 0]
        if lost:
            self._outcome.problems.append(f"done, and not on the chain after a reorganisation: jobs {lost}")

    # --- what is true

    def _states(self) -> dict[int, State]:
        # Not one connection for all: it would keep the next life from having to recover.
        with closing(sqlite3.connect(self._database)) as database:
            return states_in(database)

    def _balance(self, job: int) -> int:
        account = recipient(self.plan.seed, job)
        return int(self._node.call("eth_getBalance", [account, "latest"]), 16)

    def _judge(self) -> None:
        balances = {job: self._balance(job) for job in range(self.plan.jobs)}
        self._outcome.executed = sum(balances.values())
        states = self._states()
        for job, balance in balances.items():
            if balance != 1 or states.get(job) is not State.DONE:
                self._outcome.problems.append(f"job {job} is {states.get(job)}, carried out {balance} times")

    # --- the plan

    def run(self) -> Outcome:
        """Storm, calm with a reorganisation of the greatest depth, another at the very end, verdict."""
        for _ in range(self.plan.depth + 1):
            self._node.call("evm_mine", [])
        while self._storms():
            self._mine()
            self._worker(mortal=True, seconds=0.01)
            if time.monotonic() >= self._next_happening:
                self._next_happening = time.monotonic() + self._dice.uniform(0.02, 0.4)
                self._happening()
        self._note("the storm is over")
        self._proxy.weather = CALM
        self._switch(automine=False, interval=0)
        self._until("mined", lambda: self._reached({State.MINED, State.DONE}))
        self._proxy.pool.forget()
        self._reorganise(self.plan.depth)
        self._until("settled", lambda: self._settled and self._reached({State.DONE}))
        self._reorganise(self.plan.depth)
        self._settled = False
        self._until("settled at the end", lambda: self._settled)
        self._workers.kill()
        while self._workers.pid is not None:
            self._workers.news(0.1)
        self._judge()
        self._outcome.problems += [f"the proxy failed: {error!r}" for error in self._proxy.errors]
        self._outcome.faults = self._proxy.faults
        self._outcome.returned = self._proxy.pool.returned
        self._outcome.seconds = time.time() - self._start
        return self._outcome

    def _storms(self) -> bool:
        """For its time, and on a slow machine until enough has happened."""
        passed = time.time() - self._start
        enough = self._outcome.kills.total() >= self.plan.deaths
        return passed < self.plan.storm or (not enough and passed < LONGEST_STORM * self.plan.storm)

    def _reached(self, allowed: set[State]) -> bool:
        states = self._states()
        return len(states) >= self.plan.jobs and set(states.values()) <= allowed

    def _until(self, what: str, reached: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._outcome.problems and not reached():
            if time.monotonic() > deadline:
                states = Counter(self._states().values())
                self._outcome.problems.append(
                    f"after {PATIENCE:.0f} calm seconds not all is {what}: {states}"
                )
                return
            self._mine()
            self._worker(mortal=False, seconds=0.01)


def run(plan: Plan, folder: Path) -> Outcome:
    """Carry a plan out, with a node, a proxy and processes of its own."""
    weather = weather_of(Random(f"weather {plan.seed}"))
    with running_anvil("--no-mining") as node:
        node.call("anvil_setBalance", [KeySigner(KEY).address, hex(100 * ETHER)])
        with FaultProxy(node.url, plan.seed, weather, stall=0.7) as proxy, mortals() as workers:
            return Chaos(plan, node, proxy, workers, folder).run()
