"""The API's description is fresh and valid, and the portal does what it says."""

import io
import json
import os
import re
from typing import Any

import hypothesis
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck
from openapi_spec_validator import validate
from portal.jobs import ORIGIN, job, sealed_design
from portal.stage import Party, TestChain
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from sqlalchemy.orm import Session

from app.api.v1.openapi import description
from app.desk import views
from app.models import Printer
from imprimatur.chain.signers import KeySigner
from imprimatur.device_auth import authorization
from support.node import ROOT

EXAMPLES = int(os.environ.get("IMPRIMATUR_API_EXAMPLES", "10"))
"""Of each operation. More of them look longer for what is wrong."""
DESK = "/api/v1/keys"
FREE = ("/api/v1/openapi.json", "/api/v1/portal")
"""Nothing can be wrong with asking these."""
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


def routes(app: Flask) -> set[tuple[str, str]]:
    """(path as OpenAPI writes it, method) of what the app serves below /api/."""
    return {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS"}
        if rule.rule.startswith("/api/")
    }


def described() -> set[tuple[str, str]]:
    return {
        (path, method)
        for path, operations in description()["paths"].items()
        for method in operations
        if method not in ("parameters", "servers")
    }


def test_the_committed_description_is_fresh() -> None:
    from tools.openapi import PATH, text

    assert PATH.read_text("utf-8") == text(), "run: python -m tools.openapi"


def test_it_is_valid_openapi() -> None:
    validate(json.loads((ROOT / "docs" / "openapi.v1.json").read_text("utf-8")))


def test_the_portal_serves_it(app: Flask) -> None:
    answer = app.test_client().get("/api/v1/openapi.json")
    assert answer.content_type == "application/json"
    assert answer.get_json() == description()


def test_everything_is_described_and_nothing_else(app: Flask) -> None:
    """HEAD is described where it means something by itself: Flask answers it wherever GET is."""
    desk = Flask("desk")
    desk.register_blueprint(views.blueprint)
    served = routes(app)
    assert not served & routes(desk)
    assert {pair for pair in served | routes(desk) if pair[1] != "head"} == {
        pair for pair in described() if pair[1] != "head"
    }
    assert {pair for pair in described() if pair[1] == "head"} <= served


def test_every_answer_names_its_schema() -> None:
    for path, method in described():
        for status, answer in description()["paths"][path][method]["responses"].items():
            content = answer.get("content", {})
            assert content or status == "304" or method == "head", (path, method, status)
            if int(status) >= 400 and content:
                assert "application/problem+json" in content or path == DESK, (path, status)


class Signing:
    """A WSGI app in front of the portal that signs what comes with the word `sign`, as a device would."""

    def __init__(self, app: Flask, signer: KeySigner, license: str) -> None:
        self.app, self.signer, self.license = app, signer, license

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("HTTP_AUTHORIZATION") == "sign":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            method, target = environ["REQUEST_METHOD"], environ["RAW_URI"]
            environ["HTTP_AUTHORIZATION"] = authorization(self.signer, method, ORIGIN, target, body)
        return self.app(environ, start_response)


@pytest.fixture
def portal(
    app: Flask, session: Session, chain: TestChain, owner: Party, printer: Printer, machine: KeySigner
) -> Signing:
    """A portal with a job for the device that asks."""
    design = sealed_design(app, session, owner).design
    jobs = [job(session, chain, owner, design, machine.address, f"AS-{n}") for n in range(3)]
    return Signing(app, machine, jobs[0].id)


def statuses_of(operation: Any, mode: GenerationMode, license: str) -> set[int]:
    """Send many a request that a device signs; every answer is checked against the description."""
    seen = set()
    known = {"id": license} if "{id}" in operation.path and mode is GenerationMode.POSITIVE else None

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode, path_parameters=known))
    def send(case: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": "sign"}
        answer = case.call()
        seen.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    send()
    return seen


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_it_does_what_it_says(portal: Signing, mode: GenerationMode) -> None:
    """No fault and no answer that isn't described, whatever comes; what breaks the schemas is refused."""
    schema = schemathesis.openapi.from_dict(description())
    schema.app = portal
    found = [result.ok() for result in schema.exclude(path=DESK).get_all_operations()]
    seen = {
        operation.label: statuses_of(operation, mode, portal.license)
        for operation in found
        if mode is GenerationMode.POSITIVE or operation.path not in FREE
    }
    assert len(seen) >= 8
    assert 401 not in set().union(*seen.values()), "the requests weren't signed as they were sent"
    print(mode, seen)
