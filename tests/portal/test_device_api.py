"""The printer's interface, version 1. Its shape is a promise."""

import hashlib
import time

import pytest
from flask import Flask
from portal.stage import GCODE, Party, TestChain
from sqlalchemy.orm import Session

from app.extensions import db
from app.jobs.worker import Worker
from app.models import Design, DeviceNonce, License, Printer
from app.models.base import now
from app.services import issuing
from app.services.issuing import Terms
from imprimatur.chain.signers import KeySigner
from imprimatur.device_auth import authorization

LIST = "/api/v1/device/licenses"


@pytest.fixture
def issued(
    app: Flask,
    session: Session,
    worker: Worker,
    owner: Party,
    design: Design,
    printer: Printer,
    allowed: None,
) -> License:
    chain = app.extensions["imprimatur"].chain
    license = issuing.order_license(
        session, chain, owner.user, Terms("AS-1", design, printer, 3), now().date()
    )
    while worker.step():
        pass
    return license


def get(app: Flask, signer: KeySigner, url: str, **headers: str):  # type: ignore[no-untyped-def]
    return app.test_client().get(url, headers={"Authorization": authorization(signer, "GET", url), **headers})


def test_the_list(app: Flask, issued: License, machine: KeySigner) -> None:
    answer = get(app, machine, LIST)
    assert answer.status_code == 200
    assert answer.get_json() == {
        "licenses": [
            {
                "id": issued.id,
                "number": "AS-1",
                "owner_name": "Aero Spares",
                "file": {
                    "name": "clip.gcode",
                    "size": len(GCODE),
                    "sha256": hashlib.sha256(GCODE).hexdigest(),
                    "material": "PLA",
                    "print_time_s": 3723,
                    "filament_mm": 400.09,
                    "filament_g": 1.19,
                    "layer_height_mm": 0.28,
                    "thumbnail_png": None,
                },
            }
        ]
    }
    assert "Set-Cookie" not in answer.headers


def test_the_file(app: Flask, issued: License, machine: KeySigner) -> None:
    with get(app, machine, f"{LIST}/{issued.id}/file") as answer:
        assert answer.status_code == 200
        assert answer.data == GCODE
        assert answer.headers["Content-Length"] == str(len(GCODE))
        assert answer.headers["ETag"] == f'"{issued.file_hash}"'
    with get(app, machine, f"{LIST}/{issued.id}/file", Range="bytes=10-19") as answer:
        assert (answer.status_code, answer.data) == (206, GCODE[10:20])


def test_only_the_printer_of_the_license(
    app: Flask, chain: TestChain, issued: License, machine: KeySigner
) -> None:
    stranger = chain.account(ether=0)
    assert get(app, stranger, LIST).get_json() == {"licenses": []}
    for signer, id in ((stranger, issued.id), (machine, "0x" + "12" * 32), (machine, "..%2f..%2fsecret")):
        answer = get(app, signer, f"{LIST}/{id}/file")
        assert answer.status_code == 404
        assert answer.content_type == "application/problem+json"


def test_not_before_it_stands_on_the_chain(
    app: Flask,
    session: Session,
    owner: Party,
    design: Design,
    printer: Printer,
    allowed: None,
    machine: KeySigner,
) -> None:
    chain = app.extensions["imprimatur"].chain
    license = issuing.order_license(
        session, chain, owner.user, Terms("AS-1", design, printer, 3), now().date()
    )
    assert get(app, machine, LIST).get_json() == {"licenses": []}
    assert get(app, machine, f"{LIST}/{license.id}/file").status_code == 404


def test_a_replayed_request(app: Flask, machine: KeySigner) -> None:
    header = {"Authorization": authorization(machine, "GET", LIST)}
    assert app.test_client().get(LIST, headers=header).status_code == 200
    replay = app.test_client().get(LIST, headers=header)
    assert replay.status_code == 401
    assert replay.get_json()["detail"] == "This request was sent before; sign a new one."


def test_signatures_are_for_one_request(
    app: Flask, machine: KeySigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = authorization(machine, "GET", LIST)
    other = KeySigner(b"\7" * 32).address
    for url, header in (
        (LIST, None),
        (LIST, "Bearer x"),
        (LIST + "?x=1", signed),
        (LIST, signed.replace(machine.address, other)),
        (LIST, signed[:-4] + "beef"),
        (LIST, authorization(machine, "POST", LIST)),
        (LIST, authorization(machine, "GET", LIST, b"body")),
    ):
        answer = app.test_client().get(url, headers={"Authorization": header} if header else {})
        assert answer.status_code == 401, header
        assert set(answer.get_json()) == {"type", "title", "status", "detail"}
    assert get(app, machine, LIST + "?a=b&c=%2F").status_code == 200
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real - 1000)
    old = authorization(machine, "GET", LIST)
    monkeypatch.undo()
    assert "clocks" in app.test_client().get(LIST, headers={"Authorization": old}).get_json()["detail"]


def test_old_nonces_are_forgotten(app: Flask, session: Session, machine: KeySigner) -> None:
    session.add(DeviceNonce(address=machine.address, nonce="0" * 32, seen_at=int(time.time()) - 1000))
    session.commit()
    get(app, machine, LIST)
    session.expire_all()
    assert [row.nonce for row in session.query(DeviceNonce)] != ["0" * 32]
    assert session.query(DeviceNonce).count() == 1
    with app.app_context():
        assert db.session.query(DeviceNonce).count() == 1
