"""Devices come in by invitation: once, bound to their wallet, and out again."""

import hashlib
import html
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import segno
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from portal.jobs import ORIGIN, DeviceClient, at_once
from portal.stage import Party, TestChain, make_party
from portal.test_device_api import JOBS, problem
from sqlalchemy.orm import Session

from app import create_app
from app.api.v1 import documents
from app.extensions import db
from app.models import Base, Device, DeviceNonce, Invitation, Printer
from app.models.base import now
from app.services import invitations
from app.services.printers import NameMissing
from app.settings import Settings
from imprimatur import schemas
from imprimatur.chain import transactions
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import device_domain, sign_binding
from imprimatur.device.invitation import Invitation as PastedInvitation
from imprimatur.device.invitation import read_invitation
from imprimatur.device_auth import authorization
from imprimatur.sealing import public_key

ENROL = "/api/v1/enrolments"
KEY = public_key(bytes(31) + b"k").hex()
CODE = re.compile(r"(?:[0-9A-HJKMNP-TV-Z]{5}-){4}[0-9A-HJKMNP-TV-Z]{5}")


def invited(session: Session, owner: Party, name: str = "MK4") -> str:
    return invitations.invite(session, owner.user, name, now())[1]


def letter(code: str, wallet: str, key: str = KEY) -> dict[str, str]:
    return {"invitation": code, "wallet": wallet, "encryptionKey": key}


def bind(chain: TestChain, wallet: KeySigner, device: KeySigner) -> None:
    registry = DeviceRegistry(chain.rpc, chain.licenses.devices())
    domain = device_domain(chain.chain_id, registry.address)
    end = int(time.time()) + 3600
    signature = sign_binding(device, domain, wallet.address, registry.nonce_of(device.address), end)
    data = registry.bind_call(device.address, end, signature)
    signed = transactions.sign(chain.rpc, wallet, registry.address, data)
    transactions.broadcast(chain.rpc, signed.raw)
    transactions.wait_for_receipt(chain.rpc, signed.hash, poll=0.01)


@pytest.fixture
def device(app: Flask, chain: TestChain) -> DeviceClient:
    """A machine that nobody knows yet, whose wallet is itself."""
    return DeviceClient(app, chain.account(ether=0))


def test_a_device_that_is_its_own_wallet(
    session: Session, chain: TestChain, owner: Party, device: DeviceClient
) -> None:
    address = device.signer.address
    problem(device.get(JOBS), 403, "not_enrolled")
    answer = device.post(ENROL, letter(invited(session, owner, "Workshop 2"), address.lower()))
    assert answer.status_code == 201
    found = answer.get_json()
    assert schemas.problem_in(found, documents.SCHEMA, "enrolled") is None
    assert found.pop("portal")["contract"] == chain.licenses.address
    assert found == {
        "device": address,
        "wallet": address,
        "printer": "Workshop 2",
        "owner": "Aero Spares",
    }
    row = session.get_one(Device, address)
    assert (row.wallet, row.encryption_key, row.disabled_at) == (address, KEY, None)
    assert (row.printer.name, row.printer.address) == ("Workshop 2", address)
    used = session.query(Invitation).one()
    assert used.used_by == address
    assert used.used_at is not None
    assert device.get(JOBS).status_code == 200


def test_a_device_of_a_wallet_in_the_list(
    session: Session, chain: TestChain, owner: Party, device: DeviceClient, printer: Printer
) -> None:
    """It is added to that printer, under the name that the printer has."""
    machine = chain.account()
    printer.address = machine.address
    session.merge(printer)
    session.commit()
    code = invited(session, owner, "Other name")
    detail = problem(device.post(ENROL, letter(code, machine.address)), 409, "not_bound")
    assert machine.address in detail
    assert session.query(Device).count() == 0
    bind(chain, machine, device.signer)  # type: ignore[arg-type]
    answer = device.post(ENROL, letter(code, machine.address))
    assert answer.status_code == 201
    assert answer.get_json()["printer"] == "MK4"
    assert session.query(Printer).count() == 1
    assert session.get_one(Device, device.signer.address).printer_id == printer.id


def test_the_same_again(session: Session, owner: Party, chain: TestChain, device: DeviceClient) -> None:
    """A device that didn't get its answer asks again; nobody else does with that code."""
    wanted = letter(invited(session, owner), device.signer.address)
    first = device.post(ENROL, wanted)
    again = device.post(ENROL, wanted | {"invitation": wanted["invitation"].lower()})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    problem(device.post(ENROL, wanted | {"encryptionKey": "09" + "0" * 62}), 409, "invitation_used")
    other = DeviceClient(device._client.application, chain.account(ether=0))
    problem(other.post(ENROL, letter(wanted["invitation"], other.signer.address)), 409, "invitation_used")
    assert session.query(Device).count() == 1
    # Also after the invitation's last day: it was in time.
    session.query(Invitation).update({"expires_at": now() - timedelta(days=1)})
    session.commit()
    assert device.post(ENROL, wanted).status_code == 200


def test_an_enrolment_is_accepted_once(session: Session, owner: Party, device: DeviceClient) -> None:
    body = json.dumps(letter(invited(session, owner), device.signer.address)).encode()
    header = authorization(device.signer, "POST", ORIGIN, ENROL, body)
    assert device.send("POST", ENROL, body, Authorization=header).status_code == 201
    problem(device.send("POST", ENROL, body, Authorization=header), 401, "not_authentic")


def test_bad_invitations_leave_nothing_behind(session: Session, owner: Party, device: DeviceClient) -> None:
    address = device.signer.address
    problem(device.post(ENROL, letter("A" * 25, address)), 404, "invitation_unknown")
    late = invited(session, owner)
    session.query(Invitation).update({"expires_at": now() - timedelta(seconds=1)})
    session.commit()
    problem(device.post(ENROL, letter(late, address)), 410, "invitation_expired")
    withdrawn, code = invitations.invite(session, owner.user, "MK4", now())
    assert invitations.withdraw(session, owner.user, withdrawn.id)
    problem(device.post(ENROL, letter(code, address)), 404, "invitation_unknown")
    for table in (Device, Printer, DeviceNonce):
        assert session.query(table).count() == 0


@pytest.mark.parametrize(
    "change",
    [
        {"invitation": "short"},
        {"invitation": "A" * 65},
        {"wallet": "0x" + "0" * 40},
        {"wallet": "0x52908400098527886E0F7030069857D2E4169Ee7"},
        {"encryptionKey": "0" * 64},
        {"encryptionKey": "xy" * 32},
        {"name": "x"},
    ],
)
def test_malformed_letters(
    session: Session, owner: Party, device: DeviceClient, change: dict[str, str]
) -> None:
    wanted = letter(invited(session, owner), device.signer.address) | change
    problem(device.post(ENROL, wanted), 400, "malformed")
    assert session.query(Device).count() == 0


def test_nobody_enrols_unsigned(app: Flask, session: Session, owner: Party, device: DeviceClient) -> None:
    wanted = letter(invited(session, owner), device.signer.address)
    problem(app.test_client().post(ENROL, json=wanted), 401, "not_authentic")
    other = authorization(KeySigner(b"\7" * 32), "POST", ORIGIN, ENROL, json.dumps(wanted).encode())
    forged = re.sub("0x[0-9a-fA-F]{40},", f"{device.signer.address},", other)
    answer = device.send("POST", ENROL, json.dumps(wanted).encode(), Authorization=forged)
    problem(answer, 401, "not_authentic")


def test_a_node_that_is_down(session: Session, chain: TestChain, owner: Party, device: DeviceClient) -> None:
    wanted = letter(invited(session, owner), device.signer.address)
    chain.node.down = True
    problem(device.post(ENROL, wanted), 503, "chain_unavailable")
    assert session.query(Device).count() == 0
    chain.node.down = False
    assert device.post(ENROL, wanted).status_code == 201


@pytest.mark.parametrize("_round", range(3))
def test_two_devices_race_for_one_invitation(
    app: Flask, session: Session, chain: TestChain, owner: Party, _round: int
) -> None:
    code = invited(session, owner)
    devices = [DeviceClient(app, chain.account(ether=0)) for _ in range(4)]
    answers = at_once(
        *(lambda d=d: d.post(ENROL, letter(code, d.signer.address)).status_code for d in devices)
    )
    assert sorted(answers) == [201, 409, 409, 409]
    winner = devices[answers.index(201)].signer.address
    assert [row.address for row in session.query(Device)] == [winner]
    assert [row.address for row in session.query(Printer)] == [winner]
    assert session.query(Invitation).one().used_by == winner


@pytest.fixture
def on_postgresql(options: Settings, chain: TestChain, postgres: str) -> Iterator[Flask]:
    app = create_app(replace(options, database_url=postgres), provider=chain.node)
    with app.app_context():
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
    yield app
    with app.app_context():
        Base.metadata.drop_all(db.engine)
        db.engine.dispose()


def test_the_race_on_postgresql(on_postgresql: Flask, chain: TestChain, password_hash: list[str]) -> None:
    with on_postgresql.app_context():
        maker = db.sessionmaker
    with maker() as session:
        owner = make_party(on_postgresql, session, chain, "Aero Spares", password_hash)
        code = invited(session, owner)
        devices = [DeviceClient(on_postgresql, chain.account(ether=0)) for _ in range(4)]
        answers = at_once(
            *(lambda d=d: d.post(ENROL, letter(code, d.signer.address)).status_code for d in devices)
        )
        assert sorted(answers) == [201, 409, 409, 409]
        winner = devices[answers.index(201)]
        header = authorization(winner.signer, "GET", ORIGIN, JOBS)
        replays = at_once(*(lambda: winner.get(JOBS, Authorization=header).status_code for _ in range(4)))
        assert sorted(replays) == [200, 401, 401, 401]
        assert session.query(Device).count() == 1


def test_one_device_races_with_itself(session: Session, owner: Party, device: DeviceClient) -> None:
    """Two invitations for the same wallet: both good, one printer, one device."""
    app = device._client.application
    codes = [invited(session, owner) for _ in range(2)]
    clients = [DeviceClient(app, device.signer) for _ in codes]
    answers = at_once(
        *(
            lambda c=c, code=code: c.post(ENROL, letter(code, device.signer.address)).status_code
            for c, code in zip(clients, codes, strict=True)
        )
    )
    assert answers == [201, 201]
    assert (session.query(Device).count(), session.query(Printer).count()) == (1, 1)


def test_a_second_owner(session: Session, owner: Party, rival: Party, device: DeviceClient) -> None:
    """She gets the printer into her list; who invited first keeps the switch."""
    address = device.signer.address
    assert device.post(ENROL, letter(invited(session, owner), address)).status_code == 201
    other = device.post(ENROL, letter(invited(session, rival, "Theirs"), address)).get_json()
    assert (other["owner"], other["printer"]) == ("Museum Prints", "Theirs")
    assert {(row.owner_id, row.address) for row in session.query(Printer)} == {
        (owner.user.id, address),
        (rival.user.id, address),
    }
    assert rival.post(f"/printers/devices/{address}/disable").status_code == 404
    assert owner.post(f"/printers/devices/{address}/disable").status_code == 302
    problem(device.get(JOBS), 403, "device_disabled")
    problem(device.post(ENROL, letter(invited(session, rival), address)), 403, "device_disabled")


def test_a_device_moves_to_another_wallet(
    session: Session, chain: TestChain, owner: Party, device: DeviceClient
) -> None:
    assert device.post(ENROL, letter(invited(session, owner), device.signer.address)).status_code == 201
    shop = chain.account()
    bind(chain, shop, device.signer)  # type: ignore[arg-type]
    answer = device.post(ENROL, letter(invited(session, owner, "Shop"), shop.address))
    assert answer.get_json()["printer"] == "Shop"
    row = session.get_one(Device, device.signer.address)
    assert (row.wallet, row.printer.name) == (shop.address, "Shop")


# --- codes ---------------------------------------------------------------------------------------------


def test_codes_are_not_kept(session: Session, owner: Party) -> None:
    invitation, code = invitations.invite(session, owner.user, "  MK4   left ", now())
    assert CODE.fullmatch(code)
    assert invitation.printer_name == "MK4 left"
    assert invitation.expires_at - invitation.created_at == timedelta(days=7)
    plain = code.replace("-", "")
    assert invitation.code_hash == hashlib.sha256(plain.encode()).hexdigest()
    columns = {column.name for column in Invitation.__table__.columns}
    assert not any(plain in str(getattr(invitation, name)) for name in columns)


def test_codes_are_long_and_without_look_alikes() -> None:
    assert len(set(invitations.ALPHABET)) == 32
    assert not set("ILOU") & set(invitations.ALPHABET)


@given(code=st.text(alphabet=invitations.ALPHABET, min_size=25, max_size=25), data=st.data())
def test_a_code_may_be_typed_in_many_ways(code: str, data: st.DataObject) -> None:
    swapped = {"1": "1IiLl", "0": "0Oo"}
    typed = "".join(data.draw(st.sampled_from(swapped.get(c, c + c.lower()))) for c in code)
    cut = data.draw(st.integers(min_value=1, max_value=24))
    assert invitations.code_hash(f"{typed[:cut]}-{typed[cut:]}") == invitations.code_hash(code)


@given(code=st.text(alphabet=invitations.ALPHABET, min_size=25, max_size=25), data=st.data())
def test_another_code_is_another(code: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(min_value=0, max_value=24))
    other = data.draw(st.sampled_from(invitations.ALPHABET).filter(lambda c: c != code[place]))
    assert invitations.code_hash(code[:place] + other + code[place + 1 :]) != invitations.code_hash(code)


def test_open_invitations_are_bounded(session: Session, owner: Party, rival: Party) -> None:
    for _ in range(invitations.MOST_OPEN):
        invitations.invite(session, owner.user, "MK4", now())
    with pytest.raises(invitations.TooManyInvitations):
        invitations.invite(session, owner.user, "MK4", now())
    assert invitations.invite(session, rival.user, "MK4", now())
    # Those that nobody can use any more don't count, and go away in the end.
    session.query(Invitation).update({"expires_at": now() - invitations.KEPT - timedelta(days=1)})
    session.commit()
    invitations.invite(session, owner.user, "MK4", now())
    assert session.query(Invitation).filter_by(owner_id=owner.user.id).count() == 1


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\0b"])
def test_an_invitation_needs_a_name(session: Session, owner: Party, name: str) -> None:
    with pytest.raises(NameMissing):
        invitations.invite(session, owner.user, name, now())
    assert session.query(Invitation).count() == 0


# --- the page ------------------------------------------------------------------------------------------


def code_on(page: str) -> str:
    found = CODE.search(page)
    assert found is not None
    return found[0]


def test_an_owner_invites(app: Flask, session: Session, owner: Party, device: DeviceClient) -> None:
    answer = owner.post("/printers/invitations", printer="Workshop 2, left")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    page = answer.get_data(as_text=True)
    code = code_on(page)
    ticket = json.dumps(
        {"imprimatur": 1, "portal": "http://127.0.0.1:5000", "invitation": code}, separators=(",", ":")
    )
    drawn = segno.make_qr(ticket, error="M").svg_data_uri(
        border=4, dark="black", light="white", omitsize=True
    )
    assert drawn in html.unescape(page)
    # What the printer reads in each of them is the same.
    link = f"http://127.0.0.1:5000/#invitation={code}"
    assert link in page
    assert read_invitation(link) == read_invitation(ticket) == PastedInvitation(code, "http://127.0.0.1:5000")
    listed = owner.client.get("/printers").get_data(as_text=True)
    assert "Workshop 2, left" in listed
    assert code not in listed
    assert device.post(ENROL, letter(code, device.signer.address)).status_code == 201
    listed = owner.client.get("/printers").get_data(as_text=True)
    assert "Open invitations" not in listed
    assert device.signer.address in listed


def test_an_owner_withdraws(session: Session, owner: Party, rival: Party, device: DeviceClient) -> None:
    invitation, code = invitations.invite(session, owner.user, "MK4", now())
    url = f"/printers/invitations/{invitation.id}/withdraw"
    assert rival.post(url).status_code == 302
    assert session.query(Invitation).count() == 1
    assert owner.post(url).status_code == 302
    assert "was withdrawn" in owner.client.get("/printers").get_data(as_text=True)
    owner.post(url)
    assert "is gone already" in owner.client.get("/printers").get_data(as_text=True)
    problem(device.post(ENROL, letter(code, device.signer.address)), 404, "invitation_unknown")


def test_an_owner_disables_and_enables(
    session: Session, owner: Party, rival: Party, device: DeviceClient
) -> None:
    address = device.signer.address
    device.post(ENROL, letter(invited(session, owner), address))
    url = f"/printers/devices/{address}"
    assert rival.post(f"{url}/disable").status_code == 404
    assert device.get(JOBS).status_code == 200
    assert owner.post(f"{url}/disable").status_code == 302
    since = session.get_one(Device, address).disabled_at
    assert owner.post(f"{url}/disable").status_code == 302
    session.expire_all()
    assert session.get_one(Device, address).disabled_at == since
    assert "disabled since" in owner.client.get("/printers").get_data(as_text=True)
    problem(device.get(JOBS), 403, "device_disabled")
    assert owner.post(f"{url}/enable").status_code == 302
    assert device.get(JOBS).status_code == 200
    assert owner.post("/printers/devices/0x12/enable").status_code == 404


def test_a_bad_form_says_so_beside_its_field(owner: Party) -> None:
    answer = owner.post("/printers/invitations", printer="\t")
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    assert 'id="printer-error"' in page
    assert re.search(r'id="printer"[^>]*aria-invalid="true"', page)
    assert not re.search(r'id="name"[^>]*aria-invalid="true"', page)


def test_every_change_takes_a_token(session: Session, owner: Party, device: DeviceClient) -> None:
    address = device.signer.address
    device.post(ENROL, letter(invited(session, owner), address))
    client: FlaskClient = owner.client
    for url in (
        "/printers/invitations",
        "/printers/invitations/1/withdraw",
        f"/printers/devices/{address}/disable",
    ):
        assert client.post(url, data={"printer": "x"}).status_code == 400
    assert session.get_one(Device, address).disabled_at is None


def test_no_code_is_like_another(session: Session, owner: Party) -> None:
    codes = {invited(session, owner, f"P{n}") for n in range(20)}
    assert len(codes) == len({code[:5] for code in codes}) == 20
