"""Who wants a key that isn't his due: each attack of the threat model against a real contract."""

import copy as copying
import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from portal.desk_stage import KEYS, ORIGIN, URL, DeskStage, desk_app, make_stage, stop

from app.models import Design, KeyAudit, License, RelayEntry, RelayKind, RelayState
from app.services.desk_keys import DeskKeys
from imprimatur import sealing
from imprimatur.address_book import Deployment, store
from imprimatur.chain.outbox.rules import Confirmations, Finalized
from imprimatur.chain.print_license import CONTRACT
from imprimatur.chain.rpc import HttpRpc, NodeRefused, Rpc
from imprimatur.chain.signers import KeySigner, Signer
from imprimatur.device_auth import authorization
from imprimatur.license_id import format_id
from support.node import Chain, deploy_contracts

Lie = Callable[[str, Any], Any]
"""Gets a method and the node's result, and gives what the desk is told."""
REFUSED_FOR_NOW = (503, "chain_unavailable")


class LyingNode(Rpc):
    """Tells `lie` of what the node behind it says."""

    def __init__(self, rpc: Rpc, lie: Lie) -> None:
        self.rpc = rpc
        self.lie = lie

    def call(self, method: str, params: list[Any]) -> Any:
        return self.lie(method, self.rpc.call(method, params))

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        answers = [a if isinstance(a, NodeRefused) else copying.deepcopy(a) for a in self.rpc.batch(calls)]
        return [self.lie(method, answer) for (method, _), answer in zip(calls, answers, strict=True)]


def about_logs(change: Callable[[list[dict[str, Any]]], Any]) -> Lie:
    return lambda method, result: change(result) if method == "eth_getLogs" else result


@pytest.fixture
def stage(anvil: Chain, tmp_path: Path, template_database: bytes) -> Iterator[DeskStage]:
    snapshot = anvil.rpc.call("evm_snapshot", [])
    stage = make_stage(anvil, tmp_path, template_database)
    yield stage
    stage.close()
    anvil.rpc.call("evm_revert", [snapshot])


@pytest.fixture
def device(stage: DeskStage) -> KeySigner:
    """A wallet in the owner's list."""
    signer = stage.chain.account()
    stage.know(signer)
    return signer


@pytest.fixture
def used(stage: DeskStage, device: KeySigner) -> int:
    """A license whose first copy is consumed; its key is due."""
    id = stage.license(device.address, failures_allowed=4)
    stage.consume(device, id)
    return id


def topic(stage: DeskStage, event: str) -> str:
    return stage.chain.licenses.interface.topic(event)


# --- refund, then key --------------------------------------------------------------------------------------


def test_refund_then_key(stage: DeskStage, device: KeySigner, used: int) -> None:
    stage.fail(device, used)
    assert stage.ask(device, used).outcome == (403, "failed")


def test_a_refund_that_is_not_final_yet(stage: DeskStage, device: KeySigner, used: int) -> None:
    desk = stage.desk(finality=Confirmations(3))
    stage.mine(3)
    stage.fail(device, used)
    assert stage.ask(device, used, desk=desk).outcome == (403, "failed")
    desk = stage.desk(finality=Finalized())
    stage.mine(200)
    other = stage.license(device.address, failures_allowed=1)
    stage.consume(device, other)
    stage.mine(200)
    stage.fail(device, other)
    assert stage.ask(device, other, desk=desk).outcome == (403, "failed")


def test_a_refund_of_another_copy(stage: DeskStage, device: KeySigner, used: int) -> None:
    stage.consume(device, used, 2)
    stage.fail(device, used, 1)
    assert stage.ask(device, used, 1).outcome == (403, "failed")
    assert stage.ask(device, used, 2).outcome == (200, "released")


def test_a_refund_that_the_chain_took_back(stage: DeskStage, device: KeySigner, used: int) -> None:
    snapshot = stage.chain.rpc.call("evm_snapshot", [])
    stage.fail(device, used)
    assert stage.ask(device, used).outcome == (403, "failed")
    stage.chain.rpc.call("evm_revert", [snapshot])
    assert stage.ask(device, used).outcome == (200, "released")


def test_a_copy_granted_in_its_place_then_key(stage: DeskStage, device: KeySigner, used: int) -> None:
    """The owner has settled the dispute; the old key on top would be a free print."""
    stage.consume(device, used, 2)
    stage.chain.send(stage.owner, stage.chain.licenses.grant_copies_call(used, 1, 1))
    assert stage.ask(device, used, 1).outcome == (403, "failed")
    assert stage.ask(device, used, 2).outcome == (200, "released")


# --- who asks, and for whom --------------------------------------------------------------------------------


def test_another_recipient(stage: DeskStage, device: KeySigner, used: int) -> None:
    thief = sealing.public_key(sealing.new_key())
    assert stage.ask(device, used, recipient=thief).outcome == (403, "other_recipient")
    assert stage.ask(device, used).outcome == (200, "released")
    assert stage.ask(device, used, recipient=thief).outcome == (403, "other_recipient")


def test_another_device(stage: DeskStage, device: KeySigner, used: int) -> None:
    """Neither a stranger nor another known device, though they know the recipient from the chain."""
    known = stage.chain.account()
    stage.know(known)
    for thief in (known, stage.chain.account()):
        assert stage.ask(thief, used).outcome == (403, "other_device")


def test_another_device_of_the_same_wallet(stage: DeskStage) -> None:
    wallet, one, two = (stage.chain.account() for _ in range(3))
    for device in (one, two):
        stage.chain.bind(wallet, device)
    id = stage.license(wallet.address)
    stage.consume(one, id)
    for thief in (two, wallet):
        assert stage.ask(thief, id).outcome == (403, "other_device")
    assert stage.ask(one, id).outcome == (200, "released")


# --- reorganisations ---------------------------------------------------------------------------------------


def test_a_use_that_the_chain_replaces(stage: DeskStage, device: KeySigner) -> None:
    desk, rpc = stage.desk(finality=Confirmations(3)), stage.chain.rpc
    id = stage.license(device.address)
    snapshot = rpc.call("evm_snapshot", [])
    stage.consume(device, id)
    first = stage.recipient(id)
    stage.mine(2)
    assert stage.ask(device, id, desk=desk).outcome == (425, "not_final")
    rpc.call("evm_revert", [snapshot])
    stage.mine(5)
    assert stage.ask(device, id, recipient=first, desk=desk).outcome == (425, "not_consumed")
    stage.consume(device, id)
    stage.mine(3)
    assert stage.ask(device, id, recipient=first, desk=desk).outcome == (403, "other_recipient")
    assert stage.ask(device, id, desk=desk).outcome == (200, "released")


def test_blocks_are_swapped_under_it(stage: DeskStage, device: KeySigner) -> None:
    """anvil puts other blocks, without the use, in the place of the newest ones."""
    desk = stage.desk(finality=Confirmations(2))
    id = stage.license(device.address)
    stage.consume(device, id)
    stage.mine(1)
    assert stage.ask(device, id, desk=desk).outcome == (425, "not_final")
    stage.chain.rpc.call("anvil_reorg", [2, []])
    assert stage.ask(device, id, desk=desk).outcome == (425, "not_consumed")
    stage.mine(5)
    assert stage.ask(device, id, desk=desk).outcome == (425, "not_consumed")


@pytest.mark.parametrize("field", ["hash", "parentHash"])
def test_confirmations_must_hang_together(stage: DeskStage, device: KeySigner, used: int, field: str) -> None:
    """Behind a balancer, heads and events may come from different branches."""
    stage.mine(3)
    head = stage.chain.rpc.call("eth_blockNumber", [])

    def other_branch(method: str, result: Any) -> Any:
        if method == "eth_getBlockByNumber" and result["number"] != head:
            result[field] = "0x" + "17" * 32
        return result

    desk = stage.desk(LyingNode(stage.chain.rpc, other_branch), finality=Confirmations(3))
    assert stage.ask(device, used, desk=desk).outcome == (425, "not_final")


# --- replay ------------------------------------------------------------------------------------------------


def signed(stage: DeskStage, device: KeySigner, id: int, target: str = URL) -> tuple[bytes, str]:
    body = {"id": format_id(id), "copy": 1, "keyRecipient": stage.recipient(id).hex()}
    data = json.dumps(body).encode()
    return data, authorization(device, "POST", ORIGIN, target, data)


def post(stage: DeskStage, data: bytes, header: str) -> int:
    return stage.app.test_client().post(URL, data=data, headers={"Authorization": header}).status_code


def test_a_replayed_request(stage: DeskStage, device: KeySigner, used: int) -> None:
    data, header = signed(stage, device, used)
    assert post(stage, data, header) == 200
    assert [post(stage, data, header) for _ in range(3)] == [401] * 3
    # Before anything is asked of it: not even how many answers the device has had.
    asked = stage.ask(device, used, header=header, desk=stage.desk(per_minute=1))
    assert asked.status == 401
    assert stage.audit() == [(1, True, None)]


def test_a_request_captured_elsewhere(stage: DeskStage, device: KeySigner, used: int) -> None:
    """At the device's portal, or at another desk: neither can fetch an answer here, or use up a nonce."""
    data, header = signed(stage, device, used)
    for origin in ("http://127.0.0.1:5000", "https://127.0.0.1:5001", "https://other.example"):
        captured = authorization(device, "POST", origin, URL, data)
        for host in ("127.0.0.1:5001", origin.partition("://")[2]):
            answer = stage.app.test_client().post(
                URL, data=data, headers={"Authorization": captured, "Host": host}
            )
            assert (answer.status_code, answer.content_type) == (401, "application/problem+json")
            assert answer.get_json()["type"] == "urn:imprimatur:problem:not_authentic"
            assert "IMPRIMATUR_DESK_URL" in answer.get_json()["detail"]
            assert answer.headers["WWW-Authenticate"] == "Imprimatur"
    elsewhere = stage.desk(desk_url="https://desk.example/keys")
    there = authorization(device, "POST", "https://desk.example", f"/keys{URL}", data)
    for status, sent in ((401, header), (200, there)):
        answer = elsewhere.test_client().post(URL, data=data, headers={"Authorization": sent})
        assert answer.status_code == status
    assert post(stage, data, there) == 401
    assert post(stage, data, header) == 200


def test_a_request_sent_many_times_at_once(stage: DeskStage, device: KeySigner, used: int) -> None:
    data, header = signed(stage, device, used)
    with ThreadPoolExecutor(6) as pool:
        done = sorted(pool.map(lambda _: post(stage, data, header), range(6)))
    assert done == [200] + [401] * 5
    assert stage.audit() == [(1, True, None)]


def test_a_signature_is_for_one_request(
    stage: DeskStage, device: KeySigner, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, header = signed(stage, device, used)
    thief = stage.chain.account()
    assert post(stage, data + b" ", header) == 401
    assert post(stage, *signed(stage, device, used, "/api/v1/device/uses")) == 401
    assert post(stage, data, header.replace(device.address, thief.address)) == 401
    assert post(stage, data, "Imprimatur nonsense") == 401
    old = time.time() - 300
    with monkeypatch.context() as patch:
        patch.setattr("imprimatur.device_auth.time.time", lambda: old)
        late = authorization(device, "POST", ORIGIN, URL, data)
    assert post(stage, data, late) == 401
    assert stage.audit() == []


# --- the owner's stop --------------------------------------------------------------------------------------


def test_stop_and_resume(stage: DeskStage, device: KeySigner, used: int) -> None:
    stop(stage, used)
    asked = stage.ask(device, used)
    assert asked.outcome == (403, "stopped")
    assert "Retry-After" not in asked.headers
    # It's her statement that a copy is owed, so only whom it's owed hears it.
    stage.consume(device, used, 2)
    stage.fail(device, used, 2)
    assert stage.ask(device, used, 2).outcome == (403, "failed")
    assert stage.ask(device, used, 3, bytes(31) + b"\x09").outcome == (425, "not_consumed")
    stop(stage, used, stopped=False)
    assert stage.ask(device, used).outcome == (200, "released")


def test_a_stop_while_nodes_are_asked(stage: DeskStage, device: KeySigner, used: int) -> None:
    def stopping(method: str, result: Any) -> Any:
        if method == "eth_getLogs":
            stop(stage, used)
        return result

    desk = stage.desk(LyingNode(stage.chain.rpc, stopping))
    assert stage.ask(device, used, desk=desk).outcome == (403, "stopped")


# --- hidden and forged events ------------------------------------------------------------------------------


def test_forged_rows_change_nothing(stage: DeskStage, device: KeySigner) -> None:
    """Whatever the portal's tables say about uses: the desk asks its nodes."""
    id = stage.license(device.address)
    recipient = sealing.public_key(sealing.new_key())
    with stage.sessions() as session:
        session.add(
            RelayEntry(
                digest="0x" + "1" * 64,
                kind=RelayKind.USE,
                license_id=format_id(id),
                copy=1,
                device=device.address,
                message={"keyRecipient": recipient.hex()},
                deadline=2**40,
                state=RelayState.DONE,
                transaction_hash="0x" + "2" * 64,
                block_number=1,
            )
        )
        session.add(
            KeyAudit(
                license_id=format_id(id),
                copy=1,
                device=device.address,
                key_recipient=recipient.hex(),
                released=True,
                answer_hash="0" * 64,
            )
        )
        session.commit()
    assert stage.ask(device, id, recipient=recipient).outcome == (425, "not_consumed")


def test_the_key_of_another_file_in_the_row(stage: DeskStage, device: KeySigner, used: int) -> None:
    """A cheap license must not open a dear file, whoever writes to the portal's tables."""
    dear = stage.license(device.address)
    with stage.sessions() as session:
        row, victim = session.get(License, format_id(used)), session.get(License, format_id(dear))
        assert row is not None
        assert victim is not None
        original = row.signed_manifest
        row.design_id, row.file_hash = victim.design_id, victim.file_hash
        session.commit()
        assert stage.ask(device, used).outcome == (503, "no_key")
        row.signed_manifest, row.manifest_hash = victim.signed_manifest, victim.manifest_hash
        session.commit()
        assert stage.ask(device, used).outcome == (503, "no_key")
        row.signed_manifest = original
        cheap = sa.update(Design).where(Design.id == victim.design_id)
        session.execute(cheap.values(sha256="0" * 64, key_commitment="1" * 64))
        session.commit()
        assert stage.ask(device, used).outcome == (503, "no_key")


def test_a_clone_contract(stage: DeskStage, device: KeySigner) -> None:
    """Identical events at another address, told by an honest node and by one that mixes them in."""
    id = stage.license(device.address)
    clone, _ = deploy_contracts(stage.chain.rpc)
    license = stage.chain.licenses.license_of(id)
    assert license is not None
    order = stage.chain.order(
        stage.owner.address, device.address, license.file_hash, 4, "clone", manifest_hash=b"\x01" * 32
    )
    stage.chain.send(stage.owner, clone.issue_call(order), clone)
    recipient = sealing.public_key(sealing.new_key())
    call = clone.use_license_and_log_call(
        order.id, license.file_hash, 1, recipient, b"\x01" * 32, b"\x02" * 32
    )
    stage.chain.send(device, call, clone)
    logs = stage.chain.rpc.call("eth_getLogs", [{"address": clone.address, "fromBlock": "0x0"}])
    used = topic(stage, "LicenseUsed")
    forged = [log for log in logs if log["topics"][0] == used]
    for log in forged:
        log["topics"][1] = format_id(id)
    assert stage.ask(device, id, recipient=recipient).outcome == (425, "not_consumed")
    desk = stage.desk(LyingNode(stage.chain.rpc, about_logs(lambda logs: logs + forged)))
    assert stage.ask(device, id, recipient=recipient, desk=desk).outcome == REFUSED_FOR_NOW


def test_one_of_two_nodes_hides_the_refund(stage: DeskStage, device: KeySigner, used: int) -> None:
    stage.fail(device, used)
    hidden = topic(stage, "PrintFailed")
    liar = LyingNode(
        stage.chain.rpc, about_logs(lambda logs: [log for log in logs if log["topics"][0] != hidden])
    )
    for nodes in ((liar, stage.chain.rpc), (stage.chain.rpc, liar)):
        assert stage.ask(device, used, desk=stage.desk(*nodes)).outcome == REFUSED_FOR_NOW
    assert stage.ask(device, used).outcome == (403, "failed")


def test_one_of_two_nodes_invents_a_use(stage: DeskStage, device: KeySigner, used: int) -> None:
    victim = stage.license(device.address)
    recipient = sealing.public_key(sealing.new_key())
    event = next(stage.chain.licenses.events("LicenseUsed", id=used))
    real = stage.chain.rpc.call(
        "eth_getLogs", [{"address": stage.chain.licenses.address, "blockHash": event.block_hash}]
    )
    use = next(log for log in real if log["topics"][0] == topic(stage, "LicenseUsed"))
    license = stage.chain.licenses.license_of(victim)
    assert license is not None
    use["topics"][1] = format_id(victim)
    use["data"] = f"0x{1:064x}{license.file_hash}{recipient.hex()}"
    liar = LyingNode(stage.chain.rpc, about_logs(lambda logs: [*logs, use]))
    assert stage.ask(device, victim, recipient=recipient, desk=stage.desk(liar)).outcome == (200, "released")
    for nodes in ((liar, stage.chain.rpc), (stage.chain.rpc, liar)):
        asked = stage.ask(device, victim, recipient=recipient, desk=stage.desk(*nodes))
        assert asked.outcome == REFUSED_FOR_NOW


@pytest.mark.parametrize("word", [0, 1, 2, "device"])
def test_one_of_two_nodes_forges_the_use(
    stage: DeskStage, device: KeySigner, used: int, word: int | str
) -> None:
    def forge(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for log in logs:
            if log["topics"][0] == topic(stage, "LicenseUsed"):
                if isinstance(word, str):
                    log["topics"][2] = "0x" + "00" * 12 + "17" * 20
                else:
                    start = 2 + 64 * word
                    log["data"] = log["data"][:start] + f"{7:064x}" + log["data"][start + 64 :]
        return logs

    liar = LyingNode(stage.chain.rpc, about_logs(forge))
    for nodes in ((liar, stage.chain.rpc), (stage.chain.rpc, liar)):
        assert stage.ask(device, used, desk=stage.desk(*nodes)).outcome == REFUSED_FOR_NOW
    # Alone it gets no further: the event names whom the key is for, and the manifest which file.
    assert stage.ask(device, used, desk=stage.desk(liar)).outcome[1] != "released"


def test_one_of_two_nodes_lags(stage: DeskStage, device: KeySigner, used: int) -> None:
    def lag(method: str, result: Any) -> Any:
        if method == "eth_blockNumber":
            return hex(int(result, 16) - 1)
        return [] if method == "eth_getLogs" else result

    desk = stage.desk(stage.chain.rpc, LyingNode(stage.chain.rpc, lag))
    assert stage.ask(device, used, desk=desk).outcome == (425, "not_final")


@pytest.mark.parametrize("what", ["nothing", None, [], {}, 7, "0x"])
def test_a_log_with_a_field_that_is_none(
    stage: DeskStage, device: KeySigner, used: int, what: object
) -> None:
    """In each field of each log, at one of two nodes: at most a refusal for now."""
    node = stage.chain.rpc
    query = {"address": stage.chain.licenses.address, "fromBlock": "0x0", "topics": [None, format_id(used)]}
    logs = node.call("eth_getLogs", [query])
    for index, log in enumerate(logs):
        for name in log:

            def spoil(logs: list[Any], index: int = index, name: str = name) -> list[Any]:
                # Other events of the license aren't asked for.
                if index < len(logs) and what == "nothing":
                    del logs[index][name]
                elif index < len(logs):
                    logs[index][name] = what
                return logs

            desk = stage.desk(node, LyingNode(node, about_logs(spoil)), per_minute=10**6)
            assert stage.ask(device, used, desk=desk).outcome in ((200, "released"), REFUSED_FOR_NOW), name


TEXTS = st.sampled_from(["", "0x", "0x1", "0x" + "f" * 64, "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**70) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_whatever_one_of_two_nodes_says(
    stage: DeskStage, device: KeySigner, used: int, data: st.DataObject
) -> None:
    """A lie in any place of its answers never makes the desk refuse for good what an honest node shows."""

    def lie(method: str, result: Any) -> Any:
        if method != chosen:
            return result
        whole = [result]
        place: Any = whole
        key: Any = 0
        while isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 3)):
            place = place[key]
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place, dict) and data.draw(st.booleans()):
            del place[key]
        else:
            place[key] = data.draw(JSON)
        return whole[0]

    chosen = data.draw(st.sampled_from(["eth_chainId", "eth_blockNumber", "eth_getLogs"]))
    liar = LyingNode(stage.chain.rpc, lie)
    nodes = data.draw(st.permutations([liar, stage.chain.rpc]))
    asked = stage.ask(device, used, desk=stage.desk(*nodes, per_minute=10**6))
    assert asked.outcome in ((200, "released"), (425, "not_final"), REFUSED_FOR_NOW)


# --- the audit can't be written ----------------------------------------------------------------------------


@contextmanager
def pragmas(*statements: str) -> Iterator[None]:
    """SQLite settings for every connection that is opened meanwhile."""

    def apply(connection: Any, _record: Any) -> None:
        for statement in statements:
            connection.execute(f"PRAGMA {statement}").close()

    sa.event.listen(sa.Engine, "connect", apply)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "connect", apply)


def refused_without_trace(stage: DeskStage, device: KeySigner, used: int, desk: Any) -> None:
    asked = stage.ask(device, used, desk=desk)
    assert asked.outcome == (503, "unavailable")
    assert "Retry-After" in asked.headers
    assert stage.audit() == []


def test_a_locked_database(stage: DeskStage, device: KeySigner, used: int) -> None:
    with pragmas("busy_timeout=100"):
        desk = stage.desk()
        with stage.sessions() as other:
            other.execute(sa.text("BEGIN IMMEDIATE"))
            refused_without_trace(stage, device, used, desk)
            other.rollback()
        assert stage.ask(device, used, desk=desk).outcome == (200, "released")


def test_a_read_only_database(stage: DeskStage, device: KeySigner, used: int) -> None:
    with pragmas("query_only=ON"):
        refused_without_trace(stage, device, used, stage.desk())


def test_a_full_disk(stage: DeskStage, device: KeySigner, used: int) -> None:
    with stage.sessions() as session:
        # So that the next rows need a page that isn't there.
        session.execute(sa.text("CREATE TABLE ballast (bytes BLOB)"))
        session.commit()
    with pragmas("max_page_count=1"):  # SQLite raises it to what the file has
        desk = stage.desk()
        outcomes = []
        for _ in range(60):
            outcomes.append(stage.ask(device, used, desk=desk).outcome)
            if outcomes[-1] != (200, "released"):
                break
    assert outcomes[-1] == (503, "unavailable")
    # Exactly the keys that left are in the audit.
    assert stage.audit() == [(1, True, None)] * (len(outcomes) - 1)


def test_a_table_that_refuses(stage: DeskStage, device: KeySigner, used: int) -> None:
    with stage.sessions() as session:
        session.execute(
            sa.text("CREATE TRIGGER no BEFORE INSERT ON key_audit BEGIN SELECT RAISE(ABORT, 'no'); END")
        )
        session.commit()
    refused_without_trace(stage, device, used, stage.desk())
    with stage.sessions() as session:
        session.execute(sa.text("DROP TRIGGER no"))
        session.commit()
    # The nonce went with the row: the very same request may be sent again.
    assert stage.ask(device, used).outcome == (200, "released")


def test_a_database_that_is_gone(stage: DeskStage, device: KeySigner, used: int, tmp_path: Path) -> None:
    desk = stage.desk(database_url=f"sqlite:///{tmp_path / 'none' / 'portal.db'}")
    assert stage.ask(device, used, desk=desk).outcome == (503, "unavailable")


# --- killed between the audit's commit and the answer ------------------------------------------------------


class DyingSigner:
    """Ends the process when it should sign: the audit row is committed then, the answer not sent."""

    def __init__(self, signer: Signer) -> None:
        self.address = signer.address

    def sign_typed_data(self, *_arguments: Any) -> str:
        os._exit(9)


def ask_and_die(options: Any, url: str, data: bytes, header: str) -> None:
    dying: Any = DyingSigner(KEYS.signer)
    keys = DeskKeys(dying, KEYS.vault)
    app = desk_app(options, [HttpRpc(url)], 60, None, keys=keys)
    app.test_client().post(URL, data=data, headers={"Authorization": header})


def test_killed_before_the_answer(stage: DeskStage, device: KeySigner, used: int) -> None:
    arguments = (stage.options, stage.chain.url, *signed(stage, device, used))
    process = multiprocessing.get_context("spawn").Process(target=ask_and_die, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert stage.audit() == [(1, True, None)]
    asked = stage.ask(device, used)
    assert asked.file_key(stage.job_keys[used, 1]) == stage.file_keys[used]
    assert stage.audit() == [(1, True, None)] * 2


# --- nodes that are no help --------------------------------------------------------------------------------


@contextmanager
def server(answer: bytes | None) -> Iterator[str]:
    """URL of a server that sends `answer` to everybody, or nothing at all."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()
    held: list[socket.socket] = []

    def serve() -> None:
        listening.settimeout(0.05)
        while not stopping.is_set():
            try:
                peer, _ = listening.accept()
            except TimeoutError:
                continue
            held.append(peer)
            if answer is not None:
                peer.recv(65536)
                peer.sendall(answer)
                peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        stopping.set()
        thread.join()
        for peer in held:
            peer.close()
        listening.close()


def http(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"\x00garbage\r\n\r\n",
        http(b"<html>maintenance</html>"),
        http(b"[" * 100_000),
        http(b'{"jsonrpc":"2.0","id":1,"result":"0x1"}'),
        http(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"limit exceeded"}}'),
    ],
)
def test_a_node_that_is_no_help(stage: DeskStage, device: KeySigner, used: int, answer: bytes | None) -> None:
    """From the start, and one that was well before; alone, and beside an honest one."""
    with server(answer) as url:
        bad = HttpRpc(url, 0.3, deadline=0.3, retries=0)
        for nodes in ([bad], [stage.chain.rpc, bad]):
            assert stage.ask(device, used, desk=stage.desk(*nodes)).outcome == REFUSED_FOR_NOW
        nodes = [stage.chain.rpc]
        changing = LyingNode(stage.chain.rpc, lambda _method, result: result)
        desk = stage.desk(changing)
        assert stage.ask(device, used, desk=desk).outcome == (200, "released")
        changing.rpc = bad
        assert stage.ask(device, used, desk=desk).outcome == REFUSED_FOR_NOW


def test_a_node_that_is_down(stage: DeskStage, device: KeySigner, used: int) -> None:
    down = HttpRpc("http://127.0.0.1:1", retries=0)
    for nodes in ([down], [stage.chain.rpc, down]):
        asked = stage.ask(device, used, desk=stage.desk(*nodes))
        assert asked.outcome == REFUSED_FOR_NOW
        assert "Retry-After" in asked.headers


def test_no_contract_is_known(stage: DeskStage, device: KeySigner, used: int, tmp_path: Path) -> None:
    """Without a contract there's nothing in whose name to sign."""
    (tmp_path / "empty").mkdir()
    asked = stage.ask(device, used, desk=stage.desk(deployments=tmp_path / "empty"))
    assert asked.answer is None
    assert asked.status == 503
    assert "Retry-After" in asked.headers


def test_the_wrong_chain(stage: DeskStage, device: KeySigner, used: int) -> None:
    """A node of another chain, where somebody may have made the same contract and the same use."""

    def elsewhere(method: str, result: Any) -> Any:
        return hex(1) if method == "eth_chainId" else result

    other = LyingNode(stage.chain.rpc, elsewhere)
    for nodes in ([other], [stage.chain.rpc, other]):
        assert stage.ask(device, used, desk=stage.desk(*nodes)).outcome == REFUSED_FOR_NOW
    changing = LyingNode(stage.chain.rpc, lambda _method, result: result)
    desk = stage.desk(changing)
    assert stage.ask(device, used, desk=desk).outcome == (200, "released")
    changing.lie = elsewhere
    assert stage.ask(device, used, desk=desk).outcome == REFUSED_FOR_NOW
    assert desk.test_client().get("/healthz").status_code == 503


def test_a_manifest_for_another_chain(stage: DeskStage, device: KeySigner, used: int, tmp_path: Path) -> None:
    """A test chain in the address book, with the same contract at the same address: its uses open nothing."""
    book = Deployment(1, CONTRACT, stage.chain.licenses.address, 0, "0x" + "0" * 64)
    store(tmp_path / "books", book)

    def elsewhere(method: str, result: Any) -> Any:
        return hex(1) if method == "eth_chainId" else result

    node = LyingNode(stage.chain.rpc, elsewhere)
    desk = stage.desk(node, deployments=tmp_path / "books", finality=Confirmations(0))
    body, header = signed(stage, device, used)
    done = desk.test_client().post(URL, data=body, headers={"Authorization": header})
    assert (done.status_code, done.get_json()["answer"]["reason"]) == (503, "no_key")
