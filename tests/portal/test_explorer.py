"""Public pages, from the portal's picture of the chain."""

import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from portal.stage import Party, TestChain
from sqlalchemy.orm import Session

from app.explorer import views
from app.extensions import db
from app.models import ChainClaim, ChainLicense, Design, Intent, IntentState, Printer
from app.models.base import now
from app.services import explorer, issuing
from app.services.explorer import PAGE_SIZE, Kind
from app.services.index import Index
from app.services.issuing import Terms
from app.services.picture import FRESH_FOR, LAG
from app.web.dashboard import LATEST
from imprimatur.chain.orders import Terms as Flags
from imprimatur.chain.print_license import Order
from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import format_id, license_id, number_from_text

FILE = "ab" * 32


def issue(
    chain: TestChain, owner: KeySigner, printer: str, number: str, copies: int = 5, **terms: Any
) -> int:
    """A license that the portal never heard of."""
    order = Order(
        owner=owner.address,
        number=number_from_text(number),
        printer=printer,
        file_hash=FILE,
        copies=copies,
        deadline=int(time.time()) + 3600,
        **terms,
    )
    chain.send(owner, chain.licenses.issue_call(order))
    return license_id(owner.address, order.number)


def use(chain: TestChain, device: KeySigner, id: int) -> str:
    """Consume a copy; the transaction's hash."""
    return str(chain.send(device, chain.licenses.use_license_call(id, FILE))["transactionHash"])


@pytest.fixture
def read(app: Flask) -> Callable[[], None]:
    """What the worker does: read the chain up to its head."""

    def up_to_head() -> None:
        with app.app_context():
            index = Index(db.sessionmaker, app.extensions["imprimatur"].chain)
        while index.step():
            pass

    return up_to_head


def rows(text: str) -> list[str]:
    return re.findall(r'<tr data-event="(\w+)"', text)


def ask(app: Flask, query: str, status: int = 200) -> str:
    answer = app.test_client().get(f"/explorer{query}")
    assert answer.status_code == status
    assert "Set-Cookie" not in answer.headers
    return answer.get_data(as_text=True)


def test_nothing_was_read_yet(app: Flask) -> None:
    """Not the same as that nothing has happened."""
    assert "Not read yet" in ask(app, "", 503)
    assert "Nothing has been read from the chain yet" in ask(app, "/licenses/0x" + "1" * 64, 503)


def test_nothing_has_happened_yet(app: Flask, read: Callable[[], None]) -> None:
    read()
    text = ask(app, "")
    assert "Nothing has happened yet" in text
    assert "As of block" in text


def test_events(
    app: Flask,
    session: Session,
    chain: TestChain,
    owner: Party,
    design: Design,
    printer: Printer,
    machine: KeySigner,
    allowed: None,
    read: Callable[[], None],
) -> None:
    connection = app.extensions["imprimatur"].chain
    terms = Terms("4711-A4-58572", design, printer, 2)
    license = issuing.order_license(session, connection, owner.user, terms, now().date())
    issue(chain, owner.signer, machine.address, "4711-A4-58572", 2)
    stranger = chain.account()
    foreign = issue(chain, stranger, machine.address, "X-1")
    transactions = [use(chain, machine, int(license.id, 16)) for _ in range(2)]
    read()

    text = ask(app, "")
    assert rows(text) == ["used", "used", "issued", "issued"]
    assert "no. 2" in text
    assert text.index("no. 2") < text.index("no. 1")
    for shown in ("4711-A4-58572", owner.signer.address, machine.address, f"{format_id(foreign)[:6]}…"):
        assert shown in text
    assert "X-1" not in text  # nobody told the portal
    assert rows(ask(app, "?event=issued")) == ["issued", "issued"]
    assert rows(ask(app, "?event=used&q=a4-585")) == ["used", "used"]
    assert rows(ask(app, "?q=X-1")) == ["issued"]  # but its hash is found
    assert rows(ask(app, f"?q={format_id(foreign)}")) == ["issued"]
    assert rows(ask(app, f"?q={transactions[0]}")) == ["used"]
    assert rows(ask(app, f"?q={FILE}")) == rows(ask(app, f"?q={machine.address.lower()}")) == rows(text)
    assert rows(ask(app, f"?q={stranger.address}")) == ["issued"]
    for nothing in ("%25", chain.account(0).address, "cd" * 32, "0x" + "1" * 64):
        assert "Nothing found" in ask(app, f"?q={nothing}")
    for page in ("0", "-1", "x", "9" * 20, "9" * 5000):
        assert rows(ask(app, f"?page={page}")) == ["used", "used", "issued", "issued"]
    assert rows(ask(app, "?event=nonsense&page=99")) == ["used", "used", "issued", "issued"]
    page = ask(app, f"/licenses/{license.id}")
    assert '<strong id="copies-left">0</strong>' in page
    assert "used up" in page
    assert "Copy no. 2 used" in page
    assert "Copy no. 2 used" in ask(app, f"/licenses/{license.id.upper().replace('X', 'x', 1)}")


def test_everything_that_can_happen_to_a_license(
    app: Flask, chain: TestChain, owner: Party, machine: KeySigner, read: Callable[[], None]
) -> None:
    licenses, other = chain.licenses, chain.account()
    flags = Flags.TRANSFERABLE | Flags.REVOCABLE
    id = issue(chain, owner.signer, machine.address, "N-1", flags=flags, failures_allowed=2)
    use(chain, machine, id)
    chain.send(machine, licenses.report_failure_call(id, 1, bytes(31) + b"e"))
    chain.send(owner.signer, licenses.grant_copies_call(id, 3))
    chain.send(machine, licenses.transfer_license_call(id, other.address))
    chain.send(owner.signer, licenses.revoke_call(id))
    read()
    assert rows(ask(app, "")) == ["revoked", "transferred", "granted", "failed", "used", "issued"]
    assert rows(ask(app, "?event=failed")) == ["failed"]
    page = ask(app, f"/licenses/{format_id(id)}")
    for shown in (
        "Copy no. 1 failed and was given back",
        "3 more copies granted",
        "Handed on to another printer",
        "Revoked; 8 copies were forfeited",
        "1 of at most 2",
        "revoked</span>",
        other.address,
    ):
        assert shown in page
    assert '<strong id="copies-left">0</strong>' in page
    overview = owner.client.get("/").get_data(as_text=True)
    assert overview.count('class="event is-') == 6


def test_copies_add_up_or_it_is_said(
    app: Flask, session: Session, chain: TestChain, owner: Party, machine: KeySigner, read: Callable[[], None]
) -> None:
    id = issue(chain, owner.signer, machine.address, "N-1", copies=1200)
    use(chain, machine, id)
    read()
    text = ask(app, "")
    assert 'data-holds="yes"' in text
    assert "<b>1,200</b>" in text
    assert "<b>1,199</b>" in text
    # As a contract would that isn't ours.
    session.execute(sa.update(ChainLicense).values(remaining=ChainLicense.remaining + 1))
    session.commit()
    text = ask(app, "")
    assert 'data-holds="no"' in text
    assert "Copies don't add up" in text
    assert text.count(f'href="/explorer/licenses/{format_id(id)}"') == 3


def test_pages(
    app: Flask, chain: TestChain, owner: Party, machine: KeySigner, read: Callable[[], None]
) -> None:
    for n in range(PAGE_SIZE + 3):
        issue(chain, owner.signer, machine.address, f"N-{n}")
    read()
    first = ask(app, "?event=issued")
    assert len(rows(first)) == PAGE_SIZE
    older = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")  # type: ignore[index]
    assert "event=issued" in older
    assert len(rows(app.test_client().get(older).get_data(as_text=True))) == 3


def test_the_overview_shows_the_latest_of_all(
    session: Session, chain: TestChain, owner: Party, machine: KeySigner, read: Callable[[], None]
) -> None:
    ids = [issue(chain, owner.signer, machine.address, f"N-{n}", copies=3) for n in range(LATEST + 4)]
    issue(chain, chain.account(), machine.address, "N-1")
    for _ in range(2):
        use(chain, machine, ids[0])
    assert "Nothing has been read from the chain yet" in owner.client.get("/").get_data(as_text=True)
    read()
    activity = explorer.of_owner(session, owner.signer.address, LATEST)
    assert (activity.copies.issued, activity.copies.used) == (3 * (LATEST + 4), 2)
    assert [e.kind for e in activity.latest] == [Kind.USED] * 2 + [Kind.ISSUED] * (LATEST - 2)
    assert [e.copy for e in activity.latest[:2]] == [2, 1]
    page = owner.client.get("/").get_data(as_text=True)
    assert f"<dd>{3 * (LATEST + 4)}</dd>" in page
    assert f"<small>{3 * (LATEST + 4) - 2} left</small>" in page
    assert page.count('class="event is-') == LATEST


def test_no_page_asks_more_of_the_node_the_more_has_happened(
    app: Flask,
    session: Session,
    chain: TestChain,
    owner: Party,
    design: Design,
    printer: Printer,
    machine: KeySigner,
    allowed: None,
    read: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The public pages and a license's own nothing at all; two others whether the portal may issue."""
    connection = app.extensions["imprimatur"].chain
    license = issuing.order_license(
        session, connection, owner.user, Terms("N-0", design, printer, 50), now().date()
    )
    session.execute(sa.update(Intent).values(state=IntentState.DONE))
    session.commit()
    id = issue(chain, owner.signer, machine.address, "N-0", copies=50)
    assert format_id(id) == license.id
    pages = ("/explorer", f"/explorer/licenses/{license.id}", f"/licenses/{license.id}", "/licenses", "/")
    asked: Counter[str] = Counter()
    real = chain.node.make_request

    def counted(method: str, params: Any) -> Any:
        asked[method] += 1
        return real(method, params)

    def questions() -> dict[str, dict[str, int]]:
        found = {}
        for page in pages:
            asked.clear()
            assert owner.client.get(page).status_code == 200
            found[page] = dict(asked)
        return found

    read()
    monkeypatch.setattr(chain.node, "make_request", counted)
    few = questions()
    assert few == {page: {} for page in pages} | {"/": {"eth_call": 1}}
    for _ in range(20):
        use(chain, machine, id)
    read()
    assert questions() == few
    assert '<strong id="copies-left">30</strong>' in owner.client.get(pages[2]).get_data(as_text=True)
    assert "<strong>30</strong> of 50 left" in owner.client.get("/licenses").get_data(as_text=True)


def test_a_long_timeline_is_cut(
    app: Flask, chain: TestChain, owner: Party, machine: KeySigner, read: Callable[[], None], monkeypatch: Any
) -> None:
    monkeypatch.setattr(views, "TIMELINE", 3)
    id = issue(chain, owner.signer, machine.address, "N-0")
    for _ in range(4):
        use(chain, machine, id)
    read()
    page = ask(app, f"/licenses/{format_id(id)}")
    assert re.findall(r"Copy no\. (\d) used", page) == ["4", "3", "2"]
    assert f'href="/explorer?q={format_id(id)}"' in page


def test_the_node_is_down(
    app: Flask, chain: TestChain, owner: Party, machine: KeySigner, read: Callable[[], None]
) -> None:
    """What was read is shown all the same."""
    id = issue(chain, owner.signer, machine.address, "N-0")
    read()
    chain.node.down = True
    assert rows(ask(app, "")) == ["issued"]
    assert '<strong id="copies-left">5</strong>' in ask(app, f"/licenses/{format_id(id)}")
    assert owner.client.get("/").status_code == owner.client.get("/licenses").status_code == 200


def test_pages_say_how_old_they_are(
    app: Flask, session: Session, chain: TestChain, owner: Party, machine: KeySigner, read: Callable[[], None]
) -> None:
    id = issue(chain, owner.signer, machine.address, "N-0")
    read()
    public = ("", f"/licenses/{format_id(id)}")
    unknown = "/licenses/0x" + "1" * 64
    head = int(chain.rpc.call("eth_blockNumber", []), 16)
    for page in public:
        assert f'data-block="{head}" data-freshness="current"' in ask(app, page)
    ask(app, unknown, 404)
    session.execute(sa.update(ChainClaim).values(head=head + LAG + 1))
    session.commit()
    for page in public:
        assert f"The chain is {LAG + 1} blocks farther" in ask(app, page)
    # It may stand in one of those.
    assert "Not read yet" in ask(app, unknown, 503)
    session.execute(sa.update(ChainClaim).values(looked_at=now() - FRESH_FOR - timedelta(seconds=1)))
    session.commit()
    for page in public:
        assert "newer events may be missing" in ask(app, page)
    assert "newer events may be missing" in owner.client.get("/").get_data(as_text=True)


@pytest.mark.parametrize("id", ["nonsense", "0x12"])
def test_what_is_no_license_id(app: Flask, id: str) -> None:
    ask(app, f"/licenses/{id}", 404)
