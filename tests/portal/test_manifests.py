"""What the portal states about a license's file: made once, committed before the order, and on the chain."""

import base64
import hashlib
import os
import struct
from dataclasses import dataclass

import pytest
from flask import Flask
from portal.stage import GCODE, Party, TestChain, finished, refreshed
from sqlalchemy.orm import Session

from app.extensions import db
from app.jobs.worker import Worker
from app.models import Attempt, Design, IntentState, License, Printer
from app.models.base import now
from app.services import accounts, issuing
from app.services.issuing import Terms
from app.services.outbox import Orders, order_outbox
from imprimatur.chain.outbox.records import Intent as OutboxIntent
from imprimatur.chain.print_license import Order
from imprimatur.chain.signers import KeySigner
from imprimatur.manifest.document import MAX_THUMBNAIL, Manifest
from imprimatur.manifest.signature import SignedManifest
from imprimatur.manifest.verification import verify_manifest
from imprimatur.sealing import InvalidKey, new_key, public_key, recipient_text

pytestmark = pytest.mark.usefixtures("operator", "allowed")

LOG_KEY = public_key(bytes(31) + b"l")


@dataclass
class Ordering:
    """An owner orders a license; what the portal then states about its file."""

    app: Flask
    session: Session
    chain: TestChain
    operator: KeySigner
    owner: Party
    printer: Printer

    def order(self, design: Design, failures: int = 0) -> License:
        terms = Terms("AS-1", design, self.printer, 3, failures_allowed=failures)
        connection = self.app.extensions["imprimatur"].chain
        return issuing.order_license(self.session, connection, self.owner.user, terms, now().date())

    def state(
        self, license: License, signer: KeySigner | None = None, chain_id: int | None = None
    ) -> SignedManifest:
        """Prepare its order as an outbox with this key does for this chain; what the portal states then."""
        with self.app.app_context():
            made = Orders(
                db.sessionmaker,
                self.chain.licenses,
                signer or self.operator,
                chain_id or self.chain.chain_id,
            )
            made.call(OutboxIntent(license.intent_id, license.intent.key))
        return stated(refreshed(self.session, license))


@pytest.fixture
def ordering(
    app: Flask, session: Session, chain: TestChain, operator: KeySigner, owner: Party, printer: Printer
) -> Ordering:
    return Ordering(app, session, chain, operator, owner, printer)


def stated(license: License) -> SignedManifest:
    assert license.signed_manifest is not None
    return SignedManifest.from_bytes(license.signed_manifest)


def test_what_stands_on_the_chain(
    ordering: Ordering,
    session: Session,
    chain: TestChain,
    worker: Worker,
    operator: KeySigner,
    owner: Party,
    design: Design,
) -> None:
    accounts.set_log_key(session, owner.user, f" {recipient_text(LOG_KEY)}\n")
    license = ordering.order(design, failures=2)
    done = finished(session, worker, license)
    assert done.intent.state is IntentState.DONE
    assert done.signed_manifest is not None
    verified = verify_manifest(done.signed_manifest, chain.licenses, int(license.id, 16))
    manifest = verified.manifest
    assert manifest.file_name == "clip.gcode"
    assert (manifest.file_size, manifest.file_hash) == (len(GCODE), hashlib.sha256(GCODE).hexdigest())
    assert manifest.sealing is not None
    assert (manifest.sealing.size, manifest.sealing.sha256) == (design.sealed_size, design.sealed_sha256)
    assert manifest.sealing.key_commitment == design.key_commitment
    assert (manifest.log_recipient, manifest.material, manifest.print_seconds) == (LOG_KEY, "PLA", 3723)
    assert stated(done).signer == operator.address
    assert done.manifest_hash == manifest.hash.hex()
    (event,) = chain.licenses.events("LicenseIssued", id=int(license.id, 16))
    assert (event.values["manifestHash"], event.values["failuresAllowed"]) == (manifest.hash, 2)
    on_chain = chain.licenses.license_of(int(license.id, 16))
    assert on_chain is not None
    assert on_chain.failures_allowed == 2
    page = owner.client.get(f"/licenses/{license.id}").get_data(as_text=True)
    assert "up to 2" in page


def test_it_is_committed_before_anything_is_signed(
    app: Flask,
    ordering: Ordering,
    session: Session,
    chain: TestChain,
    worker: Worker,
    operator: KeySigner,
    owner: Party,
    design: Design,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crash after it: the next worker sends an order with the same hash."""
    license = ordering.order(design)

    class Crash(Exception):
        pass

    def crash(_transaction: object) -> tuple[bytes, str]:
        raise Crash

    with app.app_context(), monkeypatch.context() as patch:
        patch.setattr(operator, "sign_transaction", crash)
        outbox = order_outbox(db.sessionmaker, chain.licenses, operator)
        with pytest.raises(Crash):
            outbox.step()
    assert session.query(Attempt).count() == 0
    first = refreshed(session, license).signed_manifest
    accounts.set_log_key(session, owner.user, recipient_text(LOG_KEY))
    done = finished(session, worker, license)
    assert done.intent.state is IntentState.DONE
    assert done.signed_manifest == first
    (event,) = chain.licenses.events("LicenseIssued", id=int(license.id, 16))
    assert event.values["manifestHash"].hex() == done.manifest_hash


def test_another_operator_states_the_same(ordering: Ordering, chain: TestChain, design: Design) -> None:
    license, other = ordering.order(design), chain.account()
    first, second = ordering.state(license), ordering.state(license, other)
    assert (first.signer, second.signer) == (ordering.operator.address, other.address)
    assert first.manifest == second.manifest
    assert second.has_key_signature()


def test_what_the_chain_holds_keeps_its_signer(
    ordering: Ordering, session: Session, chain: TestChain, worker: Worker, design: Design
) -> None:
    """Its signer had the right when the license was issued; a later one may not have had it."""
    license = finished(session, worker, ordering.order(design))
    assert ordering.state(license, chain.account()).signer == ordering.operator.address


def test_another_chain_gets_another_manifest(ordering: Ordering, session: Session, design: Design) -> None:
    license = ordering.order(design)
    ordering.state(license)
    found = ordering.state(license, chain_id=4711)
    assert found.manifest.chain_id == 4711
    assert refreshed(session, license).manifest_hash == found.manifest.hash.hex()


@pytest.mark.parametrize("changed", ["manifest", "failures"])
def test_a_license_on_other_terms_isnt_the_ordered_one(
    ordering: Ordering,
    session: Session,
    chain: TestChain,
    worker: Worker,
    operator: KeySigner,
    design: Design,
    changed: str,
) -> None:
    """Somebody else who acts for the owner took the number: same file and copies, another manifest."""
    license = ordering.order(design, failures=1)
    ordering.state(license)
    order = issuing.order_for_contract(license, int(now().timestamp()) + 3600)
    other = Order(
        owner=order.owner,
        number=order.number,
        printer=order.printer,
        file_hash=order.file_hash,
        copies=order.copies,
        deadline=order.deadline + 10**6,
        valid_until=order.valid_until,
        failures_allowed=order.failures_allowed + (changed == "failures"),
        manifest_hash=os.urandom(32) if changed == "manifest" else order.manifest_hash,
    )
    chain.send(operator, chain.licenses.issue_call(other, as_operator=True))
    failed = finished(session, worker, license).intent
    assert (failed.state, failed.reason) == (IntentState.FAILED, "number_taken")


def test_the_same_license_from_elsewhere_is_the_ordered_one(
    ordering: Ordering,
    session: Session,
    chain: TestChain,
    worker: Worker,
    operator: KeySigner,
    design: Design,
) -> None:
    """The control of the test above."""
    license = ordering.order(design, failures=1)
    ordering.state(license)
    order = issuing.order_for_contract(license, int(now().timestamp()) + 10**6)
    chain.send(operator, chain.licenses.issue_call(order, as_operator=True))
    assert finished(session, worker, license).intent.state is IntentState.DONE


def picture(size: int) -> bytes:
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 64, 64)
    return header + os.urandom(size - len(header))


@pytest.mark.parametrize(("size", "carried"), [(MAX_THUMBNAIL, True), (MAX_THUMBNAIL + 1, False)])
def test_small_pictures_travel_along(
    ordering: Ordering,
    session: Session,
    owner: Party,
    size: int,
    carried: bool,
) -> None:
    text = base64.b64encode(picture(size)).decode()
    lines = "".join(f"; {text[i : i + 78]}\n" for i in range(0, len(text), 78))
    content = f"; thumbnail begin 64x64 {len(text)}\n{lines}; thumbnail end\n".encode() + GCODE
    owner.upload(content)
    design = session.query(Design).one()
    assert design.has_thumbnail
    manifest = ordering.state(ordering.order(design)).manifest
    assert (manifest.thumbnail is not None) == carried
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


@pytest.mark.parametrize(
    "text", ["", "age1", "AGE-SECRET-KEY-1" + "Q" * 58, recipient_text(LOG_KEY)[:-1], "ssh-rsa AAAA"]
)
def test_what_is_no_key_for_serials(session: Session, owner: Party, text: str) -> None:
    answer = owner.post("/account/log-key", key=text)
    assert answer.status_code == 422
    assert "has to begin with age1" in answer.get_data(as_text=True)
    with pytest.raises(InvalidKey):
        accounts.set_log_key(session, owner.user, text)
    session.expire_all()
    assert owner.user.log_recipient is None


def test_the_key_for_serials(session: Session, owner: Party, rival: Party) -> None:
    page = owner.client.get("/account").get_data(as_text=True)
    assert "You have given none yet" in page
    for key in (LOG_KEY, public_key(new_key())):
        answer = owner.post("/account/log-key", key=f"  {recipient_text(key)} ")
        assert answer.status_code == 303
        page = owner.client.get("/account").get_data(as_text=True)
        assert recipient_text(key) in page
        assert "You have given none yet" not in page
        session.expire_all()
        assert owner.user.log_recipient == key.hex()
    assert rival.user.log_recipient is None
    assert owner.client.post("/account/log-key", data={"key": recipient_text(LOG_KEY)}).status_code == 400


def test_add_owner_with_a_key(app: Flask, session: Session, owner: Party) -> None:
    def add(*more: str) -> object:
        arguments = ["add-owner", owner.user.email, "--name", "Aero", "--account", owner.signer.address]
        return app.test_cli_runner().invoke(args=[*arguments, *more], input="correct horse\n")

    assert add("--log-key", recipient_text(LOG_KEY)).exit_code == 0  # type: ignore[attr-defined]
    session.expire_all()
    assert owner.user.log_recipient == LOG_KEY.hex()
    assert add().exit_code == 0  # type: ignore[attr-defined]
    session.expire_all()
    assert owner.user.log_recipient == LOG_KEY.hex()
    wrong = add("--log-key", "age1nonsense")
    assert wrong.exit_code == 1  # type: ignore[attr-defined]
