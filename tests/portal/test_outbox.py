"""What the worker does when something isn't as it should be."""

import json
import time
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from portal.stage import Party, TestChain, refreshed
from sqlalchemy.orm import Session

from app.chain import ChainConnection
from app.jobs import worker as worker_module
from app.jobs.worker import Worker
from app.models import Attempt, Design, IntentState, License, Printer, WorkerStatus
from app.models.base import now
from app.services import issuing
from app.services.issuing import Terms
from app.services.outbox import Orders, order_outbox
from app.services.relay_batches import RelayBatches
from app.settings import Settings
from imprimatur.chain.outbox import records
from imprimatur.chain.print_license import Order
from imprimatur.chain.rpc import NodeRefused
from imprimatur.chain.signers import KeySigner, SignerUnusable
from imprimatur.license_id import number_from_text


@pytest.fixture
def license(
    app: Flask, session: Session, owner: Party, design: Design, printer: Printer, allowed: None
) -> License:
    chain = app.extensions["imprimatur"].chain
    return issuing.order_license(session, chain, owner.user, Terms("AS-1", design, printer, 3), now().date())


def own_order(owner: Party, license: License, copies: int = 3) -> Order:
    return Order(
        owner=owner.signer.address,
        number=number_from_text(license.number),
        printer=license.printer_address,
        file_hash=license.file_hash,
        copies=copies,
        deadline=int(time.time()) + 3600,
        manifest_hash=bytes.fromhex(license.manifest_hash or "00" * 32),
    )


def test_the_node_is_down(
    session: Session, chain: TestChain, worker: Worker, owner: Party, license: License
) -> None:
    chain.node.down = True
    assert not worker.step()
    waiting = refreshed(session, license).intent
    assert (waiting.state, waiting.reason) == (IntentState.QUEUED, "node_unreachable")
    page = owner.client.get(f"/licenses/{license.id}").get_data(as_text=True)
    assert "goes out as soon as it does" in page
    chain.node.down = False
    while worker.step():
        pass
    assert refreshed(session, license).intent.state is IntentState.DONE


def test_a_relay_that_cant_work_keeps_no_order_waiting(
    session: Session, worker: Worker, license: License, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_batches: RelayBatches) -> int:
        raise NodeRefused(-32005, "query exceeds max block range")

    monkeypatch.setattr(RelayBatches, "step", refuse)
    while worker.step():
        pass
    assert refreshed(session, license).intent.state is IntentState.DONE
    told = session.get(WorkerStatus, 1)
    assert told is not None
    assert told.problem == "node_refused"


def test_orders_wait_while_the_node_is_down(
    session: Session, chain: TestChain, owner: Party, design: Design, printer: Printer, operator: KeySigner
) -> None:
    chain.node.down = True
    fields = {"design": design.id, "printer": printer.id, "number": "AS-9", "copies": 1}
    answer = owner.post("/licenses", **fields)
    assert answer.status_code == 303
    assert owner.client.get(answer.location).status_code == 200


def test_the_portal_has_no_ether(
    app: Flask, session: Session, chain: TestChain, worker: Worker, owner: Party, license: License
) -> None:
    poor = chain.account(ether=0)
    chain.authorize(owner.signer, poor.address)
    outbox = order_outbox(worker._sessions, chain.licenses, poor)
    assert outbox.step() == 0
    waiting = refreshed(session, license).intent
    assert (waiting.state, waiting.reason) == (IntentState.QUEUED, "no_funds")
    assert "too little ether" in owner.client.get(f"/licenses/{license.id}").get_data(as_text=True)
    chain.fund(poor.address, 1)
    assert outbox.step() == 1
    assert outbox.step() == 1
    done = refreshed(session, license).intent
    assert (done.state, done.reason) == (IntentState.DONE, None)


def test_an_identical_license_is_success(
    session: Session, chain: TestChain, worker: Worker, operator: KeySigner, owner: Party, license: License
) -> None:
    purpose = Orders(worker._sessions, chain.licenses, operator, chain.chain_id)
    purpose.call(records.Intent(license.intent_id, license.intent.key))  # states what the file is
    refreshed(session, license)
    receipt = chain.send(owner.signer, chain.licenses.issue_call(own_order(owner, license)))
    assert worker.step()
    intent = refreshed(session, license).intent
    assert (intent.state, intent.transaction_hash) == (IntentState.DONE, receipt["transactionHash"])
    assert session.query(Attempt).count() == 0


def test_another_license_with_the_number_is_not(
    session: Session, chain: TestChain, worker: Worker, owner: Party, license: License
) -> None:
    chain.send(owner.signer, chain.licenses.issue_call(own_order(owner, license, copies=9)))
    worker.step()
    intent = refreshed(session, license).intent
    assert (intent.state, intent.reason) == (IntentState.FAILED, "number_taken")
    page = owner.client.get(f"/licenses/{license.id}").get_data(as_text=True)
    assert "on other terms" in page


def test_a_nonce_that_something_else_used(
    session: Session, chain: TestChain, worker: Worker, operator: KeySigner, owner: Party, license: License
) -> None:
    """The key was used elsewhere between signing and sending: sign anew, issue once."""

    class Stop(Exception):
        pass

    def stop(name: str) -> None:
        if name == "committed":
            raise Stop

    with pytest.raises(Stop):
        order_outbox(worker._sessions, chain.licenses, operator, checkpoint=stop).step()
    chain.send(operator, chain.licenses.set_operator_call(operator.address, owner.signer.address, 0, 0))  # type: ignore[arg-type]
    while worker.step():
        pass
    assert refreshed(session, license).intent.state is IntentState.DONE
    assert [a.nonce for a in session.query(Attempt)] == [0, 1]
    assert len(list(chain.licenses.events("LicenseIssued"))) == 1


def test_a_reverted_transaction_tells_its_reason(
    session: Session, chain: TestChain, worker: Worker, operator: KeySigner, owner: Party, license: License
) -> None:
    """Cut off after signing, before mining."""
    outbox = order_outbox(
        worker._sessions,
        chain.licenses,
        operator,
        checkpoint=lambda name: cut() if name == "committed" else None,
    )
    tested = []

    def cut() -> None:
        tested.append(chain.authorize(owner.signer, operator.address, until=0))

    outbox.step()
    assert tested
    for _ in range(3):
        worker.step()
    intent = refreshed(session, license).intent
    assert (intent.state, intent.reason) == (IntentState.FAILED, "not_allowed")
    assert list(chain.licenses.events("LicenseIssued")) == []


def test_a_torn_address_book_ends_nothing(
    session: Session,
    chain: TestChain,
    options: Settings,
    worker: Worker,
    operator: KeySigner,
    owner: Party,
    license: License,
) -> None:
    connection = ChainConnection(options.chain_url, options.deployments, chain.node)
    worker = Worker(worker._sessions, connection, operator)
    (book,) = options.deployments.iterdir()
    whole = book.read_bytes()
    book.write_bytes(whole[:20])
    assert not worker.step()
    session.expire_all()
    assert session.query(WorkerStatus).one().problem == "unexpected"
    waiting = refreshed(session, license).intent
    assert (waiting.state, waiting.reason) == (IntentState.QUEUED, "unexpected")
    assert "the worker keeps trying" in owner.client.get(f"/licenses/{license.id}").get_data(as_text=True)
    book.write_bytes(whole)
    while worker.step():
        pass
    assert refreshed(session, license).intent.state is IntentState.DONE
    session.expire_all()
    assert session.query(WorkerStatus).one().problem is None


@pytest.mark.parametrize("place", ["worker_status.announce", "worker_status.beat", "Outbox.step"])
def test_a_database_that_is_locked_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    session: Session,
    worker: Worker,
    license: License,
    place: str,
) -> None:
    """The worker logs it with where it happened, waits longer than usual, and goes on."""
    owner, name = place.split(".")
    target = getattr(worker_module, owner)
    works = getattr(target, name)
    failures, pauses = iter(range(2)), []

    def locked(*arguments: Any) -> Any:
        if next(failures, None) is not None:
            raise sa.exc.OperationalError("UPDATE", {}, Exception("database is locked"))
        return works(*arguments)

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if refreshed(session, license).intent.state is IntentState.DONE or len(pauses) > 20:
            worker.stop()

    monkeypatch.setattr(target, name, locked)
    monkeypatch.setattr(worker._stopping, "wait", wait)
    monkeypatch.setattr(worker_module, "BEAT", 0)
    worker.run()
    assert pauses[:2] == [worker_module.BACK_OFF] * 2
    assert pauses.count(worker_module.BACK_OFF) == 2
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    traces = [line["exception"] for line in logged if "exception" in line]
    assert len(traces) == 2
    assert all("Traceback" in trace and "database is locked" in trace for trace in traces)
    assert refreshed(session, license).intent.state is IntentState.DONE


def test_many_orders_go_out_in_a_row(
    app: Flask,
    session: Session,
    chain: TestChain,
    worker: Worker,
    owner: Party,
    design: Design,
    printer: Printer,
    allowed: None,
) -> None:
    connection = app.extensions["imprimatur"].chain
    for n in range(20):
        terms = Terms(f"AS-{n}", design, printer, 1)
        issuing.order_license(session, connection, owner.user, terms, now().date())
    while worker.step():
        pass
    nonces = [a.nonce for a in session.query(Attempt).order_by(Attempt.id)]
    assert nonces == list(range(20))
    assert len(list(chain.licenses.events("LicenseIssued"))) == 20


class Unplugged(KeySigner):
    """A token that somebody pulled out."""

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        raise SignerUnusable("The token isn't there. Plug it in.")


def test_an_alarm_is_logged_once_with_all_it_says(
    capsys: pytest.CaptureFixture[str], chain: TestChain, owner: Party, worker: Worker, license: License
) -> None:
    signer = Unplugged(b"\x07" * 32)
    chain.fund(signer.address)
    chain.authorize(owner.signer, signer.address)
    worker = Worker(worker._sessions, worker._contracts, signer)
    worker.step()
    worker.step()
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    alarms = [line for line in logged if line["message"] == "outbox_alarm"]
    assert [(a["kind"], a["facts"]) for a in alarms] == [
        ("signer", {"message": "The token isn't there. Plug it in."})
    ]
