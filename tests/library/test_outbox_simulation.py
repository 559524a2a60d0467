"""The outbox in a world that follows from a seed: everything exactly once, and each mutant found out."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from library.adversary.clock import VirtualClock
from library.adversary.ledger import COUNTER, Block
from library.adversary.mutants import MUTANTS
from library.adversary.network import LIMIT_EXCEEDED, Weather
from library.adversary.places import PLACES, RARE
from library.adversary.simulated_node import CHAIN_ID, SimulatedNode
from library.adversary.story import Story
from library.adversary.verdict import Verdict
from library.adversary.world import run

from imprimatur.chain.outbox import Call, Confirmations, Finalized, Outbox, Rules, State, sqlite_transactions
from imprimatur.chain.rpc import NodeRefused, Rpc
from imprimatur.chain.signers import KeySigner

ETHER = 10**18
SIGNER = KeySigner(bytes(range(1, 33)))
FAULTS = {field.name for field in fields(Weather)} - {"lag", "delay"}
RARE_SEED = 23


class Balancer(Rpc):
    """Two nodes behind one address: `chosen` says which branch's end the node of a request believes in."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self.chosen: Callable[[set[str]], Block] = lambda _methods: node.ledger.head
        self.limited: set[str] = set()
        """Methods that are refused at the moment, for the node's own reasons."""

    def call(self, method: str, params: list[Any]) -> Any:
        return self._node.answer(method, params, self.chosen({method}))

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        head = self.chosen({method for method, _ in calls})
        return [self._answer_from(head, *call) for call in calls]

    def _answer_from(self, head: Block, method: str, params: list[Any]) -> Any:
        if method in self.limited:
            return NodeRefused(LIMIT_EXCEEDED, "daily request count exceeded, request rate limited")
        try:
            return self._node.answer(method, params, head)
        except NodeRefused as refused:
            return refused


class Scene:
    """One job, one node that does what the test says."""

    def __init__(self, folder: Path, finality: Any) -> None:
        self.clock = VirtualClock()
        self.node = SimulatedNode(self.clock, balances={SIGNER.address: ETHER}, depth=3, epoch=1)
        for _ in range(10):
            self.node.mine()
        self.rpc = Balancer(self.node)
        self.transactions = sqlite_transactions(folder / "outbox.sqlite")
        rules = Rules(CHAIN_ID, finality)
        self.outbox = Outbox(self.rpc, SIGNER, self.transactions, rules, clock=self.clock)
        with self.transactions() as store:
            self.outbox.enqueue(store, "job", Call(COUNTER, f"0x{1:064x}"))

    def step(self) -> State:
        self.clock.advance(6)
        self.outbox.step()
        with self.transactions() as store:
            intent = store.find(self.outbox.sender, "job")
        assert intent is not None
        return intent.state

    def executions(self) -> int:
        return len(list(self.node.ledger.executed()))


FINALITIES = [Confirmations(3), Finalized()]


@pytest.mark.parametrize("finality", FINALITIES, ids=["confirmations", "finalized"])
def test_a_lost_branch_at_a_lagging_node_is_never_final(tmp_path, finality):
    """One node has the newest blocks, the other still shows the receipt on a branch that was replaced."""
    scene = Scene(tmp_path, finality)
    assert scene.step() is State.SENT
    scene.node.mine()
    assert scene.step() is State.MINED
    scene.node.mine()
    orphan = scene.node.ledger.head
    scene.node.reorganise(3, returned=0.0)
    for _ in range(10):
        scene.node.mine()
        scene.rpc.chosen = lambda methods: (
            scene.node.ledger.head if "eth_maxPriorityFeePerGas" in methods else orphan
        )
        assert scene.step() is not State.DONE
    scene.rpc.chosen = lambda _methods: scene.node.ledger.head
    for _ in range(8):
        state = scene.step()
        scene.node.mine()
    assert (state, scene.executions()) == (State.DONE, 1)


@pytest.mark.parametrize("finality", FINALITIES, ids=["confirmations", "finalized"])
def test_done_stays_done_when_a_node_falls_behind(tmp_path, finality):
    """A node that stands still on a replaced branch knows neither nonce nor block; nothing is lost."""
    scene = Scene(tmp_path, finality)
    assert scene.step() is State.SENT
    scene.node.lazy = 1.0
    for _ in range(3):
        scene.node.mine()
    orphan = scene.node.ledger.head
    scene.node.reorganise(3, included=1.0)
    assert scene.executions() == 1
    scene.node.lazy = 0.0
    for _ in range(4):
        scene.node.mine()
        state = scene.step()
    assert state is State.DONE
    for number in range(5):
        with scene.transactions() as store:
            scene.outbox.enqueue(store, f"next {number}", Call(COUNTER, f"0x{2 + number:064x}"))
        scene.rpc.chosen = lambda methods: orphan
        assert scene.step() is State.DONE
        scene.rpc.chosen = lambda methods: scene.node.ledger.head
        assert scene.step() is State.DONE


@pytest.mark.parametrize("method", ["eth_estimateGas", "eth_sendRawTransaction", "eth_maxPriorityFeePerGas"])
def test_a_node_that_refuses_for_its_own_reasons_is_asked_again(tmp_path, method):
    scene = Scene(tmp_path, Confirmations(3))
    scene.rpc.limited = {method}
    for _ in range(3):
        assert scene.step() in (State.QUEUED, State.SENT)
    scene.rpc.limited = set()
    for _ in range(8):
        state = scene.step()
        scene.node.mine()
    assert (state, scene.executions()) == (State.DONE, 1)


@pytest.mark.parametrize(("before", "after"), [(2, 2), (200, 2), (2, 200), (200, 200)])
def test_a_foreign_nonce_is_found_at_a_node_without_old_states(tmp_path, before, after):
    """The job waits for `before` blocks, a stranger takes its nonce; `after` blocks later we look again."""
    scene = Scene(tmp_path, Confirmations(3))
    assert scene.step() is State.SENT
    scene.node.pool.clear()
    for _ in range(before):
        scene.node.mine()
    take_nonce(scene, 0)
    for _ in range(after):
        scene.node.mine()
    for _ in range(12):
        state = scene.step()
        scene.node.mine()
    assert (state, scene.executions()) == (State.DONE, 1)


def take_nonce(scene: Scene, nonce: int) -> None:
    """Send something else with the outbox's key."""
    transaction = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "to": SIGNER.address,
        "value": 1,
        "data": "0x",
        "gas": 21_000,
        "maxFeePerGas": 200 * 10**9,
        "maxPriorityFeePerGas": 20 * 10**9,
    }
    scene.node.call("eth_sendRawTransaction", ["0x" + SIGNER.sign_transaction(transaction)[0].hex()])
    scene.node.mine()


NOTABLE_SEEDS = {
    0: "54 deaths with blocks of 12 s; calls that always revert fail once and for all",
    2: "finality by the node's tag; the other node stands still for minutes; 31 replacements",
    3: "84 deaths; branches of five blocks",
    5: "the purse is empty at first; bytes signed in their callers' commits",
    6: "23 transactions lose their block",
    7: "the node comes back from a backup without its last blocks",
    9: "jobs are cancelled in the middle of everything",
    11: "finality by the node's tag, 43 deaths, bytes signed in their callers' commits",
    12: "17 lost blocks, 16 replacements, 44 deaths in 11 minutes",
    17: "somebody else uses the key; the chain calms down slowly",
    23: "foreign nonces, an empty purse, cancelling, finality by the tag, all at once",
    24: "a foreign transaction takes a nonce: signed anew as soon as that is final",
    29: "nobody dies; blocks of 12 s; the same bytes are sent up to the eighth time",
}
"""Seeds of `Story.of`, and what happens in each."""


@pytest.fixture(scope="module")
def verdict_of(tmp_path_factory) -> Callable[[int], Verdict]:
    """What came of a notable seed; each is run once."""
    return cache(lambda seed: run(Story.of(seed), tmp_path_factory.mktemp("world")))


@pytest.mark.parametrize("seed", NOTABLE_SEEDS)
def test_everything_exactly_once(verdict_of, seed):
    verdict = verdict_of(seed)
    assert not verdict.problems, verdict.report()
    assert verdict.faults.total() > 0


def test_notable_seeds_come_to_every_place_where_one_can_die(verdict_of):
    """A new place in the outbox has to be added to `PLACES`, and so to both kinds of chaos."""
    verdicts = [verdict_of(seed) for seed in NOTABLE_SEEDS]
    assert {place for verdict in verdicts for place in verdict.passed} - {RARE} == set(PLACES)
    assert {fault for verdict in verdicts for fault in verdict.faults if verdict.faults[fault]} == FAULTS
    assert sum(verdict.metrics["requeued"] for verdict in verdicts) > 0
    assert sum(verdict.metrics["reorganised"] for verdict in verdicts) > 50


@pytest.mark.parametrize("place", PLACES)
def test_killed_at_every_step(tmp_path, place):
    """The process certainly dies the first time that it comes there, and by chance anywhere else."""
    verdict = run(Story.of(12, jobs=20, kill_at=place), tmp_path)
    assert not verdict.problems, verdict.report()
    assert verdict.kills[place] >= 1


def test_killed_while_a_gap_is_filled(tmp_path):
    """A nonce was given up for a foreign transaction, and a backup brought the time before it back."""
    story = Story.of(RARE_SEED, restored=True, foreign=True, events=0.25, kill_at=RARE)
    verdict = run(story, tmp_path)
    assert not verdict.problems, verdict.report()
    assert verdict.kills[RARE] >= 1


def test_a_seed_is_the_same_run_again(tmp_path, verdict_of):
    first, again = verdict_of(12), run(Story.of(12), tmp_path)
    assert first.trace == again.trace
    assert (first.faults, first.kills, first.seconds) == (again.faults, again.kills, again.seconds)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_mutants_are_found_out(tmp_path, mutant):
    assert any(run(Story.of(seed), tmp_path, mutant).problems for seed in NOTABLE_SEEDS)
