"""Invitations: what is read, what is looked at before one is used, and what is said when it can't be."""

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from imprimatur.chain.signers import KeySigner
from imprimatur.device import PortalInfo
from imprimatur.device.fingerprint import ALPHABET, fingerprint
from imprimatur.device.invitation import InvitationUnreadable, invitation_link, read_invitation
from octoprint_imprimatur import enrolment, keys
from octoprint_imprimatur.connection import Address
from octoprint_imprimatur.messages import Refused
from support.delivery_portal import DeliveryPortal, Fault
from support.node import Chain

CODE = "K7Q2M-0XKD9-RT4WV-1B3CD-00000"
URL = "https://portal.example/base"
TICKET = json.dumps({"imprimatur": 1, "portal": URL, "invitation": CODE})


@pytest.fixture
def signer() -> KeySigner:
    return KeySigner(secrets.token_bytes(32))


@pytest.fixture
def code() -> str:
    """Of an invitation that no other test has used."""
    return f"K7Q2M-0XKD9-{secrets.token_hex(8).upper()}"


def code_of(work: Any, *arguments: Any, **options: Any) -> str:
    """The reason of a refusal."""
    with pytest.raises(Refused) as refused:
        work(*arguments, **options)
    return refused.value.message.key


# Reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (CODE, None),
        (f"  {CODE}\n", None),
        (invitation_link(URL, CODE), URL),
        (invitation_link(URL + "/", CODE), URL),
        (TICKET, URL),
    ],
)
def test_each_form_of_an_invitation(text: str, url: str | None) -> None:
    found = read_invitation(text)
    assert (found.code, found.portal_url) == (CODE, url)
    assert CODE not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "x" * 65,
        "with a blank in it",
        "https://portal.example/",
        f"{URL}/?invitation={CODE}",
        f"{URL}/#invitation=",
        f"{URL}/#invitation={CODE}#{CODE}",
        "{",
        "{}",
        "[" * 3000,
        "{" + '"a":{' * 300,
        json.dumps({"imprimatur": 2, "portal": URL, "invitation": CODE}),
        json.dumps({"imprimatur": 1, "portal": 7, "invitation": CODE}),
        json.dumps({"imprimatur": 1, "portal": URL, "invitation": [CODE]}),
        json.dumps({"imprimatur": 1, "invitation": "x"}),
    ],
)
def test_what_isnt_an_invitation_is_never_repeated(text: str) -> None:
    with pytest.raises(InvitationUnreadable) as error:
        read_invitation(text)
    assert len(text) < 5 or text not in str(error.value)


def test_a_fingerprint_is_four_groups_that_nobody_mishears() -> None:
    groups = fingerprint("0x" + "00" * 20).split(" ")
    assert [len(group) for group in groups] == [4, 4, 4, 4]
    assert set("".join(groups)) <= set(ALPHABET)
    # SHA-256 of 20 zero bytes is de47c9b27eb8d300dbb5…; its first 80 bits in base 32.
    assert groups == ["VS3W", "KCKY", "Q39G", "1PXN"]
    assert fingerprint("0x" + "AB" * 20) == fingerprint("0x" + "ab" * 20) != fingerprint("0x" + "ac" * 20)
    with pytest.raises(ValueError, match="20 bytes"):
        fingerprint("0x12")


# Looking ---------------------------------------------------------------------------------------------------


def test_a_look_at_the_portal(portal: DeliveryPortal, signer: KeySigner, code: str) -> None:
    portal.invitations[code] = None
    invited = enrolment.preview(invitation_link(portal.url, code), "", signer, False)
    assert invited.as_json() == {
        "url": portal.url,
        "chain_id": portal.chain_id,
        "contract": portal.contract,
        "since": portal.info["since"],
        "desk_url": portal.desk_url,
        "desk_address": portal.desk_address,
    }
    assert code not in repr(invited)
    assert portal.invitations[code] is None, "a look uses nothing up"


def test_why_a_portal_cant_be_looked_at(portal: DeliveryPortal, signer: KeySigner) -> None:
    def preview(text: str = CODE, url: str = portal.url, allow_http: bool = False) -> str:
        return code_of(enrolment.preview, text, url, signer, allow_http)

    assert preview("nonsense") == "invitation_unreadable"
    assert preview(url="") == "invitation_without_portal"
    assert preview(url="http://portal.example") == "portal_url"
    assert preview(url="ftp://portal.example") == "portal_url"
    assert preview(url="https://ann:secret@portal.example") == "portal_url"
    assert preview(url="http://127.0.0.1:1") == "portal_down"
    # Allowed, it is asked, and isn't there.
    assert preview(url="http://imprimatur.invalid", allow_http=True) == "portal_down"
    for body, status, code in [
        (problem("no_desk", 503), 503, "portal_no_desk"),
        (problem("busy", 503), 503, "portal_no_time"),
        (b"<html>", 200, "portal_confused"),
        (json.dumps(portal.info | {"deskUrl": "http://desk.example"}).encode(), 200, "desk_url"),
        (json.dumps(portal.info | {"contract": portal.contract.lower()}).encode(), 200, "portal_confused"),
    ]:
        headers = {"Content-Type": "application/problem+json" if status == 503 else "application/json"}
        portal.faults.append(Fault("GET .*/portal", status, body, headers))
        assert preview() == code


def problem(code: str, status: int, detail: str = "No.") -> bytes:
    document = {
        "type": f"urn:imprimatur:problem:{code}",
        "title": "Refused",
        "status": status,
        "detail": detail,
    }
    return json.dumps(document).encode()


def test_the_node_has_to_know_the_portals_contract(portal: DeliveryPortal, chain: Chain) -> None:
    told = PortalInfo.from_document(portal.info)
    enrolment.require_node(chain.url, told)
    elsewhere = PortalInfo.from_document(portal.info | {"chainId": portal.chain_id + 1})
    nothing = PortalInfo.from_document(portal.info | {"contract": portal.operator.address})
    assert code_of(enrolment.require_node, chain.url, elsewhere) == "other_chain"
    assert code_of(enrolment.require_node, chain.url, nothing) == "no_contract"
    assert code_of(enrolment.require_node, "http://127.0.0.1:1", told) == "node_down"
    assert code_of(enrolment.require_node, portal.url, told) == "node_down"
    for url in ("", "node", "ftp://node", "http://", "https:///path", "http://[::1", "http://node:99999"):
        assert code_of(enrolment.require_node, url, told) == "node_url"


# Enrolling -------------------------------------------------------------------------------------------------


def invited(portal: DeliveryPortal, signer: KeySigner, code: str) -> enrolment.Invited:
    return enrolment.preview(code, portal.url, signer, False)


def test_what_is_remembered_is_a_connection(
    portal: DeliveryPortal, chain: Chain, signer: KeySigner, tmp_path: Path, code: str
) -> None:
    portal.invitations[code] = None
    found = invited(portal, signer, code)
    public = keys.encryption_key(tmp_path)
    for _ in range(2):  # The answer may get lost: the same again.
        done = enrolment.enrol(found, signer, "", public)
    assert (done.device, done.wallet, done.printer) == (signer.address, signer.address, "Left bay")
    settings = enrolment.settings_of(found, done, chain.url)
    address = Address.parse(settings)
    assert (address.contract, address.since) == (portal.contract, chain.licenses.since)
    assert (address.desk_url, address.desk_address) == (portal.desk_url, portal.desk_address)
    assert settings["enrolled_device"] == signer.address
    assert keys.encryption_key(tmp_path) == public, "asking again says the same"
    assert (tmp_path / keys.ENCRYPTION_KEY).stat().st_mode & 0o777 == 0o600


def test_why_nobody_is_let_in(portal: DeliveryPortal, signer: KeySigner, tmp_path: Path, code: str) -> None:
    portal.invitations[code] = "0x" + "11" * 20
    public = keys.encryption_key(tmp_path)

    def enrol(code: str = code, wallet: str = "") -> str:
        return code_of(enrolment.enrol, invited(portal, signer, code), signer, wallet, public)

    assert enrol() == "invitation_used"
    assert enrol(code[:-1] + "Z") == "invitation_unknown"
    assert enrol(wallet="0x12") == "wallet_unreadable"
    for status, refusal, said in [
        (410, "invitation_expired", "invitation_expired"),
        (409, "not_bound", "not_bound"),
        (403, "device_disabled", "device_disabled"),
        (401, "not_authentic", "portal_refused"),
        (503, "no_desk", "portal_no_desk"),
        (429, "busy", "portal_no_time"),
        (500, "fault", "portal_down"),
    ]:
        headers = {"Content-Type": "application/problem+json"}
        portal.faults.append(Fault("POST .*/enrolments", status, problem(refusal, status), headers))
        assert enrol() == said
    portal.faults.append(Fault("POST .*/enrolments", keep=0))
    portal.invitations[code] = None
    assert enrol() == "portal_down"
    assert portal.invitations[code] == signer.address, "it was done, and nobody knew"
    assert enrolment.enrol(invited(portal, signer, code), signer, "", public).device == signer.address


def test_a_portal_that_changes_its_mind_isnt_believed(
    portal: DeliveryPortal, signer: KeySigner, tmp_path: Path, code: str
) -> None:
    portal.invitations[code] = None
    found = invited(portal, signer, code)
    other = {
        "device": signer.address,
        "wallet": signer.address,
        "printer": "Left bay",
        "owner": "Aero Spares",
        "portal": portal.info | {"deskAddress": portal.operator.address},
    }
    headers = {"Content-Type": "application/json"}
    portal.faults.append(Fault("POST .*/enrolments", 201, json.dumps(other).encode(), headers))
    assert code_of(enrolment.enrol, found, signer, "", keys.encryption_key(tmp_path)) == "portal_confused"
