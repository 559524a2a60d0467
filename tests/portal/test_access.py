"""Every route declares who may call it, and the guard enforces it."""

import re

import pytest
from flask import Flask
from portal.stage import Party, refreshed
from sqlalchemy.orm import Session

from app.auth.access import Access, access_of
from app.models import Design, License, Printer
from app.models.base import now
from app.services import issuing
from app.services.issuing import Terms
from imprimatur.chain.signers import KeySigner
from imprimatur.device_auth import authorization

PUBLIC = {
    "explorer.index",
    "explorer.license",
    "health.healthz",
    "language.switch",
    "security.login",
    "security.logout",
    "static",
}
DEVICE = {"device.licenses", "device.file"}


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
    return re.sub(r"<([^>]+)>", lambda match: values[match[1]], rule)


def test_every_route_declares_its_access(app: Flask) -> None:
    declared = {endpoint: access_of(app, endpoint) for endpoint, _, _ in routes(app)}
    assert None not in declared.values(), [e for e, access in declared.items() if access is None]
    assert {e for e, access in declared.items() if access is Access.PUBLIC} == PUBLIC
    assert {e for e, access in declared.items() if access is Access.DEVICE} == DEVICE


def test_an_undeclared_route_is_refused(app: Flask) -> None:
    app._got_first_request = False
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    answer = app.test_client().get("/forgotten")
    assert answer.status_code == 403
    assert b"secret" not in answer.data


def test_anonymous(app: Flask) -> None:
    for endpoint, method, rule in routes(app):
        answer = app.test_client().open(filled(rule), method=method)
        if endpoint in DEVICE:
            assert answer.status_code == 401, rule
            assert answer.content_type == "application/problem+json"
        elif endpoint not in PUBLIC:
            # Without a CSRF token nothing is even looked at; a page leads to the login.
            assert answer.status_code == (302 if method == "GET" else 400), (method, rule)
            assert method != "GET" or answer.location.startswith("/login?next=")


def test_an_owner_is_no_device(app: Flask, owner: Party) -> None:
    for endpoint, method, rule in routes(app):
        if endpoint in DEVICE:
            assert owner.client.open(filled(rule), method=method).status_code == 401


def test_a_device_is_no_owner(app: Flask, machine: KeySigner) -> None:
    for endpoint, method, rule in routes(app):
        url = filled(rule)
        header = {"Authorization": authorization(machine, method, url)}
        answer = app.test_client().open(url, method=method, headers=header)
        if endpoint in DEVICE:
            assert answer.status_code in (200, 404), rule
        elif endpoint not in PUBLIC:
            assert answer.status_code in (302, 400), rule


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
