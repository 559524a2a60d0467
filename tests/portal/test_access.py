"""Every route declares who may call it, and the guard enforces it."""

import re

import pytest
from flask import Flask
from portal.jobs import ORIGIN
from portal.stage import Party, TestChain, refreshed
from sqlalchemy.orm import Session

from app.auth.access import Access, access_of
from app.models import Design, License, Printer
from app.models.base import now
from app.services import issuing
from app.services.issuing import Terms
from imprimatur.chain.signers import KeySigner
from imprimatur.device_auth import authorization

PUBLIC = {
    "api_description.show",
    "api_portal.show",
    "explorer.index",
    "explorer.license",
    "health.healthz",
    "language.switch",
    "security.login",
    "security.logout",
    "static",
}
DEVICE = {
    "api_jobs.file",
    "api_jobs.index",
    "api_outcomes.create",
    "api_relayed.failure",
    "api_relayed.failure_state",
    "api_relayed.use",
    "api_relayed.use_state",
}
CANDIDATE = {"api_enrolments.create"}
SIGNED = DEVICE | CANDIDATE


def routes(app: Flask) -> list[tuple[str, str, str]]:
    """(endpoint, method, rule) of everything that can be called."""
    return [
        (rule.endpoint, method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def filled(rule: str) -> str:
    """A URL of the rule that names nothing which exists."""
    values = {"path:filename": "none.css", "row:id": "999999", "id": "0x" + "ab" * 32, "code": "en"}
    values |= {"hash:id": values["id"], "hash:digest": values["id"], "address:address": "0x" + "ab" * 20}
    return re.sub(r"<([^>]+)>", lambda match: values[match[1]], rule)


def test_every_route_declares_its_access(app: Flask) -> None:
    declared = {endpoint: access_of(app, endpoint) for endpoint, _, _ in routes(app)}
    assert None not in declared.values(), [e for e, access in declared.items() if access is None]
    assert {e for e, access in declared.items() if access is Access.PUBLIC} == PUBLIC
    assert {e for e, access in declared.items() if access is Access.DEVICE} == DEVICE
    assert {e for e, access in declared.items() if access is Access.CANDIDATE} == CANDIDATE


def test_an_undeclared_route_is_refused(app: Flask) -> None:
    app._got_first_request = False
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    answer = app.test_client().get("/forgotten")
    assert answer.status_code == 403
    assert b"secret" not in answer.data


def test_anonymous(app: Flask) -> None:
    for endpoint, method, rule in routes(app):
        answer = app.test_client().open(filled(rule), method=method)
        if endpoint in SIGNED:
            assert answer.status_code == 401, rule
            assert answer.content_type == "application/problem+json"
        elif endpoint not in PUBLIC:
            # Without a CSRF token nothing is even looked at; a page leads to the login.
            assert answer.status_code == (302 if method == "GET" else 400), (method, rule)
            assert method != "GET" or answer.location.startswith("/login?next=")


def test_an_owner_is_no_device(app: Flask, owner: Party) -> None:
    for endpoint, method, rule in routes(app):
        if endpoint in SIGNED:
            assert owner.client.open(filled(rule), method=method).status_code == 401


def answers_to(app: Flask, signer: KeySigner) -> dict[str, int]:
    """What a signing machine is told, by endpoint and method. Its bodies are no documents."""
    found = {}
    for endpoint, method, rule in routes(app):
        url = filled(rule)
        header = {"Authorization": authorization(signer, method, ORIGIN, url)}
        answer = app.test_client().open(url, method=method, headers=header)
        found[f"{endpoint} {method}"] = answer.status_code
    return found


def test_a_device_is_no_owner(app: Flask, printer: Printer, machine: KeySigner) -> None:
    for name, status in answers_to(app, machine).items():
        endpoint, method = name.split()
        if endpoint in SIGNED:
            # Let in; what it asks for doesn't exist, and what it sends is empty.
            assert status == (400 if method == "POST" else 200 if endpoint == "api_jobs.index" else 404), name
        elif endpoint not in PUBLIC:
            assert status in (302, 400), name


def test_an_unknown_device_may_only_enrol(app: Flask, chain: TestChain) -> None:
    for name, status in answers_to(app, chain.account(ether=0)).items():
        endpoint, _ = name.split()
        if endpoint in SIGNED:
            assert status == (400 if endpoint in CANDIDATE else 403), name
        elif endpoint not in PUBLIC:
            assert status in (302, 400), name


@pytest.fixture
def license(
    app: Flask, session: Session, owner: Party, design: Design, printer: Printer, allowed: None
) -> License:
    chain = app.extensions["imprimatur"].chain
    return issuing.order_license(session, chain, owner.user, Terms("AS-1", design, printer, 3), now().date())


def test_other_owners_things_dont_exist(
    session: Session, owner: Party, rival: Party, license: License, design: Design
) -> None:
    urls = [
        f"/designs/{design.id}",
        f"/designs/{design.id}/thumbnail.png",
        f"/licenses/{license.id}",
        f"/licenses/{license.id}/state",
    ]
    for url in urls:
        mine = owner.client.get(url).status_code
        assert mine == 200 or "thumbnail" in url, url
        assert rival.client.get(url).status_code == 404, url
    assert rival.post(f"/licenses/{license.id}/again").status_code == 404
    order = {"design": design.id, "printer": 1, "number": "X", "copies": 1}
    assert rival.post("/licenses", **order).status_code == 404
    for page in ("/", "/designs", "/licenses", "/printers", "/licenses/new"):
        text = rival.client.get(page).get_data(as_text=True)
        assert "clip.gcode" not in text
        assert "AS-1" not in text
        assert "MK4" not in text
    assert refreshed(session, license).number == "AS-1"
