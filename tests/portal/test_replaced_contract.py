"""Another contract takes the place of the one of now: who has paid under the old one still gets a key."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from portal.desk_stage import DeskStage, make_stage, stop

from imprimatur.address_book import Deployment, path_for, store
from imprimatur.chain.print_license import CONTRACT
from imprimatur.chain.rpc import HttpRpc
from imprimatur.chain.signers import KeySigner
from support.limited_node import Limits, limited_node
from support.node import Chain, deploy_contracts

RELEASED = (200, "released")


@pytest.fixture
def stage(anvil: Chain, tmp_path: Path, template_database: bytes) -> Iterator[DeskStage]:
    stage = make_stage(anvil, tmp_path, template_database)
    yield stage
    stage.close()


@pytest.fixture
def device(stage: DeskStage) -> KeySigner:
    signer = stage.chain.account()
    stage.know(signer)
    return signer


def replaced(stage: DeskStage) -> DeskStage:
    """The same portal with a new contract; its address book retires the one of before."""
    licenses, devices = deploy_contracts(stage.chain.rpc)
    chain = replace(stage.chain, licenses=licenses, devices=devices)
    store(
        stage.folder / "deployments",
        Deployment(chain.chain_id, CONTRACT, licenses.address, licenses.since, "0x" + "0" * 64),
    )
    return replace(stage, chain=chain)


def test_a_paid_copy_of_a_retired_contract_gets_its_key(stage: DeskStage, device: KeySigner) -> None:
    """By an answer in that contract's name: the device, which knows no other, takes nothing else."""
    id = stage.license(device.address, failures_allowed=2)
    stage.consume(device, id)
    assert stage.ask(device, id).outcome == RELEASED
    now = replaced(stage)
    for desk in (stage.app, stage.desk()):  # one that was running meanwhile, and one that was started again
        asked = stage.ask(device, id, desk=desk)
        assert asked.outcome == RELEASED
        assert asked.file_key(stage.job_keys[id, 1]) == stage.file_keys[id]
    new = now.license(device.address)
    now.consume(device, new)
    for desk in (stage.app, stage.desk()):
        assert now.ask(device, new, desk=desk).outcome == RELEASED


def test_what_the_retired_contract_refuses_stays_refused(stage: DeskStage, device: KeySigner) -> None:
    failed, unused, stopped = (stage.license(device.address, failures_allowed=2) for _ in range(3))
    for id in (failed, stopped):
        stage.consume(device, id)
    stage.fail(device, failed)
    stop(stage, stopped)
    replaced(stage)
    desk, other = stage.desk(), stage.chain.account()
    stage.know(other)
    assert stage.ask(device, failed, desk=desk).outcome == (403, "failed")
    assert stage.ask(other, stopped, recipient=stage.recipient(stopped), desk=desk).outcome == (
        403,
        "other_device",
    )
    assert stage.ask(device, stopped, desk=desk).outcome == (403, "stopped")
    assert stage.ask(device, unused, recipient=b"\x09" * 32, desk=desk).outcome == (425, "not_consumed")


def test_a_use_of_the_new_contract_is_none_of_the_old(stage: DeskStage, device: KeySigner) -> None:
    """The same license number, issued on both: each counts for itself."""
    old = stage.license(device.address, number="7")
    now = replaced(stage)
    order = now.chain.order(now.owner.address, device.address, "ab" * 32, 4, "7")
    assert order.id == old
    now.chain.send(now.owner, now.chain.licenses.issue_call(order))
    now.consume(device, old)
    recipient = stage.recipient(old)
    assert stage.ask(device, old, recipient=recipient, desk=stage.desk()).outcome == (425, "not_consumed")


def test_an_operator_who_no_longer_believes_a_contract(
    stage: DeskStage, device: KeySigner, capsys: pytest.CaptureFixture[str]
) -> None:
    """She deletes it from the list. The device is told, in a signed answer, that the fault is the desk's."""
    id = stage.license(device.address)
    stage.consume(device, id)
    replaced(stage)
    path = path_for(stage.folder / "deployments", stage.chain.chain_id)
    book = json.loads(path.read_text())
    del book["contracts"][CONTRACT]["retired"]
    path.write_text(json.dumps(book))
    assert stage.ask(device, id, desk=stage.desk()).outcome == (503, "no_key")
    said = capsys.readouterr()
    assert "desk_contract_not_in_book" in said.out + said.err
    assert stage.contract in said.out + said.err
    assert stage.audit() == [(1, False, "no_key")]


def test_a_book_that_is_torn_meanwhile(stage: DeskStage, device: KeySigner) -> None:
    id = stage.license(device.address)
    stage.consume(device, id)
    replaced(stage)
    desk = stage.desk()
    assert stage.ask(device, id, desk=desk).outcome == RELEASED
    path_for(stage.folder / "deployments", stage.chain.chain_id).write_text("{")
    assert stage.ask(device, id, desk=desk).outcome == (503, "chain_unavailable")


def test_the_first_block_of_a_retired_contract_is_not_needed(stage: DeskStage, device: KeySigner) -> None:
    """The address book doesn't keep it: a node with a limit is read back to the license's issuing."""
    stage.mine(100)
    id = stage.license(device.address)
    stage.consume(device, id)
    replaced(stage)
    limits = Limits(5)
    with limited_node(stage.chain.url, limits) as url:
        assert stage.ask(device, id, desk=stage.desk(HttpRpc(url, retries=0))).outcome == RELEASED
    assert len(limits.ranges) < 15


def test_a_copy_of_the_book_beside_it(stage: DeskStage, device: KeySigner) -> None:
    """Kept by an operator who edits by hand. While no node answers, the book alone says which chain it is."""
    id = stage.license(device.address)
    stage.consume(device, id)
    (stage.folder / "deployments" / f"{stage.chain.chain_id}-old.json").write_text("{}")
    desk = stage.desk(HttpRpc("http://127.0.0.1:1", retries=0))
    assert stage.ask(device, id, desk=desk).outcome == (503, "chain_unavailable")
