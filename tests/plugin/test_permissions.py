"""Who may use which route: a table, and the same by real accounts."""

import flask
import pytest
import requests

import octoprint_imprimatur
from conftest import Issue, Printer
from imprimatur.license_id import format_id
from octoprint_imprimatur.routes import LARGEST_BODY, MANAGE, PRINT, REPORT, STATUS
from support.octoprint import OctoPrint

TABLE = {
    ("GET", "/licenses"): STATUS,
    ("POST", "/licenses/<string:license_id>/print"): PRINT,
    ("GET", "/jobs"): STATUS,
    ("POST", "/jobs/<string:job_id>/print"): PRINT,
    ("POST", "/jobs/<string:job_id>/withdraw"): PRINT,
    ("POST", "/jobs/<string:job_id>/dismiss"): PRINT,
    ("POST", "/jobs/<string:job_id>/failure"): REPORT,
    ("GET", "/setup"): STATUS,
    ("POST", "/setup/invitation"): MANAGE,
    ("POST", "/setup/enrol"): MANAGE,
    ("POST", "/setup/key"): MANAGE,
    ("POST", "/setup/policy"): MANAGE,
    ("POST", "/setup/trusted_hooks"): MANAGE,
    ("POST", "/check"): MANAGE,
}
FRESH_LOGIN = {"/setup/policy", "/setup/trusted_hooks"}
"""Whoever is logged in must have entered the password lately."""
BASE = "/plugin/imprimatur"


@pytest.fixture(scope="module")
def rules() -> list[tuple[str, str, object]]:
    """Method, address and view of every route that OctoPrint would get."""
    plugin = octoprint_imprimatur.ImprimaturPlugin()
    plugin._identifier, plugin._basefolder = "imprimatur", "."
    app = flask.Flask(__name__)
    app.register_blueprint(plugin.get_blueprint())
    views = app.view_functions
    return [
        (method, rule.rule, views[rule.endpoint])
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.endpoint.endswith("static")
    ]


def test_every_route_declares_who_may_use_it(rules: list[tuple[str, str, object]]) -> None:
    found = {(method, rule): getattr(view, "permission", None) for method, rule, view in rules}
    assert found == TABLE
    fresh = {rule for _, rule, view in rules if getattr(view, "fresh_login", False)}
    assert fresh == FRESH_LOGIN


def test_the_blueprint_is_protected() -> None:
    plugin = octoprint_imprimatur.ImprimaturPlugin()
    assert plugin.is_blueprint_protected()
    assert plugin.is_blueprint_csrf_protected()
    assert plugin.is_api_protected()


def addresses(license: str) -> list[tuple[str, str, str]]:
    return [
        (method, BASE + rule.replace("<string:license_id>", license).replace("<string:job_id>", "any"), who)
        for (method, rule), who in TABLE.items()
    ]


class Visitor:
    """A browser: cookies, and the token that OctoPrint wants back from its pages."""

    def __init__(self, octoprint: OctoPrint) -> None:
        self.url = octoprint.url
        self.password = octoprint.password
        self.session = requests.Session()
        # The page brings the token.
        self.request("GET", "/login/", with_token=False).raise_for_status()

    def log_in(self, name: str, remember: bool = False) -> None:
        sent = {"user": name, "pass": self.password, "remember": remember}
        answer = self.request("POST", "/api/login", sent)
        assert answer.status_code == 200, answer.text

    def request(
        self, method: str, path: str, body: object = None, with_token: bool = True
    ) -> requests.Response:
        headers = {}
        if with_token:
            token = next((c.value for c in self.session.cookies if c.name.startswith("csrf_token")), "")
            headers["X-CSRF-Token"] = str(token)
        json = {} if body is None and method == "POST" else body
        return self.session.request(method, self.url + path, json=json, headers=headers, timeout=30)


def test_strangers_get_nothing(printer: Printer, issue: Issue) -> None:
    license = issue()
    stranger = Visitor(printer.octoprint)
    for method, path, _ in addresses(format_id(license.id)):
        assert stranger.request(method, path).status_code == 403, path
    assert printer.used(license.id) == 0


def test_operators_print_and_change_nothing(printer: Printer) -> None:
    operator = Visitor(printer.octoprint)
    operator.log_in("operator")
    for method, path, who in addresses("nonsense"):
        status = operator.request(method, path).status_code
        if who == MANAGE:
            assert status == 403, path
        else:
            assert status in (200, 204, 404, 409), (path, status)
    told = operator.request("GET", f"{BASE}/setup").json()
    assert told["pkcs11"] is None
    assert told["node_url"] == "127.0.0.1"


def test_a_page_of_somebody_else_cant_use_a_login(printer: Printer) -> None:
    visitor = Visitor(printer.octoprint)
    visitor.log_in("admin")
    for method, path, _ in addresses("nonsense"):
        if method == "POST":
            answer = visitor.request(method, path, {"policy": "licensed_and_free"}, with_token=False)
            assert answer.status_code == 400, path
    assert visitor.request("GET", f"{BASE}/setup").json()["policy"] == "licensed_only"


def test_the_policy_wants_the_password_again(printer: Printer) -> None:
    visitor = Visitor(printer.octoprint)
    visitor.log_in("admin", remember=True)
    for cookie in list(visitor.session.cookies):
        if cookie.name.startswith("session"):
            visitor.session.cookies.clear(cookie.domain, cookie.path, cookie.name)
    # Remembered, but who sits there now isn't known.
    answer = visitor.request("POST", "/api/login", {"passive": True})
    assert answer.json()["name"] == "admin"
    for route, body in [
        ("policy", {"policy": "licensed_and_free"}),
        ("trusted_hooks", {"trusted_hooks": ["a"]}),
    ]:
        assert visitor.request("POST", f"{BASE}/setup/{route}", body).status_code == 403, route
    told = visitor.request("GET", f"{BASE}/setup").json()
    assert (told["policy"], told["trusted_hooks"]) == ("licensed_only", [])

    visitor.log_in("admin")
    answer = visitor.request("POST", f"{BASE}/setup/trusted_hooks", {"trusted_hooks": ["b", "a", "b"]})
    assert answer.json()["setup"]["trusted_hooks"] == ["a", "b"]
    answer = visitor.request("POST", f"{BASE}/setup/trusted_hooks", {"trusted_hooks": []})
    assert answer.json()["setup"]["trusted_hooks"] == []
    answer = visitor.request("POST", f"{BASE}/setup/policy", {"policy": "licensed_and_free"})
    assert answer.json()["setup"]["gate"]["policy"] == "licensed_and_free"
    answer = visitor.request("POST", f"{BASE}/setup/policy", {"policy": "licensed_only"})
    assert answer.json()["setup"]["gate"]["policy"] == "licensed_only"


def test_the_general_settings_dont_change_what_has_a_route_of_its_own(printer: Printer) -> None:
    guarded = {
        "policy": "licensed_and_free",
        "trusted_hooks": ["spy"],
        "key_store": "pkcs11",
        "enrolled_device": "0x",
    }
    answer = printer.octoprint.post("/api/settings", plugins={"imprimatur": {**guarded, "portal_name": "P"}})
    assert answer.status_code == 200
    settings = answer.json()["plugins"]["imprimatur"]
    assert {key: settings[key] for key in guarded} == {
        "policy": "licensed_only",
        "trusted_hooks": [],
        "key_store": "keystore",
        "enrolled_device": "",
    }
    assert settings["portal_name"] == "P"
    printer.octoprint.post("/api/settings", plugins={"imprimatur": {"portal_name": ""}})


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("setup/policy", {"policy": "anything"}),
        ("setup/policy", {"policy": ["licensed_and_free"]}),
        ("setup/trusted_hooks", {"trusted_hooks": "all"}),
        ("setup/trusted_hooks", {"trusted_hooks": [1]}),
        ("setup/trusted_hooks", {"trusted_hooks": ["x"] * 101}),
        ("setup/invitation", {"invitation": ""}),
        ("setup/invitation", {"invitation": "x" * 3000}),
        ("setup/enrol", {"invitation": "K7Q2M-0XKD9-RT4WV-1B3CD"}),
        ("setup/key", {"store": "drawer"}),
        ("setup/key", {"store": "pkcs11", "module": "/x", "token": "t", "label": "l"}),
        ("jobs/any/failure", {"reason": "the weather"}),
        ("jobs/any/failure", {"note": "x" * 201}),
        ("jobs/any/failure", {"note": ["x"]}),
        ("licenses/0x1/print", {"copy": "1"}),
        ("licenses/0x1/print", {"copy": True}),
        ("setup/invitation", ["K7Q2M-0XKD9-RT4WV-1B3CD"]),
        ("setup/key", {"store": "pkcs11", "module": "/x\0", "token": "t", "label": "l", "pin": "1"}),
        ("setup/key", {"store": "pkcs11", "module": "/x", "token": "t", "label": "l", "pin": "\ud800"}),
    ],
)
def test_what_cant_be_meant_is_turned_away(printer: Printer, route: str, body: object) -> None:
    answer = printer.octoprint.request("POST", f"{BASE}/{route}", json=body)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    "data",
    [b'{"copy": 7', b"[7]", b"copy=7", b"null", b'{"copy": ' + b"9" * 5000 + b"}"],
    ids=lambda data: data[:9],
)
def test_a_confirmation_that_cant_be_read_isnt_none(printer: Printer, issue: Issue, data: bytes) -> None:
    """Without one any copy is used."""
    license = issue()
    headers = {"Content-Type": "application/json"}
    path = f"{BASE}/licenses/{format_id(license.id)}/print"
    answer = printer.octoprint.request("POST", path, data=data, headers=headers)
    assert answer.status_code == 400, answer.text
    assert printer.used(license.id) == 0


def test_large_bodies_arent_read(printer: Printer) -> None:
    answer = printer.octoprint.post(f"{BASE}/setup/invitation", invitation="x" * (LARGEST_BODY + 1))
    assert answer.status_code == 413
