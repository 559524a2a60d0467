"""Sign-in, sessions, CSRF, headers."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from portal.stage import PASSWORD, Party, sign_in
from sqlalchemy.orm import Session

from app import create_app
from app.models import Printer, User
from app.settings import PROJECT, Settings

TEMPLATES = sorted((PROJECT / "app" / "templates").rglob("*.html"))


def test_passwords_are_argon2(session: Session, owner: Party) -> None:
    stored = session.get(User, owner.user.id)
    assert stored is not None
    assert stored.password is not None
    assert stored.password.startswith("$argon2id$")
    assert PASSWORD not in stored.password


@pytest.mark.parametrize(
    ("email", "password"), [("aero@example.com", "wrong horse"), ("no@example.com", PASSWORD)]
)
def test_wrong_login_tells_nothing(app: Flask, owner: Party, email: str, password: str) -> None:
    client = app.test_client()
    token = client.get("/login").get_data(as_text=True).split('name="csrf_token" value="')[1].split('"')[0]
    answer = client.post("/login", data={"csrf_token": token, "email": email, "password": password})
    assert "E-mail address or password isn't right." in answer.get_data(as_text=True)
    assert client.get("/").status_code == 302


def test_login_leads_back_but_never_away(app: Flask, owner: Party) -> None:
    for target, expected in (
        ("/printers", "/printers"),
        ("https://evil.example/", None),
        ("//evil.example", None),
    ):
        client = app.test_client()
        page = client.get("/login", query_string={"next": target}).get_data(as_text=True)
        token = page.split('name="csrf_token" value="')[1].split('"')[0]
        form = {"csrf_token": token, "email": "aero@example.com", "password": PASSWORD, "next": target}
        answer = client.post("/login", data=form)
        assert answer.location == expected, target


def test_a_session_is_the_only_way_in(app: Flask, session: Session, owner: Party) -> None:
    """Flask-Security's tokens would outlive the session, stand in addresses, and need no CSRF token."""
    user = session.get(User, owner.user.id)
    assert user is not None
    with app.app_context():
        token = user.get_auth_token()
    client = app.test_client()
    assert client.get("/printers", query_string={"auth_token": token}).status_code == 302
    assert client.get("/printers", headers={"Authentication-Token": token}).status_code == 302
    assert client.post("/printers", json={"auth_token": token}).status_code in (400, 401)


@pytest.mark.parametrize("path", ["/login", "/logout", "/printers", "/api/v1/enrolments", "/nowhere"])
@pytest.mark.parametrize("body", [b"[" * 100_000, b"{", b"[]"])
def test_json_of_strangers_is_no_fault(app: Flask, path: str, body: bytes) -> None:
    """Nobody signs in with JSON; nothing of it is parsed."""
    answer = app.test_client().post(path, data=body, content_type="application/json")
    assert 400 <= answer.status_code < 500


def test_signing_out_takes_a_token(owner: Party) -> None:
    assert owner.client.get("/logout").status_code in (302, 405)
    assert owner.client.get("/").status_code == 200
    assert owner.post("/logout").status_code == 302
    assert owner.client.get("/").status_code == 302


def test_every_change_takes_a_csrf_token(session: Session, owner: Party) -> None:
    answer = owner.client.post("/printers", data={"name": "x", "address": "0x" + "1" * 40})
    assert answer.status_code == 400
    assert owner.client.put("/designs/files?name=a.gcode", data=b"G28\n").status_code == 400
    assert session.query(Printer).count() == 0


def test_session_cookie(app: Flask, owner: Party, options: Settings) -> None:
    client = app.test_client()
    client.get("/login")
    cookie = sign_in(client, "aero@example.com").headers["Set-Cookie"]
    assert cookie.startswith("imprimatur_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie  # plain http on this machine only
    https = create_app(replace(options, public_url="https://portal.example"))
    answer = https.test_client().get("/login")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_headers_and_a_fresh_nonce(owner: Party) -> None:
    nonces = set()
    for url in ("/", "/login", "/explorer", "/nowhere", "/api/v1/device/jobs", "/static/portal.css"):
        with owner.client.get(url) as answer:
            headers = answer.headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        nonces.add(re.search(r"'nonce-([\w-]+)'", policy)[1])  # type: ignore[index]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
    assert len(nonces) == 6


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_have_nothing_inline_and_nothing_from_elsewhere(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\son[a-z]+\s*=", text), "an inline handler"
    assert not re.search(r"\sstyle\s*=|<style", text), "an inline style"
    assert not re.search(r"(?:src|href|action)\s*=\s*[\"'](?:https?:)?//", text), "an external resource"
    assert "|safe" not in text.replace("icon_paths[name]|safe", "")
    for script in re.findall(r"<script\b[^>]*>", text):
        assert "csp_nonce()" in script


def test_problems_of_the_api_are_json(app: Flask) -> None:
    answer = app.test_client().get("/api/v1/device/nowhere")
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["status"] == 404
    assert set(answer.get_json()) == {"type", "title", "status", "detail"}


def test_large_forms_are_refused(owner: Party) -> None:
    answer = owner.client.post("/printers", data={"csrf_token": owner.csrf(), "name": "x" * 300_000})
    assert answer.status_code == 413


def test_an_unexpected_error_tells_nothing(app: Flask, owner: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.services import printers

    def broken(*_: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(printers, "printers_of", broken)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    answer = owner.client.get("/printers")
    assert answer.status_code == 500
    assert "swordfish" not in answer.get_data(as_text=True)


def test_logs_carry_no_secrets(app: Flask, owner: Party, capsys: pytest.CaptureFixture[str]) -> None:
    owner.client.get("/explorer?q=private-search", headers={"Authorization": "Bearer hidden"})
    logged = capsys.readouterr().err
    assert '"path": "/explorer"' in logged
    for secret in ("private-search", "hidden", PASSWORD, "imprimatur_session"):
        assert secret not in logged


def test_web3_leaves_the_recursion_limit_alone():
    """One of web3's dependencies raises it so far that nested JSON overflows the stack."""
    code = (
        "import sys; limit = sys.getrecursionlimit()\n"
        "from app.chain import http_rpc; http_rpc('http://127.0.0.1:1')\n"
        "from imprimatur.device_auth import NotAuthenticated, authenticate\n"
        "try: authenticate('Imprimatur address=0x' + '1' * 40 + ', time=1, nonce=' + '0' * 32\n"
        "    + ', signature=0x' + '2' * 130, 'GET', 'http://a', '/')\n"
        "except NotAuthenticated: pass\n"
        "assert 'web3' in sys.modules and 'eth_account' in sys.modules\n"
        "assert sys.getrecursionlimit() == limit, sys.getrecursionlimit()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
