"""What devices send for the chain, over HTTP: taken, known, refused, too much."""

import time
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from portal.jobs import DeviceClient, job, sealed_design
from portal.stage import GCODE, Party, TestChain
from portal.test_device_api import problem
from sqlalchemy.orm import Session

from app.api.v1 import documents
from app.extensions import db
from app.jobs.worker import Worker
from app.models import License, Printer, RelayEntry, RelayKind, RelayState
from app.services.relay_limits import DEFAULTS
from imprimatur import schemas
from imprimatur.chain.orders import Order
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import (
    Failure,
    Signed,
    Use,
    license_domain,
    sign_failure,
    sign_use,
)
from imprimatur.license_id import format_id, number_from_text

USES = "/api/v1/device/uses"
FAILURES = "/api/v1/device/failures"


def on_chain(
    app: Flask, session: Session, chain: TestChain, owner: Party, wallet: str, number: str
) -> License:
    """A job whose license its owner has issued herself."""
    content = GCODE + f"; {number}\n".encode()
    row = job(session, chain, owner, sealed_design(app, session, owner, content).design, wallet, number)
    order = Order(
        owner=owner.signer.address,
        number=number_from_text(number),
        printer=wallet,
        file_hash=row.file_hash,
        copies=3,
        deadline=int(time.time()) + 3600,
        failures_allowed=1,
    )
    chain.send(owner.signer, chain.licenses.issue_call(order))
    return row


@pytest.fixture
def license(
    app: Flask,
    session: Session,
    chain: TestChain,
    owner: Party,
    printer: Printer,
    machine: KeySigner,
) -> License:
    """On the real chain, too."""
    return on_chain(app, session, chain, owner, machine.address, "AS-1")


@pytest.fixture
def device(app: Flask, machine: KeySigner) -> DeviceClient:
    return DeviceClient(app, machine)


def a_use(license: License) -> Use:
    return Use(
        id=int(license.id, 16),
        file_hash=license.file_hash,
        copy=1,
        key_recipient=b"\1" * 32,
        encrypted_serial=bytes(32),
        commitment=b"\2" * 32,
        deadline=int(time.time()) + 3600,
    )


def document(signed: Signed[Any]) -> dict[str, Any]:
    """As it travels."""
    message, signature = signed.message, signed.signature
    sent = {
        "id": format_id(message.id),
        "copy": message.copy,
        "deadline": message.deadline,
        "signature": "0x" + signature.r.hex() + signature.vs.hex(),
    }
    if isinstance(message, Failure):
        return sent | {"evidence": message.evidence.hex()}
    return sent | {
        "fileHash": message.file_hash,
        "keyRecipient": message.key_recipient.hex(),
        "encryptedSerial": message.encrypted_serial.hex(),
        "commitment": message.commitment.hex(),
    }


def signed_use(chain: TestChain, signer: KeySigner, use: Use) -> dict[str, Any]:
    return document(sign_use(signer, license_domain(chain.chain_id, chain.licenses.address), use))


def signed_failure(chain: TestChain, signer: KeySigner, license: License, copy: int = 1) -> dict[str, Any]:
    failure = Failure(int(license.id, 16), copy, b"\3" * 32, int(time.time()) + 3600)
    domain = license_domain(chain.chain_id, chain.licenses.address)
    return document(sign_failure(signer, domain, failure))


def test_a_use_is_taken_once(
    app: Flask,
    session: Session,
    chain: TestChain,
    owner: Party,
    license: License,
    device: DeviceClient,
    machine: KeySigner,
) -> None:
    sent = signed_use(chain, machine, a_use(license))
    first = device.post(USES, sent)
    assert first.status_code == 202
    found = first.get_json()
    assert schemas.problem_in(found, documents.SCHEMA, "relayed") is None
    assert (found["state"], found["reason"], found["transaction"], found["block"]) == (
        "waiting",
        None,
        None,
        None,
    )
    assert first.headers["Location"] == f"{USES}/{found['digest']}"
    again = device.post(USES, sent)
    assert (again.status_code, again.get_json()) == (200, found)
    assert again.headers["Location"] == first.headers["Location"]
    assert session.query(RelayEntry).count() == 1
    assert device.get(first.headers["Location"]).get_json() == found
    # It's a use, and this device's.
    problem(device.get(f"{FAILURES}/{found['digest']}"), 404, "message_unknown")
    other = chain.account(ether=0)
    session.add(Printer(owner_id=owner.user.id, name="Other", address=other.address))
    session.commit()
    problem(DeviceClient(app, other).get(first.headers["Location"]), 404, "message_unknown")
    entry = session.query(RelayEntry).one()
    entry.state, entry.transaction_hash, entry.block_number = RelayState.DONE, "0x" + "ab" * 32, 7
    session.commit()
    done = device.get(first.headers["Location"]).get_json()
    assert schemas.problem_in(done, documents.SCHEMA, "relayed") is None
    assert (done["state"], done["transaction"], done["block"]) == ("done", "0x" + "ab" * 32, 7)


def test_a_failure_is_taken(
    chain: TestChain, license: License, device: DeviceClient, machine: KeySigner
) -> None:
    detail = problem(device.post(FAILURES, signed_failure(chain, machine, license)), 422, "would_be_refused")
    assert "CopyNotRefundable" in detail
    chain.use(machine, license)
    answer = device.post(FAILURES, signed_failure(chain, machine, license))
    assert answer.status_code == 202
    assert answer.headers["Location"].startswith(FAILURES)
    assert device.get(answer.headers["Location"]).get_json() == answer.get_json()


def test_what_the_relay_refuses(
    app: Flask,
    session: Session,
    chain: TestChain,
    owner: Party,
    license: License,
    device: DeviceClient,
    machine: KeySigner,
) -> None:
    use = a_use(license)
    good = signed_use(chain, machine, use)
    problem(device.post(USES, good | {"commitment": "05" * 32}), 422, "signature_invalid")
    # Signed by whom sends it, or not at all.
    other = chain.account(ether=0)
    session.add(Printer(owner_id=owner.user.id, name="Other", address=other.address))
    session.commit()
    problem(DeviceClient(app, other).post(USES, good), 422, "signature_invalid")
    for seconds in (5, 30 * 86_400):
        late = replace(use, deadline=int(time.time()) + seconds)
        problem(device.post(USES, signed_use(chain, machine, late)), 422, "deadline_out_of_range")
    second = signed_use(chain, machine, replace(use, copy=2))
    assert "CopyOutOfOrder" in problem(device.post(USES, second), 422, "would_be_refused")
    unknown = signed_use(chain, machine, replace(use, id=use.id + 1))
    assert "LicenseNotFound" in problem(device.post(USES, unknown), 422, "would_be_refused")
    problem(device.post(USES, good | {"more": 1}), 400, "malformed")
    problem(device.post(FAILURES, good), 400, "malformed")
    assert session.query(RelayEntry).count() == 0


def waiting(n: int, device: str) -> RelayEntry:
    return RelayEntry(
        digest=f"0x{n:064x}",
        kind=RelayKind.USE,
        license_id=f"0x{n:064x}",
        copy=1,
        device=device,
        message={},
        deadline=2**40,
        state=RelayState.WAITING,
    )


def test_too_much_at_once(
    session: Session, chain: TestChain, license: License, device: DeviceClient, machine: KeySigner
) -> None:
    sent = signed_use(chain, machine, a_use(license))
    session.add_all(waiting(n, machine.address) for n in range(DEFAULTS.per_device))
    session.commit()
    answer = device.post(USES, sent)
    problem(answer, 429, "too_many_waiting")
    assert int(answer.headers["Retry-After"]) > 0
    session.query(RelayEntry).update({"device": "0x" + "1" * 40})
    session.add_all(waiting(n, "0x" + "1" * 40) for n in range(DEFAULTS.per_device, DEFAULTS.waiting))
    session.commit()
    answer = device.post(USES, sent)
    problem(answer, 503, "busy")
    assert int(answer.headers["Retry-After"]) > 0


def test_the_operators_limits_count(
    app: Flask,
    session: Session,
    chain: TestChain,
    owner: Party,
    operator: KeySigner,
    license: License,
    device: DeviceClient,
    machine: KeySigner,
) -> None:
    """Of a device, in the web process; of a batch, in the worker."""
    portal = app.extensions["imprimatur"]
    limited = replace(portal.settings, relay_per_device=2, relay_batch=1)
    app.extensions["imprimatur"] = replace(portal, settings=limited)
    second = on_chain(app, session, chain, owner, machine.address, "AS-2")
    third = on_chain(app, session, chain, owner, machine.address, "AS-3")
    for row in (license, second):
        assert device.post(USES, signed_use(chain, machine, a_use(row))).status_code == 202
    problem(device.post(USES, signed_use(chain, machine, a_use(third))), 429, "too_many_waiting")
    with app.app_context():
        Worker(db.sessionmaker, portal.chain, operator, relay=limited.relay).step()
    states = session.scalars(sa.select(RelayEntry.state).order_by(RelayEntry.id)).all()
    assert states == [RelayState.SENT, RelayState.WAITING]


def test_a_node_that_is_down(
    session: Session, chain: TestChain, license: License, device: DeviceClient, machine: KeySigner
) -> None:
    sent = signed_use(chain, machine, a_use(license))
    chain.node.down = True
    answer = device.post(USES, sent)
    problem(answer, 503, "chain_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert session.query(RelayEntry).count() == 0
    chain.node.down = False
    assert device.post(USES, sent).status_code == 202
