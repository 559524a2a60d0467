"""The library's client of the device API against the real portal, over a real socket."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from portal.jobs import job, manifest_of, sealed_design
from portal.stage import GCODE, Party, TestChain
from sqlalchemy.orm import Session
from werkzeug.serving import make_server

from app.models.base import now
from app.services import invitations
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import Use, license_domain, sign_use
from imprimatur.device import Ending, Outcome, Portal, PortalBusy, PortalRefused
from imprimatur.sealing import new_key, public_key


@pytest.fixture
def url(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    runtime = app.extensions["imprimatur"]
    app.extensions["imprimatur"] = replace(runtime, settings=replace(runtime.settings, public_url=url))
    yield url
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def device(chain: TestChain) -> KeySigner:
    return chain.account(ether=0)


@pytest.fixture
def portal(url: str, device: KeySigner, session: Session, owner: Party) -> Portal:
    """Of an enrolled device that is its own wallet."""
    portal = Portal(url, device)
    code = invitations.invite(session, owner.user, "Left bay", now())[1]
    portal.enrol(code, device.address, public_key(new_key()))
    return portal


def test_enrolment(
    url: str, device: KeySigner, session: Session, owner: Party, chain: TestChain, app: Flask
) -> None:
    portal = Portal(url, device)
    code = invitations.invite(session, owner.user, "Left bay", now())[1]
    key = public_key(new_key())
    with pytest.raises(PortalRefused) as refused:
        list(portal.jobs())
    assert refused.value.code == "not_enrolled"
    enrolment = portal.enrol(code, device.address, key)
    assert (enrolment.printer, enrolment.owner) == ("Left bay", owner.user.name)
    assert enrolment.portal == portal.describe()
    assert (enrolment.portal.chain_id, enrolment.portal.contract) == (chain.chain_id, chain.licenses.address)
    assert portal.enrol(code, device.address, key) == enrolment
    with pytest.raises(PortalRefused) as refused:
        Portal(url, chain.account(ether=0)).enrol(code, device.address, key)
    assert refused.value.code in ("invitation_used", "not_bound")


def test_jobs_and_their_files(
    portal: Portal, device: KeySigner, app: Flask, session: Session, chain: TestChain, owner: Party
) -> None:
    """More than one page, every byte of a file, and the rest of it from anywhere."""
    sealed = sealed_design(app, session, owner)
    licenses = [
        job(session, chain, owner, sealed.design, device.address, f"4711-{number}") for number in range(53)
    ]
    offers = {offer.id: offer for offer in portal.jobs()}
    assert len(offers) == 53
    license = licenses[0]
    offer = offers[int(license.id, 16)]
    assert (offer.number, offer.owner) == ("4711-0", owner.user.name)
    assert offer.signed == manifest_of(license)
    assert offer.signed.has_key_signature()
    sealing = offer.manifest.sealing
    assert sealing is not None
    assert offer.manifest.file_size == len(GCODE)
    for start in (0, 1, sealing.size - 1):
        with portal.download(offer.id, sealing, start) as download:
            assert download.start == start
            assert b"".join(download) == sealed.content[start:]


def test_outcomes(
    portal: Portal, device: KeySigner, app: Flask, session: Session, chain: TestChain, owner: Party
) -> None:
    license = job(session, chain, owner, sealed_design(app, session, owner).design, device.address, "4711")
    outcome = Outcome(int(license.id, 16), 1, Ending.FINISHED, int(time.time()), 540, b"\x01" * 32)
    portal.report(outcome)
    portal.report(outcome)
    with pytest.raises(PortalRefused) as refused:
        portal.report(Outcome(outcome.id, 1, Ending.FAILED, outcome.ended_at, reason="jam"))
    assert refused.value.code == "outcome_known"


def test_a_use_that_another_device_signed(
    portal: Portal, device: KeySigner, app: Flask, session: Session, chain: TestChain, owner: Party
) -> None:
    sealed = sealed_design(app, session, owner)
    license = job(session, chain, owner, sealed.design, device.address, "4711")
    use = Use(
        int(license.id, 16),
        sealed.design.sha256,
        1,
        public_key(new_key()),
        bytes(32),
        b"\x02" * 32,
        int(time.time()) + 3600,
    )
    domain = license_domain(chain.chain_id, chain.licenses.address)
    with pytest.raises(PortalRefused) as refused:
        portal.relay_use(sign_use(owner.signer, domain, use))
    assert (refused.value.status, refused.value.code) == (422, "signature_invalid")
    assert portal.relayed_use("0x" + "11" * 32) is None


def test_a_portal_without_its_node_is_busy(portal: Portal, app: Flask, chain: TestChain) -> None:
    chain.node.down = True
    with pytest.raises(PortalBusy):
        portal.describe()
