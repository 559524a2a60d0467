"""A printer is set up from nothing: key, invitation, policy; on a real OctoPrint that knows no portal yet."""

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import Issue, issuer, part
from imprimatur.chain.signers import KeySigner
from imprimatur.device.fingerprint import fingerprint
from imprimatur.device.invitation import invitation_link
from imprimatur.license_id import format_id
from support import softhsm
from support.delivery_portal import DeliveryPortal
from support.node import Chain
from support.octoprint import OctoPrint, gcode_lines, running_octoprint, wait_for

_numbers = iter(range(10_000))


@pytest.fixture(scope="module")
def octoprint(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OctoPrint]:
    """Without any settings of the plugin, beside a token with nothing in it."""
    softhsm.new_token("shop")
    watcher = Path(__file__).parent / "line_watcher.py"
    with running_octoprint(tmp_path_factory.mktemp("octoprint"), {}, [watcher]) as octoprint:
        wait_for("Its key is there", lambda: setup(octoprint)["key"]["address"])
        yield octoprint


def setup(octoprint: OctoPrint) -> dict[str, Any]:
    found: dict[str, Any] = octoprint.get("/plugin/imprimatur/setup")
    return found


def send(octoprint: OctoPrint, route: str, **body: Any) -> requests.Response:
    return octoprint.post(f"/plugin/imprimatur/setup/{route}", **body)


def refused(octoprint: OctoPrint, route: str, **body: Any) -> str:
    """The reason of a refusal."""
    answer = send(octoprint, route, **body)
    assert answer.status_code == 409, answer.text
    return str(answer.json()["reason"]["key"])


def invited(portal: DeliveryPortal) -> str:
    """A fresh code."""
    code = f"K7Q2M-0XKD9-{secrets.token_hex(8).upper()}"
    portal.invitations[code] = None
    return code


def enrolled(octoprint: OctoPrint, portal: DeliveryPortal, chain: Chain) -> str:
    """Accept an invitation; the printer's address."""
    link = invitation_link(portal.url, invited(portal))
    answer = send(octoprint, "enrol", invitation=link, node_url=chain.url)
    assert answer.status_code == 200, answer.text
    assert answer.json()["setup"]["done"]
    return str(answer.json()["setup"]["key"]["address"])


def test_a_new_printer_has_a_key_and_prints_nothing(octoprint: OctoPrint) -> None:
    found = setup(octoprint)
    assert (found["done"], found["portal"], found["policy"]) == (False, None, "licensed_only")
    assert (found["key"]["state"], found["key"]["store"]) == ("ready", "keystore")
    assert found["key"]["fingerprint"] == fingerprint(found["key"]["address"])
    assert found["gate"]["ok"], found["gate"]
    assert octoprint.licenses()["problem"]["key"] == "not_set_up"


def test_from_an_invitation_to_the_first_print(
    octoprint: OctoPrint, portal: DeliveryPortal, chain: Chain, owner: KeySigner
) -> None:
    code = invited(portal)
    link = invitation_link(portal.url, code)
    answer = send(octoprint, "invitation", invitation=link)
    assert answer.status_code == 200, answer.text
    told = answer.json()["portal"]
    assert (told["url"], told["chain_id"], told["contract"]) == (portal.url, chain.chain_id, portal.contract)
    assert portal.invitations[code] is None, "a look uses nothing up"
    assert setup(octoprint)["portal"] is None

    answer = send(octoprint, "enrol", invitation=link, node_url=chain.url)
    assert answer.status_code == 200, answer.text
    done = answer.json()["setup"]
    assert done["done"]
    assert (done["portal"]["printer"], done["portal"]["owner"]) == ("Left bay", "Aero Spares")
    assert done["portal"]["device"] == done["key"]["address"]

    issue: Issue = issuer(owner, portal, done["key"]["address"])
    license = issue()
    assert license.id in {int(card["id"], 16) for card in octoprint.licenses()["licenses"]}
    job = octoprint.print_license(license.id).json()["job"]
    assert octoprint.wait_for_state(job["id"], "FINISHED", "FAILED", "ABANDONED")["state"] == "FINISHED"
    octoprint.wait_until_operational()


def test_why_an_invitation_isnt_taken(octoprint: OctoPrint, portal: DeliveryPortal, chain: Chain) -> None:
    """What is said by whom is tested without OctoPrint (`test_enrolment.py`); nothing is stored meanwhile."""
    before = setup(octoprint)
    code = invited(portal)
    known = {"invitation": code, "portal_url": portal.url, "node_url": chain.url}
    assert refused(octoprint, "invitation", invitation=code) == "invitation_without_portal"
    assert refused(octoprint, "invitation", invitation="nonsense") == "invitation_unreadable"
    assert refused(octoprint, "enrol", **known | {"portal_url": "http://127.0.0.1:1"}) == "portal_down"
    assert refused(octoprint, "enrol", **known | {"portal_url": "http://portal.example"}) == "portal_url"
    assert refused(octoprint, "enrol", **known | {"node_url": "http://127.0.0.1:1"}) == "node_down"
    assert refused(octoprint, "enrol", **known | {"node_url": "nowhere"}) == "node_url"
    assert refused(octoprint, "enrol", **known | {"wallet": "0x1"}) == "wallet_unreadable"
    assert refused(octoprint, "enrol", **known | {"invitation": code[:-1] + "Z"}) == "invitation_unknown"
    assert portal.invitations[code] is None, "still good"
    assert setup(octoprint) == before
    ticket = f'{{"imprimatur":1,"portal":"{portal.url}","invitation":"{code}"}}'
    assert send(octoprint, "enrol", invitation=ticket, node_url=chain.url).status_code == 200
    assert portal.invitations[code] == before["key"]["address"]


def test_an_own_file_prints_without_any_portal(
    octoprint: OctoPrint, portal: DeliveryPortal, chain: Chain, owner: KeySigner
) -> None:
    """A license and a file: the printer pays for its use itself."""
    address = enrolled(octoprint, portal, chain)
    chain.fund(address)
    change_settings(octoprint, portal_url="", desk_url="")
    data = part()
    number = f"own-{next(_numbers)}"
    id = chain.issue(owner, address, hashlib.sha256(data).hexdigest(), 1, number)
    # What was being read when the portal was taken away has been read then.
    octoprint.licenses()
    portal.requests.clear()
    octoprint.upload("another.gcode", "G28\n")
    card = card_of(octoprint, id)
    assert (card["state"], card["kind"], card["files"], card["remaining"]) == ("ready", "own_file", [], 1)
    octoprint.upload("clip.gcode", data.decode(), path="parts")
    card = wait_for("It is found", lambda: (found := card_of(octoprint, id))["files"] and found)
    assert card["files"] == [{"path": "parts/clip.gcode", "name": "clip.gcode"}]

    for file in ("parts/none.gcode", "../config.yaml"):
        answer = octoprint.print_license(id, copy=1, file=file)
        assert (answer.status_code, answer.json()["reason"]["key"]) == (409, "no_local_file"), file
    answer = octoprint.print_license(id, copy=1, file="another.gcode")
    assert answer.json()["reason"]["key"] == "other_file"
    assert octoprint.print_license(id, copy=1).json()["reason"]["key"] == "no_file"

    mark = octoprint.mark()
    job = octoprint.print_license(id, copy=1, file="parts/clip.gcode").json()["job"]
    assert job["kind"] == "own_file"
    assert octoprint.wait_for_state(job["id"], "FINISHED", "FAILED", "ABANDONED")["state"] == "FINISHED"
    octoprint.wait_until_operational()
    received = octoprint.received(mark)
    assert [line for line in gcode_lines(data.decode()) if line not in received] == []
    assert portal.requests == []
    assert card_of(octoprint, id)["state"] == "used_up"
    change_settings(octoprint, portal_url=portal.url, desk_url=portal.desk_url)


def card_of(octoprint: OctoPrint, id: int) -> dict[str, Any]:
    cards = octoprint.licenses()["licenses"]
    found: dict[str, Any] = next(card for card in cards if card["id"] == format_id(id))
    return found


def change_settings(octoprint: OctoPrint, **changes: Any) -> None:
    answer = octoprint.post("/api/settings", plugins={"imprimatur": changes})
    assert answer.status_code == 200, answer.text


def test_a_key_in_a_token_takes_over_and_the_keystore_stays(
    octoprint: OctoPrint, portal: DeliveryPortal, chain: Chain, owner: KeySigner
) -> None:
    keystore = setup(octoprint)["key"]["address"]
    token = {"store": "pkcs11", "module": str(softhsm.module()), "token": "shop", "label": "printer"}
    for wrong in ({"pin": "00000"}, {"pin": softhsm.PIN}, {"pin": softhsm.PIN, "token": "none"}):
        assert refused(octoprint, "key", **token | wrong) == "key_refused"
    uploaded = octoprint.basedir / "uploads" / "module.gcode"
    uploaded.write_bytes(b"a program")
    for module in (str(uploaded), "module.so"):
        assert refused(octoprint, "key", **token | {"pin": softhsm.PIN, "module": module}) == "module_refused"
    assert setup(octoprint)["key"]["address"] == keystore

    answer = send(octoprint, "key", **token, pin=softhsm.PIN, create=True)
    assert answer.status_code == 200, answer.text
    found = answer.json()["setup"]
    assert (found["key"]["store"], found["key"]["state"]) == ("pkcs11", "ready")
    assert found["key"]["address"] != keystore
    assert not found["done"], "its portal invited another key"
    assert softhsm.PIN not in answer.text
    folder = octoprint.basedir / "data" / "imprimatur"
    assert (folder / "printer-key.pin").stat().st_mode & 0o777 == 0o600
    assert softhsm.PIN not in (octoprint.basedir / "config.yaml").read_text()
    assert refused(octoprint, "key", **token, pin="00000") == "token_open"
    kept = (folder / "printer-key.pin").read_bytes()

    assert enrolled(octoprint, portal, chain) == found["key"]["address"]
    issue: Issue = issuer(owner, portal, found["key"]["address"])
    license = issue(copies=2, data=b"; slow\nG28\n" + b"G4 P200\n" * 10 + b"M83\nG1 X1 Y1 E1\n")
    job = octoprint.print_license(license.id).json()["job"]["id"]
    octoprint.wait_for_state(job, "ARMED")
    assert refused(octoprint, "key", store="keystore") == "jobs_open"
    octoprint.post("/api/job", command="cancel")
    octoprint.wait_for_state(job, "KEYED")
    octoprint.wait_until_operational()
    assert refused(octoprint, "key", store="keystore") == "jobs_open", "a paid copy belongs to this key"
    assert octoprint.post(f"/plugin/imprimatur/jobs/{job}/print").status_code == 202
    octoprint.wait_for_state(job, "FINISHED")
    octoprint.wait_until_operational()

    found = send(octoprint, "key", store="keystore").json()["setup"]
    assert (found["key"]["address"], found["key"]["store"]) == (keystore, "keystore")
    assert not found["done"]
    # Nobody uses the token now, but OctoPrint's process is still logged in to it.
    assert refused(octoprint, "key", **token, pin="00000") == "token_open"
    assert (folder / "printer-key.pin").read_bytes() == kept


def test_a_failure_is_reported_with_its_reason(
    octoprint: OctoPrint, portal: DeliveryPortal, chain: Chain, owner: KeySigner
) -> None:
    issue: Issue = issuer(owner, portal, enrolled(octoprint, portal, chain))
    moves = "".join(f"G1 X{i} E0.01\nG4 P200\n" for i in range(20)).encode()
    license = issue(failures_allowed=1, data=b"G28\nM83\nG1 X1 E1\n" + moves)
    job = octoprint.print_license(license.id).json()["job"]["id"]
    octoprint.wait_for_state(job, "PRINTING")
    octoprint.post("/api/job", command="cancel")
    assert octoprint.wait_for_state(job, "FAILED")["failure"] is None
    said = {"reason": "shifted", "note": " the belt\x00 slipped "}
    answer = octoprint.post(f"/plugin/imprimatur/jobs/{job}/failure", **said)
    assert answer.status_code == 202, answer.text
    wait_for("It is given back", lambda: octoprint.job(job)["message"]["key"] == "given_back")
    assert octoprint.job(job)["failure"] == {"reason": "shifted", "note": "the belt slipped"}
    (event,) = chain.licenses.events("PrintFailed", id=license.id)
    assert any(event.values["evidence"])
    octoprint.wait_until_operational()


def test_a_plugin_that_sees_lines_has_to_be_trusted(
    octoprint: OctoPrint, portal: DeliveryPortal, chain: Chain, owner: KeySigner
) -> None:
    issue: Issue = issuer(owner, portal, enrolled(octoprint, portal, chain))
    license, own = issue(), issue()
    assert setup(octoprint)["foreign_hooks"] == []
    octoprint.post("/api/plugin/line_watcher", command="watch").raise_for_status()
    try:
        assert setup(octoprint)["foreign_hooks"] == [{"id": "line_watcher", "name": "Line watcher"}]
        answer = octoprint.print_license(license.id)
        assert (answer.status_code, answer.json()["reason"]["key"]) == (409, "foreign_hooks")
        # A file of the operator's own lies in the open anyway.
        octoprint.upload("own.gcode", own.data.decode())
        job = octoprint.print_license(own.id, file="own.gcode").json()["job"]["id"]
        assert octoprint.wait_for_state(job, "FINISHED", "FAILED", "ABANDONED")["state"] == "FINISHED"
        octoprint.wait_until_operational()

        assert send(octoprint, "trusted_hooks", trusted_hooks=["line_watcher"]).status_code == 200
        job = octoprint.print_license(license.id).json()["job"]["id"]
        assert octoprint.wait_for_state(job, "FINISHED", "FAILED", "ABANDONED")["state"] == "FINISHED"
        octoprint.wait_until_operational()
    finally:
        octoprint.post("/api/plugin/line_watcher", command="rest").raise_for_status()
        assert send(octoprint, "trusted_hooks", trusted_hooks=[]).status_code == 200
