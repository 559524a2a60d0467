"""Public pages, read from the chain."""

import re
import time
from typing import Any

import pytest
from flask import Flask
from portal.stage import Party, TestChain
from sqlalchemy.orm import Session

from app.models import Design, Printer
from app.models.base import now
from app.services import issuing
from app.services.explorer import PAGE_SIZE, BlockTimes, Explorer, Kind
from app.services.issuing import Terms
from app.web.dashboard import LATEST
from imprimatur.chain.print_license import Order, PrintLicense
from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import format_id, license_id, number_from_text


def issue(chain: TestChain, owner: KeySigner, printer: str, number: str, copies: int = 5) -> int:
    """A license that the portal never heard of."""
    order = Order(
        owner=owner.address,
        number=number_from_text(number),
        printer=printer,
        file_hash="ab" * 32,
        copies=copies,
        deadline=int(time.time()) + 3600,
    )
    chain.send(owner, chain.licenses.issue_call(order))
    return license_id(owner.address, order.number)


def rows(text: str) -> list[str]:
    return re.findall(r'<tr data-event="(\w+)"', text)


def test_empty(app: Flask) -> None:
    text = app.test_client().get("/explorer").get_data(as_text=True)
    assert "Nothing has happened yet" in text


def test_events(
    app: Flask,
    session: Session,
    chain: TestChain,
    owner: Party,
    design: Design,
    printer: Printer,
    machine: KeySigner,
    allowed: None,
) -> None:
    connection = app.extensions["imprimatur"].chain
    terms = Terms("4711-A4-58572", design, printer, 2)
    license = issuing.order_license(session, connection, owner.user, terms, now().date())
    issue(chain, owner.signer, machine.address, "4711-A4-58572", 2)
    stranger = chain.account()
    foreign = issue(chain, stranger, machine.address, "X-1")
    for _ in range(2):
        chain.send(machine, chain.licenses.use_license_call(int(license.id, 16), "ab" * 32))

    def ask(query: str) -> str:
        answer = app.test_client().get(f"/explorer{query}")
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
        return answer.get_data(as_text=True)

    text = ask("")
    assert rows(text) == ["used", "used", "issued", "issued"]
    assert "no. 2" in text
    assert text.index("no. 2") < text.index("no. 1")
    for shown in ("4711-A4-58572", owner.signer.address, machine.address, f"{format_id(foreign)[:6]}…"):
        assert shown in text
    assert "X-1" not in text  # nobody told the portal
    assert rows(ask("?event=issued")) == ["issued", "issued"]
    assert rows(ask("?event=used&q=a4-585")) == ["used", "used"]
    assert rows(ask("?q=X-1")) == ["issued"]  # but its hash is found
    assert rows(ask(f"?q={format_id(foreign)}")) == ["issued"]
    assert "Nothing found" in ask("?q=%25")
    for page in ("0", "-1", "x", "9" * 20, "9" * 5000):
        assert rows(ask(f"?page={page}")) == ["used", "used", "issued", "issued"]
    assert rows(ask("?event=nonsense&page=99")) == ["used", "used", "issued", "issued"]
    page = ask(f"/licenses/{license.id}")
    assert '<strong id="copies-left">0</strong>' in page
    assert "used up" in page
    assert "Copy no. 2 used" in page


def test_pages(app: Flask, chain: TestChain, owner: Party, machine: KeySigner) -> None:
    for n in range(PAGE_SIZE + 3):
        issue(chain, owner.signer, machine.address, f"N-{n}")
    first = app.test_client().get("/explorer?event=issued").get_data(as_text=True)
    assert len(rows(first)) == PAGE_SIZE
    older = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")  # type: ignore[index]
    assert "event=issued" in older
    assert len(rows(app.test_client().get(older).get_data(as_text=True))) == 3


def test_the_overview_asks_only_for_the_latest_blocks(
    session: Session, chain: TestChain, owner: Party, machine: KeySigner
) -> None:
    """Whatever there is to count."""
    ids = [issue(chain, owner.signer, machine.address, f"N-{n}", copies=3) for n in range(LATEST + 4)]
    for _ in range(2):
        chain.send(machine, chain.licenses.use_license_call(ids[0], "ab" * 32))
    asked: list[str] = []

    class Rpc:
        def call(self, method: str, params: list[Any]) -> Any:
            asked.append(method)
            return chain.rpc.call(method, params)

    contract = PrintLicense(Rpc(), chain.licenses.address, chain.licenses.since)
    activity = Explorer(BlockTimes()).of_owner(session, contract, owner.signer.address, LATEST)
    assert (activity.issued, activity.used) == (3 * (LATEST + 4), 2)
    assert [e.kind for e in activity.latest] == [Kind.USED] * 2 + [Kind.ISSUED] * (LATEST - 2)
    assert [e.copy for e in activity.latest[:2]] == [2, 1]
    assert asked.count("eth_getBlockByHash") == LATEST
    page = owner.client.get("/").get_data(as_text=True)
    assert f"<dd>{3 * (LATEST + 4)}</dd>" in page
    assert page.count('class="event is-') == LATEST


def test_the_node_is_down(app: Flask, chain: TestChain) -> None:
    chain.node.down = True
    answer = app.test_client().get("/explorer")
    assert answer.status_code == 503
    assert "The chain node doesn't answer" in answer.get_data(as_text=True)
    assert app.test_client().get("/explorer/licenses/0x" + "1" * 64).status_code == 503


@pytest.mark.parametrize("id", ["0x" + "1" * 64, "nonsense", "0x12"])
def test_unknown_licenses(app: Flask, id: str) -> None:
    assert app.test_client().get(f"/explorer/licenses/{id}").status_code == 404


def test_block_times_are_asked_once() -> None:
    class Rpc:
        asked = 0

        def call(self, method: str, params: list[object]) -> dict[str, str]:
            self.asked += 1
            return {"timestamp": "0x10"}

    rpc, times = Rpc(), BlockTimes(size=2)
    assert [times.time_of(rpc, hash) for hash in "aabab"] == [16] * 5
    assert rpc.asked == 2
    times.time_of(rpc, "c")
    times.time_of(rpc, "a")
    assert rpc.asked == 4
