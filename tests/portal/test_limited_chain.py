"""Nodes that give the logs of few blocks at once: the desk gives keys all the same, and the relay settles."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from portal.desk_stage import DeskStage, make_stage
from portal.relay_stage import RelayStage
from portal.test_desk_attacks import LyingNode
from sqlalchemy.orm import sessionmaker

from app.chain import http_rpc
from app.services import consumption, relay
from imprimatur import sealing
from imprimatur.chain import logs
from imprimatur.chain.outbox.rules import Confirmations, Finalized
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc, Rpc
from imprimatur.chain.signers import KeySigner
from support.limited_node import Limits, limited_node
from support.node import Chain

SIZE = 4
"""Blocks of one question for logs."""
LONG = 300
"""Blocks before something happens."""
RELEASED = (200, "released")
UNCLEAR = (503, "chain_unavailable")


@pytest.fixture(scope="module")
def long(anvil: Chain) -> Chain:
    """A chain on which nothing happened for a while after the deployment."""
    anvil.rpc.call("anvil_mine", [hex(LONG)])
    return anvil


@pytest.fixture
def stage(long: Chain, tmp_path: Path, template_database: bytes) -> Iterator[DeskStage]:
    stage = make_stage(long, tmp_path, template_database)
    yield stage
    stage.close()


@pytest.fixture
def device(stage: DeskStage) -> KeySigner:
    signer = stage.chain.account()
    stage.know(signer)
    return signer


@contextmanager
def narrow(stage: DeskStage, limits: Limits, retries: int = 0) -> Iterator[Rpc]:
    with limited_node(stage.chain.url, limits) as url:
        yield HttpRpc(url, retries=retries)


# --- the key desk --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        Limits(SIZE),
        Limits(SIZE, (-32614, "eth_getLogs is limited to a 4 range"), status=413),
        Limits(SIZE, (-32600, "block range is too wide"), whole=True, status=400),
    ],
    ids=["each", "status", "whole"],
)
@pytest.mark.parametrize("finality", [None, Confirmations(3), Finalized()])
def test_a_paid_copy_gets_its_key(stage: DeskStage, device: KeySigner, limits: Limits, finality: Any) -> None:
    id = stage.license(device.address, failures_allowed=4)
    stage.consume(device, id)
    with narrow(stage, replace(limits, ranges=[], requests=0)) as node:
        desk = stage.desk(node, finality=finality)
        if finality is not None:
            assert stage.ask(device, id, desk=desk).outcome == (425, "not_final")
        stage.mine(70)
        asked = stage.ask(device, id, desk=desk)
        assert asked.outcome == RELEASED
        assert asked.file_key(stage.job_keys[id, 1]) == stage.file_keys[id]


def test_what_is_refused_stays_refused(stage: DeskStage, device: KeySigner) -> None:
    """A failure, another device or recipient, a copy that nobody consumed: several windows apart."""
    id = stage.license(device.address, failures_allowed=4)
    stage.mine(3 * SIZE)
    stage.consume(device, id)
    stage.mine(3 * SIZE)
    other = stage.chain.account()
    stage.know(other)
    with narrow(stage, Limits(SIZE)) as node:
        desk = stage.desk(node)
        assert stage.ask(other, id, desk=desk).outcome == (403, "other_device")
        recipient = sealing.public_key(secrets.token_bytes(32))
        assert stage.ask(device, id, recipient=recipient, desk=desk).outcome == (403, "other_recipient")
        assert stage.ask(device, id, 2, recipient, desk=desk).outcome == (425, "not_consumed")
        assert stage.ask(device, id, desk=desk).outcome == RELEASED
        stage.fail(device, id)
        stage.mine(3 * SIZE)
        assert stage.ask(device, id, desk=desk).outcome == (403, "failed")


def test_the_desk_reads_back_to_the_issuing(stage: DeskStage, device: KeySigner) -> None:
    """Nothing about a license is older: a young one costs few questions however long the chain is."""
    id = stage.license(device.address)
    stage.consume(device, id)
    limits = Limits(SIZE)
    with narrow(stage, limits) as node:
        assert stage.ask(device, id, desk=stage.desk(node)).outcome == RELEASED
    answered = [span for span in limits.ranges if span[1] - span[0] < SIZE]
    assert len(answered) == 1


def test_two_nodes_of_which_one_has_a_limit(stage: DeskStage, device: KeySigner) -> None:
    id = stage.license(device.address)
    stage.consume(device, id)
    with narrow(stage, Limits(SIZE)) as node:
        assert stage.ask(device, id, desk=stage.desk(stage.chain.rpc, node)).outcome == RELEASED


@pytest.mark.parametrize("blocks", [0, SIZE])
def test_nothing_is_said_without_the_events(
    stage: DeskStage, device: KeySigner, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a node that gives none at all, or so few that the issuing, long ago, lies out of reach."""
    monkeypatch.setattr(logs, "MOST", 20)
    id = stage.license(device.address)
    stage.consume(device, id)
    stage.mine(20 * SIZE)
    limits = Limits(blocks)
    with narrow(stage, limits) as node:
        assert stage.ask(device, id, desk=stage.desk(node)).outcome == UNCLEAR
    assert len(limits.ranges) <= 21
    assert stage.ask(device, id).outcome == RELEASED


def test_a_reading_that_takes_longer_than_devices_wait(
    stage: DeskStage, device: KeySigner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would keep one of the desk's few threads for minutes, and nobody would hear the answer."""
    monkeypatch.setattr(consumption, "AWAITED", 0.0)
    id = stage.license(device.address)
    stage.consume(device, id)
    limits = Limits(SIZE)
    with narrow(stage, limits) as node:
        assert stage.ask(device, id, desk=stage.desk(node)).outcome == UNCLEAR
    assert len(limits.ranges) == 1, "only the question for all"
    said = capsys.readouterr()
    assert "a node with a larger limit" in said.out + said.err
    assert stage.ask(device, id).outcome == RELEASED, "events that come at once are read whenever they come"


@pytest.mark.parametrize(("finality", "requests"), [(None, 1), (Finalized(), 2)])
def test_a_node_without_a_limit_is_asked_no_more(
    stage: DeskStage, device: KeySigner, finality: Any, requests: int
) -> None:
    id = stage.license(device.address)
    stage.consume(device, id)
    stage.mine(70)
    limits = Limits(10**9)
    with narrow(stage, limits) as node:
        desk = stage.desk(node, finality=finality)
        assert stage.ask(device, id, desk=desk).outcome == RELEASED
        limits.requests = 0
        assert stage.ask(device, id, desk=desk).outcome == RELEASED
    assert limits.requests == requests


@pytest.mark.parametrize("what", ["nothing", None, [], {}, 7, "0x"])
def test_a_window_with_a_field_that_is_none(stage: DeskStage, device: KeySigner, what: object) -> None:
    """At one of two nodes: at most a refusal for now."""
    id = stage.license(device.address)
    stage.consume(device, id)

    def spoil(method: str, result: Any) -> Any:
        for log in result if method == "eth_getLogs" and isinstance(result, list) else ():
            if what == "nothing":
                del log[name]
            else:
                log[name] = what
        return result

    names = ("address", "topics", "data", "blockNumber", "blockHash")
    with narrow(stage, Limits(SIZE)) as node:
        for name in names:
            desk = stage.desk(stage.chain.rpc, LyingNode(node, spoil), per_minute=10**6)
            assert stage.ask(device, id, desk=desk).outcome == UNCLEAR, name


class Between(Rpc):
    """Lets something happen after its n-th request with windows."""

    def __init__(self, rpc: Rpc, number: int, happen: Callable[[], None]) -> None:
        self._rpc = rpc
        self.left = number
        self._happen = happen

    def call(self, method: str, params: list[Any]) -> Any:
        return self._rpc.call(method, params)

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        answers = self._rpc.batch(calls)
        if any(method == "eth_getLogs" and params[0]["toBlock"] != "latest" for method, params in calls):
            self.left -= 1
            if self.left == 0:
                self._happen()
        return answers


@pytest.mark.parametrize("number", [1, 7, 9, 10])
def test_a_reorganisation_between_windows(stage: DeskStage, device: KeySigner, number: int) -> None:
    """The use comes into a window that was read before, and its failure with it: nothing old is believed."""
    chain = stage.chain
    id = stage.license(device.address, failures_allowed=1)
    stage.mine(15 * SIZE)
    snapshot = chain.rpc.call("evm_snapshot", [])
    stage.consume(device, id)
    stage.mine(8 * SIZE)

    def happen() -> None:
        chain.rpc.call("evm_revert", [snapshot])
        chain.rpc.call("evm_increaseTime", [1])
        stage.mine(5 * SIZE)
        stage.chain.send(device, stage.use_call(id, 1, recipient))
        stage.fail(device, id)
        stage.mine(3 * SIZE)

    recipient = stage.recipient(id)
    with narrow(stage, Limits(SIZE)) as node:
        between = Between(node, number, happen)
        assert stage.ask(device, id, desk=stage.desk(between)).outcome == (403, "failed")
    assert between.left <= 0


# --- the relay -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [Limits(SIZE), Limits(SIZE, status=413), Limits(SIZE, whole=True, status=400)],
    ids=["each", "status", "whole"],
)
def test_the_relay_settles(
    long: Chain, tmp_path: Path, template_database: bytes, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A use of its own batch, one that a stranger submitted, one that is refused, and a failure."""
    (tmp_path / "portal.db").write_bytes(template_database)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'portal.db'}")
    with limited_node(long.url, limits) as url:
        rpc = http_rpc(url)
        licenses = PrintLicense(rpc, long.licenses.address, long.licenses.since)
        chain = replace(long, rpc=rpc, licenses=licenses)
        stage = RelayStage(
            chain, sessionmaker(engine, expire_on_commit=False), long.account(), long.account()
        )
        device, stranger = long.account(), long.account()
        unread = stage.use(device, stage.license(device.address), copy=3)
        with monkeypatch.context() as late:
            late.setattr(relay, "AWAITED", 0.0)
            with pytest.raises(relay.ChainUnavailable):
                stage.send(device, unread)
        own, taken, other = (stage.license(device.address, failures_allowed=1) for _ in range(3))
        stage.send(device, stage.use(device, own))
        submitted = stage.use(device, taken)
        receipt = long.send(stranger, long.licenses.use_licenses_signed_call([submitted]))
        long.rpc.call("anvil_mine", [hex(5 * SIZE)])
        stage.send(device, submitted)
        stage.slip_in(device, stage.use(device, other, copy=3))
        stage.settle()
        assert stage.states() == [("done", None), ("done", None), ("refused", "CopyOutOfOrder")]
        stage.send(device, stage.failure(device, own))
        stage.settle()
        assert stage.states()[-1] == ("done", None)
        assert stage.entry(2).transaction_hash == receipt["transactionHash"]
    engine.dispose()
