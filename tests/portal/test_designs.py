"""Taking in print files."""

import errno
import hashlib
import io
import threading
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from portal.stage import DESK, DESK_SECRET, GCODE, Party, TestChain, sign_in
from sqlalchemy.orm import Session
from werkzeug.exceptions import ClientDisconnected

from app import create_app
from app.extensions import db
from app.models import Design
from app.services import designs
from app.services.manifests import name_problem
from app.services.sealing import ChunkSource
from app.services.storage import StorageFailed
from app.settings import Settings
from imprimatur.sealing import open_sealed, unwrap_key


def stored(app: Flask) -> list[Path]:
    folder = Path(urlsplit(app.extensions["imprimatur"].settings.storage_url).path)
    return sorted(folder.iterdir()) if folder.exists() else []


def opened(app: Flask, design: Design) -> bytes:
    """What the desk's key, and nothing else, makes of a design."""
    assert design.wrapped_key is not None
    assert design.wrapped_for == DESK.recipient.hex()
    key = unwrap_key(design.wrapped_key, DESK_SECRET)
    assert hashlib.sha256(key).hexdigest() == design.key_commitment
    chunks = app.extensions["imprimatur"].files.open(design.storage_key).read()
    with open_sealed(ChunkSource(chunks), key) as plain:  # type: ignore[arg-type]
        return plain.readall()


def test_upload(app: Flask, session: Session, owner: Party) -> None:
    answer = owner.upload()
    digest = hashlib.sha256(GCODE).hexdigest()
    assert (answer.status_code, answer.get_json()["sha256"]) == (201, digest)
    page = owner.client.get(answer.get_json()["location"]).get_data(as_text=True)
    for text in (
        digest,
        "clip.gcode",
        "PLA",
        "1 h 2 min",
        "0.28 mm",
        "400.09 mm",
        "1.2 g",
        "PrusaSlicer 2.5.0",
    ):
        assert text in page, text
    (file,) = stored(app)
    design = session.query(Design).one()
    sealed = file.read_bytes()
    assert sealed.startswith(b"age-encryption.org/v1\n")
    assert (len(sealed), hashlib.sha256(sealed).hexdigest()) == (design.sealed_size, design.sealed_sha256)
    assert design.sealed_sha256 in page
    assert opened(app, design) == GCODE
    assert len(file.name) == 32
    assert "clip" not in file.name
    assert file.stat().st_mode & 0o077 == 0


def test_what_isnt_in_the_file_is_said(owner: Party) -> None:
    location = owner.upload(b"G28\nG1 X1 E1\n").get_json()["location"]
    assert owner.client.get(location).get_data(as_text=True).count("not in the file") == 5


def test_the_same_file_is_one_design(app: Flask, owner: Party, rival: Party) -> None:
    first, second = owner.upload(), owner.upload(name="other.gcode")
    assert second.status_code == 200
    assert second.get_json()["location"] == first.get_json()["location"] + "?known=1"
    assert len(stored(app)) == 1
    assert rival.upload().status_code == 201
    assert len(stored(app)) == 2


@pytest.mark.parametrize(
    ("content", "name", "status", "words"),
    [
        (GCODE, "clip.stl", 422, "Only G-code is taken"),
        (GCODE, "", 422, "Only G-code is taken"),
        (GCODE, ".gcode", 422, "Only G-code is taken"),
        (b"", "clip.gcode", 422, "The file is empty"),
        (b"Dear diary,\n", "clip.gcode", 422, "no G-code in this file"),
        (b"G28\n" + b"\0" * 100, "clip.gcode", 422, "no G-code in this file"),
        (b"\x89PNG" * 200_000, "clip.gcode", 422, "no G-code in this file"),
        (b"G28\n" * 260_000, "clip.gcode", 413, "larger than 1 MB"),
        (GCODE, "con.gcode", 422, "Not every system can have a file of this name"),
        (GCODE, "lpt1.gcode", 422, "Not every system can have a file of this name"),
    ],
)
def test_refused_uploads_leave_nothing(
    app: Flask, session: Session, owner: Party, content: bytes, name: str, status: int, words: str
) -> None:
    answer = owner.upload(content, name)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert words in answer.get_json()["detail"]
    assert stored(app) == []
    assert session.query(Design).count() == 0


class Cut(io.BytesIO):
    """A browser that goes away half-way."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 0:
            raise ClientDisconnected
        return super().read(size)


def test_an_interrupted_upload_leaves_nothing(app: Flask, session: Session, owner: Party) -> None:
    store = app.extensions["imprimatur"].files
    with pytest.raises(ClientDisconnected):
        designs.add_design(session, store, DESK.recipient, owner.user, "a.gcode", Cut(GCODE * 20_000), 10**9)
    assert stored(app) == []
    answer = owner.client.put(
        "/designs/files?name=a.gcode",
        input_stream=io.BytesIO(GCODE),
        environ_overrides={"CONTENT_LENGTH": str(len(GCODE) + 1000)},
        headers={"X-CSRFToken": owner.csrf()},
    )
    assert answer.status_code == 400
    assert stored(app) == []
    assert session.query(Design).count() == 0


def test_a_server_that_hides_the_interruption(app: Flask, session: Session, owner: Party) -> None:
    """gunicorn ends the stream as if all had come."""
    answer = owner.client.put(
        "/designs/files?name=a.gcode",
        input_stream=io.BytesIO(GCODE),
        environ_overrides={"CONTENT_LENGTH": str(len(GCODE) + 1000), "wsgi.input_terminated": True},
        headers={"X-CSRFToken": owner.csrf(), "Accept": "application/json"},
    )
    assert answer.status_code == 400
    assert "Nothing was kept" in answer.get_json()["detail"]
    assert stored(app) == []
    assert session.query(Design).count() == 0


def test_the_limit_holds_without_a_length(app: Flask, owner: Party) -> None:
    """Chunked bodies announce none; what counts is what was read."""
    endless = io.BytesIO(b"G1 X1\n" * 500_000)
    answer = owner.client.put(
        "/designs/files?name=a.gcode",
        input_stream=endless,
        environ_overrides={"wsgi.input_terminated": True},
        headers={"X-CSRFToken": owner.csrf(), "Transfer-Encoding": "chunked"},
    )
    assert answer.status_code == 413
    assert endless.tell() < 2_100_000
    assert stored(app) == []


def test_a_failing_database_leaves_no_file(
    app: Flask, session: Session, owner: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise OSError("disk full")

    monkeypatch.setattr(session, "commit", broken)
    store = app.extensions["imprimatur"].files
    with pytest.raises(OSError, match="disk full"):
        designs.add_design(session, store, DESK.recipient, owner.user, "a.gcode", io.BytesIO(GCODE), 10**9)
    assert stored(app) == []


def test_a_commit_that_nobody_knows_of_keeps_the_file(
    app: Flask, session: Session, owner: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has the row, and the connection broke before it said so."""
    commit = session.commit

    def cut() -> None:
        commit()
        raise sa.exc.OperationalError("COMMIT", {}, Exception("gone"), connection_invalidated=True)

    monkeypatch.setattr(session, "commit", cut)
    store = app.extensions["imprimatur"].files
    with pytest.raises(sa.exc.OperationalError):
        designs.add_design(session, store, DESK.recipient, owner.user, "a.gcode", io.BytesIO(GCODE), 10**9)
    monkeypatch.undo()
    design = session.scalars(sa.select(Design)).one()
    assert opened(app, design) == GCODE


def test_the_same_file_twice_at_once(app: Flask, owner: Party) -> None:
    store, user = app.extensions["imprimatur"].files, owner.user
    results: list[int] = []

    def add() -> None:
        with app.app_context():
            results.append(
                designs.add_design(
                    db.session, store, DESK.recipient, user, "a.gcode", io.BytesIO(GCODE), 10**9
                )[0].id
            )

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert len(results) == 4
    assert len(stored(app)) == 1


@pytest.mark.parametrize("id", [str(2**63 - 1), str(2**63), "99999999999999999999", "9" * 5000, "0", "-1"])
def test_ids_that_nothing_can_have(owner: Party, id: str) -> None:
    assert owner.client.get(f"/designs/{id}").status_code == 404
    assert owner.client.get(f"/designs/{id}/thumbnail.png").status_code == 404


class Unread(io.BytesIO):
    """A stream that nobody may touch."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise AssertionError("It was read.")


def test_without_a_desk_nothing_is_read(
    app: Flask, session: Session, chain: TestChain, options: Settings, owner: Party
) -> None:
    with pytest.raises(designs.NoDesk):
        designs.add_design(
            session, app.extensions["imprimatur"].files, None, owner.user, "a.gcode", Unread(), 10**6
        )
    other = create_app(replace(options, desk=None), provider=chain.node)
    client = other.test_client()
    sign_in(client, owner.user.email)
    page = client.get("/designs/new").get_data(as_text=True)
    assert "Nothing can be uploaded yet" in page
    token = page.split('data-csrf="')[1].split('"')[0]
    answer = client.put("/designs/files?name=a.gcode", data=GCODE, headers={"X-CSRFToken": token})
    assert answer.status_code == 503
    assert "isn't set up" in answer.get_json()["detail"]
    assert stored(app) == []
    with other.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(
    "error", [StorageFailed("secret bucket name"), OSError(errno.ENOSPC, "No space left", "bucket")]
)
def test_a_storage_that_fails(app: Flask, owner: Party, error: Exception) -> None:
    class Failing:
        def new(self) -> None:
            raise error

    facts = app.extensions["imprimatur"]
    app.extensions["imprimatur"] = replace(facts, files=Failing())
    answer = owner.upload()
    assert answer.status_code == 503
    assert "can't store files right now" in answer.get_json()["detail"]
    assert "bucket" not in answer.get_data(as_text=True)
    app.extensions["imprimatur"] = facts


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("clip.GCODE", "clip.GCODE"),
        ("../../etc/x.gcode", "x.gcode"),
        ("C:\\parts\\x.gco", "x.gco"),
        ('a<b>"c.g', "abc.g"),
        ("\u202eevil.gcode", "evil.gcode"),
        ("ü.gcode", "ü.gcode"),
        ("u\u0308.gcode", "ü.gcode"),
        ("u\u200b\u0308.gcode", "ü.gcode"),
        ("-rf.gcode", "rf.gcode"),
        ("~x.gcode", "x.gcode"),
    ],
)
def test_file_names(given: str, kept: str) -> None:
    assert designs.clean_name(given) == kept


def test_long_file_names() -> None:
    name = designs.clean_name("x" * 500 + ".gcode")
    assert len(name) == 120
    assert name.endswith("x.gcode")
    bytes_count = len(designs.clean_name("\U0001f600" * 500 + ".gcode").encode())
    assert 250 < bytes_count <= 255


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300), st.sampled_from(designs.SUFFIXES))
def test_every_name_that_is_taken_can_stand_in_a_manifest(stem: str, suffix: str) -> None:
    try:
        name = designs.clean_name(stem + suffix)
    except designs.UploadRefused:
        return
    assert name_problem(name) is None
    assert len(name) <= designs.MAX_NAME
    assert designs.clean_name(name) == name
