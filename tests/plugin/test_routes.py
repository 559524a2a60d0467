"""Whatever goes wrong behind a route, whoever asked gets a sentence."""

import sqlite3
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import flask
import pytest
from flask_babel import Babel

from imprimatur.chain.signers import SignerUnusable
from octoprint_imprimatur import routes
from octoprint_imprimatur.messages import Refused


@pytest.mark.parametrize(
    ("trouble", "key"),
    [
        (Refused("busy"), "busy"),
        (SignerUnusable("The token is gone."), "key_unusable"),
        (sqlite3.OperationalError("database or disk is full"), "disk_trouble"),
    ],
)
def test_troubles_are_answered(monkeypatch: pytest.MonkeyPatch, trouble: Exception, key: str) -> None:
    # Who may ask is tested in test_permissions, on a real OctoPrint.
    anybody = SimpleNamespace(require=lambda _status: nullcontext())
    monkeypatch.setattr(routes, "Permissions", SimpleNamespace(STATUS=anybody))

    @routes.route("/jobs", "GET", routes.STATUS)
    def view(_plugin: Any) -> None:
        raise trouble

    app = flask.Flask(__name__)
    Babel(app)
    with app.test_request_context():
        answer = view(SimpleNamespace(service=object()))
    assert answer.status_code == 409
    assert answer.get_json()["reason"]["key"] == key
    assert answer.get_json()["error"]
