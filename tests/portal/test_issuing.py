"""From an owner's order to a license on the chain."""

import html
import re
import shlex
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from portal.stage import Party, TestChain, finished, queue, refreshed, sign_in
from sqlalchemy.orm import Session

from app import create_app
from app.extensions import db
from app.jobs.worker import Worker
from app.models import Attempt, Design, Intent, IntentState, License, Printer
from app.models.base import now
from app.services import accounts, issuing
from app.settings import DEFAULT_DEPLOYMENTS, Settings
from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.print_license import Order, Right
from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import number_from_text

pytestmark = pytest.mark.usefixtures("operator")


def order(owner: Party, design: Design, printer: Printer, /, **changes: Any) -> Any:
    fields = {
        "design": design.id,
        "printer": printer.id,
        "number": "4711-A4-58572",
        "copies": 4,
        "failures": 1,
        "last_day": "",
    }
    return owner.post("/licenses", **{**fields, **changes})


def only_license(session: Session) -> License:
    session.expire_all()
    return session.query(License).one()


@pytest.mark.usefixtures("allowed")
def test_one_license(
    session: Session,
    chain: TestChain,
    worker: Worker,
    owner: Party,
    design: Design,
    printer: Printer,
    machine: KeySigner,
) -> None:
    day = (now() + timedelta(days=30)).date()
    answer = order(owner, design, printer, last_day=day.isoformat())
    license = only_license(session)
    assert (answer.status_code, answer.location) == (303, f"/licenses/{license.id}")
    page = owner.client.get(answer.location).get_data(as_text=True)
    assert 'data-state="queued"' in page
    assert "Waiting to be sent to the chain." in page
    assert worker.step()
    assert refreshed(session, license).intent.state is IntentState.SENT
    assert "waiting for the chain to confirm" in owner.client.get(answer.location).get_data(as_text=True)
    assert worker.step()
    assert refreshed(session, license).intent.state is IntentState.DONE

    on_chain = chain.licenses.license_of(int(license.id, 16))
    assert on_chain is not None
    assert (on_chain.printer, on_chain.file_hash) == (machine.address, design.sha256)
    assert (on_chain.remaining, on_chain.used) == (4, 0)
    assert on_chain.valid_until == issuing.end_of_day(day)
    page = owner.client.get(answer.location).get_data(as_text=True)
    assert '<strong id="copies-left">4</strong>' in page
    assert "Issued for 4 copies" in page
    assert license.intent.transaction_hash in page  # type: ignore[operator]

    chain.use(machine, license)
    worker.step()  # which reads the chain
    part = owner.client.get(f"/licenses/{license.id}/state").get_data(as_text=True)
    assert '<strong id="copies-left">3</strong>' in part
    assert "Copy no. 1 used" in part
    seen = part.split("seen=")[1].split('"')[0]
    assert owner.client.get(f"/licenses/{license.id}/state?seen={seen}").status_code == 204
    assert "4711-A4-58572" in owner.client.get("/").get_data(as_text=True)
    assert "4711-A4-58572" in owner.client.get("/licenses").get_data(as_text=True)
    assert not worker.step()


@pytest.mark.usefixtures("allowed")
def test_a_double_click_is_one_license(
    session: Session, worker: Worker, owner: Party, design: Design, printer: Printer
) -> None:
    first, second = order(owner, design, printer), order(owner, design, printer)
    assert first.location == second.location
    assert order(owner, design, printer, number="  4711-A4-58572 ").location == first.location
    while worker.step():
        pass
    assert order(owner, design, printer).location == first.location
    assert not worker.step()
    assert session.query(Attempt).count() == 1


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"number": " "}, "1 to 64 printable characters"),
        ({"number": "x" * 65}, "1 to 64 printable characters"),
        ({"copies": "0"}, "1 to 65,535 copies"),
        ({"copies": "65536"}, "1 to 65,535 copies"),
        ({"copies": "-1"}, "1 to 65,535 copies"),
        ({"copies": "many"}, "1 to 65,535 copies"),
        ({"failures": "64"}, "0 to 63 failed prints"),
        ({"failures": "-1"}, "0 to 63 failed prints"),
        ({"failures": ""}, "0 to 63 failed prints"),
        ({"failures": "some"}, "0 to 63 failed prints"),
        ({"last_day": "2020-01-01"}, "in the past"),
        ({"last_day": "2106-01-01"}, "in the past or too far away"),
        ({"last_day": "tomorrow"}, "in the past"),
    ],
)
def test_orders_that_cant_be(
    session: Session, owner: Party, design: Design, printer: Printer, changes: dict[str, str], words: str
) -> None:
    answer = order(owner, design, printer, **changes)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    assert session.query(Intent).count() == 0


@pytest.mark.usefixtures("allowed")
def test_a_number_has_one_meaning(owner: Party, design: Design, printer: Printer) -> None:
    order(owner, design, printer)
    for changes in ({"copies": 5}, {"failures": 2}):
        answer = order(owner, design, printer, **changes)
        assert answer.status_code == 422
        assert "another license with the number 4711-A4-58572" in answer.get_data(as_text=True)


@pytest.mark.usefixtures("allowed")
def test_a_number_stays_taken_when_the_account_changes(
    session: Session, chain: TestChain, operator: KeySigner, owner: Party, design: Design, printer: Printer
) -> None:
    order(owner, design, printer)
    new = chain.account()
    chain.authorize(new, operator.address)
    accounts.add_owner(session, owner.user.email, owner.user.name, new.address, owner.user.password or "")
    answer = order(owner, design, printer)
    assert answer.status_code == 422
    assert "another license with the number 4711-A4-58572" in answer.get_data(as_text=True)
    assert order(owner, design, printer, number="AS-2").status_code == 303


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("id", ["99999999999999999999", "9" * 5000, str(2**63 - 1), "-1", "1_0", "", "١"])
def test_ids_that_nothing_can_have(
    session: Session, owner: Party, design: Design, printer: Printer, id: str
) -> None:
    for changes in ({"design": id}, {"printer": id}):
        assert order(owner, design, printer, **changes).status_code == 404
        assert owner.client.get("/licenses/new", query_string=changes).status_code == 200
    assert session.query(Intent).count() == 0


@pytest.mark.usefixtures("allowed")
def test_numbers_are_suggested(session: Session, owner: Party, design: Design, printer: Printer) -> None:
    assert issuing.suggest_number(session, owner.user, 2026) == "AS-2026-0001"
    order(owner, design, printer, number="AS-2026-0041")
    order(owner, design, printer, number="AS-2026-other")
    assert issuing.suggest_number(session, owner.user, 2026) == "AS-2026-0042"


def test_without_the_right_nothing_is_queued(
    session: Session, owner: Party, design: Design, printer: Printer
) -> None:
    page = owner.client.get("/licenses/new").get_data(as_text=True)
    assert 'id="permission-banner"' in page
    answer = order(owner, design, printer)
    assert answer.status_code == 422
    assert "allowed to issue licenses for your account" in answer.get_data(as_text=True)
    assert session.query(Intent).count() == 0


def test_a_right_that_ended(
    chain: TestChain, operator: KeySigner, owner: Party, design: Design, printer: Printer
) -> None:
    chain.authorize(owner.signer, operator.address, until=int(time.time()) - 100)
    assert "right to issue has ended" in order(owner, design, printer).get_data(as_text=True)
    assert "has ended" in owner.client.get("/account").get_data(as_text=True)


@pytest.mark.usefixtures("allowed")
def test_a_portal_that_was_cut_off_cant_issue(
    session: Session,
    chain: TestChain,
    worker: Worker,
    operator: KeySigner,
    owner: Party,
    design: Design,
    printer: Printer,
) -> None:
    """Neither by its pages, nor with an order that was queued before, nor by the contract."""
    order(owner, design, printer)
    license = only_license(session)
    chain.authorize(owner.signer, operator.address, Right.NONE, until=0)
    failed = finished(session, worker, license)
    assert (failed.intent.state, failed.intent.reason) == (IntentState.FAILED, "not_allowed")
    assert chain.licenses.license_of(int(license.id, 16)) is None
    page = owner.client.get(f"/licenses/{license.id}").get_data(as_text=True)
    assert "allowed to issue for your account any more" in page

    assert order(owner, design, printer, number="AS-2").status_code == 422
    again = owner.post(f"/licenses/{license.id}/again")
    assert again.status_code == 303
    assert refreshed(session, license).intent.state is IntentState.FAILED
    forced = Order(
        owner=owner.signer.address,
        number=number_from_text("AS-3"),
        printer=printer.address,
        file_hash=design.sha256,
        copies=1,
        deadline=int(time.time()) + 3600,
    )
    with pytest.raises(ContractReverted, match="NotAllowed"):
        chain.send(operator, chain.licenses.issue_call(forced, as_operator=True))

    chain.authorize(owner.signer, operator.address)
    owner.post(f"/licenses/{license.id}/again")
    assert finished(session, worker, license).intent.state is IntentState.DONE


def test_the_account_page(chain: TestChain, operator: KeySigner, owner: Party, options: Settings) -> None:
    text = owner.client.get("/account").get_data(as_text=True)
    assert owner.signer.address in text
    assert operator.address in text
    assert 'class="standing is-not_given"' in text
    give, take = (html.unescape(text) for text in re.findall(r'data-copy="(IMPRIMATUR[^"]*)"', text))
    assert give.endswith("\npython3 run.py brownie run authorize_portal --network imprimatur")
    assert take.endswith("\npython3 run.py brownie run authorize_portal cut_off --network imprimatur")
    assert [word for word in shlex.split(give.replace("\\\n", "")) if "=" in word] == [
        "IMPRIMATUR_RPC_URL=http://127.0.0.1:1",
        f"IMPRIMATUR_OPERATOR={operator.address}",
        "IMPRIMATUR_OWNER_KEYSTORE=/path/to/your/keystore.json",
        "IMPRIMATUR_OWNER_PASSWORD_FILE=/path/to/your/password.txt",
        f"IMPRIMATUR_DEPLOYMENTS={options.deployments}",
    ]
    assert take.partition("python3")[0] == give.partition("python3")[0]
    german = owner.client.get("/account", headers={"Accept-Language": "de"}).get_data(as_text=True)
    assert "IMPRIMATUR_OWNER_KEYSTORE=/pfad/zu/ihrem/keystore.json" in german
    chain.authorize(owner.signer, operator.address)
    assert 'class="standing is-allowed"' in owner.client.get("/account").get_data(as_text=True)
    chain.node.down = True
    assert 'class="standing is-unknown"' in owner.client.get("/account").get_data(as_text=True)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://portal:s3cret@node.example:8545", "https://node.example:8545"),
        ("https://node.example/rpc?key=s3cret", "https://node.example/rpc"),
        ("https://node.example/v3/s3cret0123456789abcdef", "https://node.example/v3/YOUR-KEY"),
        ("http://[::1]:8545/$(reboot)", "'http://[::1]:8545/$(reboot)'"),
    ],
)
def test_the_command_gives_away_no_access(
    chain: TestChain, options: Settings, owner: Party, url: str, shown: str
) -> None:
    """The portal's way to its node may contain a secret of its operator."""
    other = create_app(replace(options, chain_url=url, deployments=DEFAULT_DEPLOYMENTS), provider=chain.node)
    client = other.test_client()
    sign_in(client, owner.user.email)
    text = html.unescape(client.get("/account").get_data(as_text=True))
    assert f"IMPRIMATUR_RPC_URL={shown} " in text
    assert "s3cret" not in text
    assert "IMPRIMATUR_DEPLOYMENTS" not in text
    with other.app_context():
        db.engine.dispose()


def test_printers(app: Flask, owner: Party, rival: Party, machine: KeySigner) -> None:
    # Not the random wallet's address: one in some thousands has letters of one case only.
    swapped = "0x7e5f4552091a69125D5dFcB7B8c2659029395bDF"
    for name, address, words in [
        ("A", "0x12", "0x followed by 40 hexadecimal digits"),
        ("A", "0x" + "0" * 40, "0x followed by 40 hexadecimal digits"),
        ("A", swapped, "typing error"),
        ("", machine.address, "Give the printer a name"),
    ]:
        answer = owner.post("/printers", name=name, address=address)
        assert answer.status_code == 422
        assert words in answer.get_data(as_text=True)
    assert owner.post("/printers", name=" Mk 4 ", address=machine.address.lower()).status_code == 302
    assert machine.address in owner.client.get("/printers").get_data(as_text=True)
    again = owner.post("/printers", name="Other", address=machine.address)
    assert "already in your list as “Mk 4”" in again.get_data(as_text=True)
    assert rival.post("/printers", name="Same wallet", address=machine.address).status_code == 302


@pytest.mark.parametrize("path", ["/", "/licenses"])
@pytest.mark.usefixtures("design")
def test_more_licenses_arent_more_questions(app: Flask, session: Session, owner: Party, path: str) -> None:
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        asked.append(statement)

    def questions() -> int:
        asked.clear()
        assert owner.client.get(path).status_code == 200
        return len(asked)

    with app.app_context():
        sa.event.listen(db.engine, "before_cursor_execute", note)
    queue(session, owner.signer.address, ["A-1"])
    few = questions()
    queue(session, owner.signer.address, [f"B-{n}" for n in range(9)])
    assert questions() == few
