"""The printer's interface, version 1. Its shape is a promise."""

import hashlib
import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from portal.jobs import ORIGIN, DeviceClient, Sealed, at_once, job, manifest_of, sealed_design
from portal.stage import Party, TestChain
from portal.tester_node import TesterNode
from sqlalchemy.orm import Session

from app import create_app
from app.api.v1 import documents
from app.auth.access import MAX_BODY
from app.extensions import db
from app.models import ChainLicense, Device, DeviceNonce, IntentState, License, Outcome, Printer
from app.models.base import now
from app.services.delivery import MOST_JOBS
from app.settings import Settings
from imprimatur import canonical_json, schemas
from imprimatur.chain.signers import KeySigner
from imprimatur.device_auth import MAX_SKEW, authorization

JOBS = "/api/v1/device/jobs"
OUTCOMES = "/api/v1/device/outcomes"
GOOD_OUTCOME = {"copy": 1, "outcome": "finished", "endedAt": 1_800_000_000, "seconds": 3600}


@pytest.fixture
def sealed(app: Flask, session: Session, owner: Party) -> Sealed:
    return sealed_design(app, session, owner, b"G28\nG1 X1 E1\n" * 20_000)


@pytest.fixture
def license(session: Session, chain: TestChain, owner: Party, sealed: Sealed, machine: KeySigner) -> License:
    return job(session, chain, owner, sealed.design, machine.address, "AS-1")


@pytest.fixture
def device(app: Flask, printer: Printer, machine: KeySigner) -> DeviceClient:
    """A wallet that the owner put into her list by hand."""
    return DeviceClient(app, machine)


@pytest.fixture
def enrolled(app: Flask, session: Session, chain: TestChain, printer: Printer) -> DeviceClient:
    """A device that acts for the printer's wallet."""
    signer = chain.account(ether=0)
    session.add(
        Device(
            address=signer.address,
            wallet=printer.address,
            printer_id=printer.id,
            encryption_key="ab" * 32,
        )
    )
    session.commit()
    return DeviceClient(app, signer)


def problem(answer: Any, status: int, code: str) -> str:
    """The sentence of a problem that must be this one."""
    assert answer.status_code == status, answer.data
    assert answer.content_type == "application/problem+json"
    document = answer.get_json()
    assert schemas.problem_in(document, documents.SCHEMA, "problem") is None
    assert document["type"] == f"urn:imprimatur:problem:{code}"
    return str(document["detail"])


def test_what_the_portal_says_of_itself(app: Flask, chain: TestChain, options: Settings) -> None:
    answer = app.test_client().get("/api/v1/portal")
    assert answer.status_code == 200
    assert schemas.problem_in(answer.get_json(), documents.SCHEMA, "portal") is None
    assert options.desk is not None
    assert answer.get_json() == {
        "version": 1,
        "chainId": chain.chain_id,
        "contract": chain.licenses.address,
        "since": chain.licenses.since,
        "deskUrl": options.desk_url,
        "deskAddress": options.desk.address,
    }


def test_a_portal_without_node_or_desk(app: Flask, chain: TestChain, options: Settings) -> None:
    chain.node.down = True
    answer = app.test_client().get("/api/v1/portal")
    problem(answer, 503, "chain_unavailable")
    assert answer.headers["Retry-After"]
    deskless = create_app(replace(options, desk=None), provider=chain.node)
    answer = deskless.test_client().get("/api/v1/portal")
    problem(answer, 503, "no_desk")
    assert answer.headers["Retry-After"]


def test_the_list(license: License, device: DeviceClient, sealed: Sealed) -> None:
    answer = device.get(JOBS)
    assert answer.status_code == 200
    found = answer.get_json()
    assert schemas.problem_in(found, documents.SCHEMA, "jobs") is None
    assert found["next"] is None
    (only,) = found["jobs"]
    assert canonical_json.dumps(only.pop("manifest")) == manifest_of(license).to_bytes()
    assert only == {
        "id": license.id,
        "number": "AS-1",
        "owner": "Aero Spares",
        "remaining": None,
        "filamentGrams": 1.19,
        "filamentMillimeters": None,
        "layerHeight": 0.28,
    }
    assert "Set-Cookie" not in answer.headers


def test_an_enrolled_device_sees_what_its_wallet_may(license: License, enrolled: DeviceClient) -> None:
    assert [job["id"] for job in enrolled.get(JOBS).get_json()["jobs"]] == [license.id]


def on_chain(license: License, printer: str, remaining: int) -> ChainLicense:
    """Its row in the picture of the chain."""
    values: dict[str, Any] = {}
    for column in ChainLicense.__table__.columns:
        if not column.nullable:
            values[column.name] = 0 if column.type.python_type is int else "0x" + "0" * 40
    values |= {
        "id": license.id,
        "issued_to": license.printer_address,
        "printer": printer,
        "remaining": remaining,
    }
    return ChainLicense(**values)


def test_copies_left_and_transfers_as_the_picture_says(
    app: Flask, session: Session, chain: TestChain, owner: Party, license: License, device: DeviceClient
) -> None:
    row = on_chain(license, license.printer_address, 2)
    session.add(row)
    session.commit()
    assert device.get(JOBS).get_json()["jobs"][0]["remaining"] == 2
    buyer = chain.account(ether=0)
    session.add(Printer(owner_id=owner.user.id, name="Buyer", address=buyer.address))
    row.printer = buyer.address
    session.commit()
    assert device.get(JOBS).get_json()["jobs"] == []
    problem(device.get(f"{JOBS}/{license.id}/file"), 404, "job_unknown")
    assert DeviceClient(app, buyer).get(JOBS).get_json()["jobs"][0]["id"] == license.id
    # What was printed before the license was passed on may still be told.
    assert device.post(OUTCOMES, {"id": license.id, **GOOD_OUTCOME}).status_code == 201


def test_pages_stay_while_licenses_come(
    session: Session,
    chain: TestChain,
    owner: Party,
    sealed: Sealed,
    device: DeviceClient,
    machine: KeySigner,
) -> None:
    numbers = [f"N-{n}" for n in range(5)]
    for number in numbers:
        job(session, chain, owner, sealed.design, machine.address, number)
    seen: list[str] = []
    url = f"{JOBS}?limit=2"
    for _ in range(3):
        page = device.get(url).get_json()
        seen += [found["number"] for found in page["jobs"]]
        job(session, chain, owner, sealed.design, machine.address, f"later-{len(seen)}")
        url = f"{JOBS}?limit=2&after={page['next']}"
    assert seen == numbers[::-1]
    assert page["next"] is None


def test_bad_pages(license: License, device: DeviceClient) -> None:
    for query in ("limit=0", f"limit={MOST_JOBS + 1}", "limit=x", "limit=", "after=1", "after=", "limit=-1"):
        problem(device.get(f"{JOBS}?{query}"), 400, "malformed")
    problem(device.get(f"{JOBS}?after=0x{'ab' * 32}"), 400, "cursor_unknown")
    assert device.get(f"{JOBS}?limit={MOST_JOBS}").status_code == 200


def test_polling_is_cheap(session: Session, license: License, device: DeviceClient) -> None:
    first = device.get(JOBS)
    again = device.get(JOBS, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    session.add(on_chain(license, license.printer_address, 1))
    session.commit()
    assert device.get(JOBS, If_None_Match=first.headers["ETag"]).status_code == 200


@pytest.mark.parametrize("state", [s for s in IntentState if s is not IntentState.DONE])
def test_not_before_it_stands_on_the_chain(
    session: Session,
    chain: TestChain,
    owner: Party,
    sealed: Sealed,
    device: DeviceClient,
    machine: KeySigner,
    state: IntentState,
) -> None:
    waiting = job(session, chain, owner, sealed.design, machine.address, "AS-1", state)
    assert device.get(JOBS).get_json() == {"jobs": [], "next": None}
    problem(device.get(f"{JOBS}/{waiting.id}/file"), 404, "job_unknown")
    problem(device.post(OUTCOMES, {"id": waiting.id, **GOOD_OUTCOME}), 404, "job_unknown")


def test_not_without_a_manifest(session: Session, license: License, device: DeviceClient) -> None:
    license.signed_manifest = None
    session.commit()
    assert device.get(JOBS).get_json()["jobs"] == []


def test_only_the_printer_of_the_license(
    app: Flask, session: Session, chain: TestChain, owner: Party, license: License, device: DeviceClient
) -> None:
    other = chain.account(ether=0)
    session.add(Printer(owner_id=owner.user.id, name="Other", address=other.address))
    session.commit()
    stranger = DeviceClient(app, other)
    assert stranger.get(JOBS).get_json()["jobs"] == []
    for who, id in ((stranger, license.id), (device, "0x" + "12" * 32)):
        problem(who.get(f"{JOBS}/{id}/file"), 404, "job_unknown")
    for id in ("..%2f..%2fsecret", "0x", "%00", "0x" + "AB" * 32, license.id + "%0a"):
        answer = device.get(f"{JOBS}/{id}/file")
        assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    problem(stranger.post(OUTCOMES, {"id": license.id, **GOOD_OUTCOME}), 404, "job_unknown")


# --- the file ------------------------------------------------------------------------------------------


def test_the_file(license: License, device: DeviceClient, sealed: Sealed) -> None:
    answer = device.get(f"{JOBS}/{license.id}/file")
    assert answer.status_code == 200
    assert answer.data == sealed.content
    assert hashlib.sha256(answer.data).hexdigest() == manifest_of(license).manifest.sealing.sha256  # type: ignore[union-attr]
    assert answer.headers["Content-Length"] == str(len(sealed.content))
    assert answer.headers["ETag"] == f'"{sealed.design.sealed_sha256}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.content_type == "application/octet-stream"


def test_its_head(license: License, device: DeviceClient, sealed: Sealed) -> None:
    answer = device.send("HEAD", f"{JOBS}/{license.id}/file", Range="bytes=5-9")
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(sealed.content))
    assert answer.headers["ETag"] == f'"{sealed.design.sealed_sha256}"'


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("Bytes=10-19", 10, 19),
        ("bytes=100-", 100, None),
        ("bytes=-7", -7, None),
        ("bytes=0-999999999999999999", 0, None),
        ("bytes=-999999999999999999", 0, None),
    ],
)
def test_a_range(
    license: License, device: DeviceClient, sealed: Sealed, header: str, first: int, last: int | None
) -> None:
    size = len(sealed.content)
    start, stop = first % size, size if last is None else last + 1
    answer = device.get(f"{JOBS}/{license.id}/file", Range=header)
    assert answer.status_code == 206
    assert answer.data == sealed.content[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize(
    "header",
    [
        "bytes=1-2,5-6",
        "bytes=9-5",
        "bytes=-",
        "bytes=a-b",
        "lines=1-2",
        "bytes 1-2",
        "bytes=" + "1" * 40 + "-",
    ],
)
def test_what_is_no_range_brings_everything(
    license: License, device: DeviceClient, sealed: Sealed, header: str
) -> None:
    answer = device.get(f"{JOBS}/{license.id}/file", Range=header)
    assert (answer.status_code, len(answer.data)) == (200, len(sealed.content))
    assert "Content-Range" not in answer.headers


def test_beyond_its_end(license: License, device: DeviceClient, sealed: Sealed) -> None:
    size = len(sealed.content)
    for header in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0"):
        answer = device.get(f"{JOBS}/{license.id}/file", Range=header)
        problem(answer, 416, "range_not_satisfiable")
        assert answer.headers["Content-Range"] == f"bytes */{size}"


def test_a_range_of_this_file_only(license: License, device: DeviceClient, sealed: Sealed) -> None:
    url, etag = f"{JOBS}/{license.id}/file", f'"{sealed.design.sealed_sha256}"'
    assert device.get(url, Range="bytes=5-9", If_Range=etag).status_code == 206
    for other in ('"' + "0" * 64 + '"', "W/" + etag, etag[1:-1], "Sun, 22 Nov 2026 03:00:00 GMT"):
        assert device.get(url, Range="bytes=5-9", If_Range=other).status_code == 200, other
    for known in (etag, "W/" + etag, '"another", ' + etag):
        same = device.get(url, If_None_Match=known)
        assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", etag), known
    assert device.get(url, If_None_Match='"another"').status_code == 200


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(min_value=0, max_value=300_000), max_size=6))
def test_any_pieces_make_the_file(
    license: License, device: DeviceClient, sealed: Sealed, cuts: list[int]
) -> None:
    size = len(sealed.content)
    places = [0, *sorted({cut for cut in cuts if 0 < cut < size}), size]
    pieces = [
        device.get(f"{JOBS}/{license.id}/file", Range=f"bytes={start}-{stop - 1}").data
        for start, stop in itertools.pairwise(places)
    ]
    assert b"".join(pieces) == sealed.content


def test_a_storage_without_the_file(
    app: Flask, session: Session, license: License, device: DeviceClient, sealed: Sealed
) -> None:
    url = f"{JOBS}/{license.id}/file"
    stored = next(path for path in Path(app.extensions["imprimatur"].files._folder).iterdir())
    stored.write_bytes(sealed.content[:-1])
    for method in ("GET", "HEAD"):
        assert device.send(method, url).status_code == 503
    stored.unlink()
    answer = device.get(url)
    assert "storage" in problem(answer, 503, "file_unavailable")
    assert answer.headers["Retry-After"]
    assert "ETag" not in answer.headers
    sealed.design.sealed_size = None
    session.merge(sealed.design)
    session.commit()
    answer = device.get(url)
    assert "seal" in problem(answer, 503, "file_unavailable")
    assert answer.headers["Retry-After"]


# --- outcomes ------------------------------------------------------------------------------------------


def test_an_outcome(session: Session, license: License, device: DeviceClient, enrolled: DeviceClient) -> None:
    told = {"id": license.id, **GOOD_OUTCOME, "telemetry": "cd" * 32, "reason": None}
    first = device.post(OUTCOMES, told)
    assert (first.status_code, first.get_json()) == (201, told)
    again = device.post(OUTCOMES, told)
    assert (again.status_code, again.get_json()) == (200, told)
    assert "finished" in problem(device.post(OUTCOMES, told | {"outcome": "failed"}), 409, "outcome_known")
    problem(device.post(OUTCOMES, told | {"seconds": 1}), 409, "outcome_known")
    # Another device of the same wallet tells its own, as does another copy.
    assert enrolled.post(OUTCOMES, told | {"outcome": "abandoned"}).status_code == 201
    assert device.post(OUTCOMES, told | {"copy": 2}).status_code == 201
    row = session.get_one(Outcome, (license.id, 1, device.signer.address))
    assert (row.outcome, row.seconds, row.telemetry, row.ended_at) == (
        "finished",
        3600,
        "cd" * 32,
        1_800_000_000,
    )
    assert session.query(Outcome).count() == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 30_000,
        b"\xff",
        b'{"id": 1}',
        b'{"copy": NaN}',
        b'{"copy": ' + b"9" * 5000 + b"}",
    ],
)
def test_bodies_that_are_no_documents(device: DeviceClient, body: bytes) -> None:
    problem(device.send("POST", OUTCOMES, body), 400, "malformed")


@pytest.mark.parametrize(
    "change",
    [
        {"copy": 0},
        {"copy": 65_536},
        {"copy": 1.0},
        {"copy": True},
        {"copy": "1"},
        {"outcome": "lost"},
        {"reason": "a\0b"},
        {"reason": "\ud800"},
        {"reason": "x" * 201},
        {"id": "0x" + "AB" * 32},
        {"id": "0x" + "ab" * 32 + "\n"},
        {"more": 1},
    ],
)
def test_documents_that_break_the_schema(
    license: License, device: DeviceClient, change: dict[str, Any]
) -> None:
    told = {"id": license.id, **GOOD_OUTCOME, **change}
    detail = problem(device.post(OUTCOMES, told), 400, "malformed")
    assert "$" in detail


# --- who may ask ---------------------------------------------------------------------------------------


def test_unknown_devices_leave_nothing_behind(app: Flask, session: Session, chain: TestChain) -> None:
    stranger = DeviceClient(app, chain.account(ether=0))
    for _ in range(3):
        assert "invitation" in problem(stranger.get(JOBS), 403, "not_enrolled")
    assert session.query(DeviceNonce).count() == 0


def test_a_disabled_device(
    session: Session, license: License, enrolled: DeviceClient, device: DeviceClient, machine: KeySigner
) -> None:
    assert enrolled.get(JOBS).status_code == 200
    row = session.get_one(Device, enrolled.signer.address)
    row.disabled_at = now()
    session.commit()
    problem(enrolled.get(JOBS), 403, "device_disabled")
    assert device.get(JOBS).status_code == 200
    # A wallet in the list that enrolled as a device, too, is a device.
    session.add(
        Device(
            address=machine.address,
            wallet=machine.address,
            printer_id=row.printer_id,
            encryption_key="ab" * 32,
            disabled_at=now(),
        )
    )
    session.commit()
    problem(device.get(JOBS), 403, "device_disabled")


def test_a_replayed_request(app: Flask, device: DeviceClient, machine: KeySigner) -> None:
    header = authorization(machine, "GET", ORIGIN, JOBS)
    assert device.get(JOBS, Authorization=header).status_code == 200
    replay = device.get(JOBS, Authorization=header)
    assert problem(replay, 401, "not_authentic") == "This request was sent before; sign a new one."
    assert replay.headers["WWW-Authenticate"] == "Imprimatur"


def test_replays_at_the_same_time(app: Flask, device: DeviceClient, machine: KeySigner) -> None:
    header = authorization(machine, "GET", ORIGIN, JOBS)
    answers = at_once(
        *(lambda: DeviceClient(app, machine).get(JOBS, Authorization=header).status_code for _ in range(4))
    )
    assert sorted(answers) == [200, 401, 401, 401]


def test_signatures_are_for_one_request(
    app: Flask, device: DeviceClient, machine: KeySigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = authorization(machine, "GET", ORIGIN, JOBS)
    other = KeySigner(b"\7" * 32).address
    for url, header in (
        (JOBS, None),
        (JOBS, "Bearer x"),
        (JOBS + "?x=1", signed),
        (JOBS, signed.replace(machine.address, other)),
        (JOBS, signed[:-4] + "beef"),
        (JOBS, authorization(machine, "POST", ORIGIN, JOBS)),
        (JOBS, authorization(machine, "HEAD", ORIGIN, JOBS)),
        (JOBS, authorization(machine, "GET", ORIGIN, JOBS, b"body")),
    ):
        answer = app.test_client().get(url, headers={"Authorization": header} if header else {})
        problem(answer, 401, "not_authentic")
    body = authorization(machine, "POST", ORIGIN, OUTCOMES, b'{"a": 1}')
    problem(device.send("POST", OUTCOMES, b'{"a": 2}', Authorization=body), 401, "not_authentic")
    assert device.get(JOBS + "?a=b&c=%2F").status_code == 200
    real = time.time()
    for skew in (-MAX_SKEW - 5, MAX_SKEW + 5):
        monkeypatch.setattr(time, "time", lambda skew=skew: real + skew)
        header = authorization(machine, "GET", ORIGIN, JOBS)
        monkeypatch.undo()
        assert "clocks" in problem(device.get(JOBS, Authorization=header), 401, "not_authentic")


def told_to_be_at(app: Flask, url: str) -> None:
    runtime = app.extensions["imprimatur"]
    app.extensions["imprimatur"] = replace(runtime, settings=replace(runtime.settings, public_url=url))


def test_a_request_captured_at_one_portal_is_refused_by_another(
    app: Flask, device: DeviceClient, machine: KeySigner
) -> None:
    captured = authorization(machine, "GET", ORIGIN, JOBS)
    told_to_be_at(app, "https://other.example")
    for host in ("other.example", ORIGIN.removeprefix("http://")):
        detail = problem(device.get(JOBS, Authorization=captured, Host=host), 401, "not_authentic")
        assert "another address than https://other.example" in detail
        assert "IMPRIMATUR_PUBLIC_URL" in detail
    # Whoever captured it hasn't used it up.
    told_to_be_at(app, ORIGIN)
    assert device.get(JOBS, Authorization=captured, Host="elsewhere.example").status_code == 200


def test_a_portal_below_a_path(app: Flask, device: DeviceClient, machine: KeySigner) -> None:
    """Its proxy may take the path away, or the server be told of it: the device signs what it sends."""
    told_to_be_at(app, "https://Shop.example:443/prints")
    header = authorization(machine, "GET", "https://shop.example", f"/prints{JOBS}?limit=1")
    answer = device.get(f"{JOBS}?limit=1", Authorization=header)
    assert answer.status_code == 200
    header = authorization(machine, "GET", "https://shop.example", f"/prints{JOBS}")
    answer = app.test_client().get(
        JOBS, base_url="https://shop.example/prints", headers={"Authorization": header}
    )
    assert (answer.request.environ["SCRIPT_NAME"], answer.status_code) == ("/prints", 200)
    header = authorization(machine, "GET", "https://shop.example", JOBS)
    problem(device.get(JOBS, Authorization=header), 401, "not_authentic")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_large_bodies_are_not_read(device: DeviceClient, kind: str) -> None:
    """Nor is anything of a body read before that, whatever its sender calls it."""
    assert device.send("POST", OUTCOMES, b" " * MAX_BODY, Content_Type=kind).status_code == 400
    assert device.send("POST", OUTCOMES, b" " * (MAX_BODY + 1), Content_Type=kind).status_code == 413


def test_old_nonces_are_forgotten(app: Flask, session: Session, device: DeviceClient) -> None:
    session.add(DeviceNonce(address="0x" + "1" * 40, nonce="0" * 32, seen_at=int(time.time()) - 1000))
    session.commit()
    device.get(JOBS)
    session.expire_all()
    assert [row.nonce for row in session.query(DeviceNonce)] != ["0" * 32]
    assert session.query(DeviceNonce).count() == 1
    with app.app_context():
        assert db.session.query(DeviceNonce).count() == 1


def test_other_methods(device: DeviceClient) -> None:
    answer = device.send("DELETE", JOBS)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert answer.content_type == "application/problem+json"


def test_a_node_that_is_down_hides_no_jobs(node: TesterNode, license: License, device: DeviceClient) -> None:
    node.down = True
    assert device.get(JOBS).get_json()["jobs"][0]["id"] == license.id
    assert device.get(f"{JOBS}/{license.id}/file").status_code == 200
