"""Designs of versions that stored files in the clear: sealed once, whatever crashes in between."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from portal.stage import DESK, DESK_SECRET, GCODE, Party, TestChain
from sqlalchemy.orm import Session

from app import create_app
from app.extensions import db
from app.models import Design, Printer
from app.models.base import now
from app.services import issuing, unsealed
from app.services.issuing import DesignNotSealed, Terms
from app.services.sealing import ChunkSource, seal_into
from app.settings import Settings
from imprimatur.sealing import open_sealed, unwrap_key

OLD = GCODE + b"; from long ago\n"


class Crash(BaseException):
    """kill -9: nothing gets to clean up."""


@pytest.fixture
def plain(app: Flask, session: Session, owner: Party, tmp_path: Path) -> Design:
    """A design as version 1 left it."""
    return old_design(app, session, owner, OLD)


def old_design(app: Flask, session: Session, owner: Party, content: bytes) -> Design:
    with app.extensions["imprimatur"].files.new() as file:
        file.write(content)
    design = Design(
        owner_id=owner.user.id,
        file_name="old.gcode",
        storage_key=file.key,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    session.add(design)
    session.commit()
    return design


def files(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "files").iterdir()}


def assert_sealed(app: Flask, session: Session, design: Design, tmp_path: Path, content: bytes = OLD) -> None:
    session.expire_all()
    assert design.wrapped_key is not None
    assert design.plain_key is None
    (stored,) = [data for name, data in files(tmp_path).items() if name == design.storage_key]
    assert hashlib.sha256(stored).hexdigest() == design.sealed_sha256
    source: Any = ChunkSource(iter([stored]))
    with open_sealed(source, unwrap_key(design.wrapped_key, DESK_SECRET)) as opened:
        assert opened.readall() == content


def seal_files(app: Flask) -> Any:
    return app.test_cli_runner().invoke(args=["seal-files"])


def test_sealing_what_is_there(
    app: Flask, session: Session, owner: Party, design: Design, plain: Design, tmp_path: Path
) -> None:
    other = old_design(app, session, owner, GCODE + b"; more\n")
    new = design.storage_key
    answer = seal_files(app)
    assert answer.exit_code == 0, answer.output
    assert answer.output.count(": sealed") == 2
    assert_sealed(app, session, plain, tmp_path)
    assert_sealed(app, session, other, tmp_path, GCODE + b"; more\n")
    assert session.get(Design, design.id).storage_key == new  # type: ignore[union-attr]
    assert not any(GCODE[:20] in data for data in files(tmp_path).values())
    before = files(tmp_path)
    again = seal_files(app)
    assert (again.exit_code, again.output) == (0, "Every design is sealed.\n")
    assert files(tmp_path) == before


@pytest.mark.parametrize("step", ["sealed", "committed", "deleted"])
def test_a_crash_between_any_two_steps(
    app: Flask, session: Session, plain: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = app.extensions["imprimatur"].files
    old = plain.storage_key

    def crash(*_arguments: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        match step:
            case "sealed":
                patch.setattr(unsealed, "take_over", crash)
            case "committed":
                patch.setattr(unsealed, "forget_plaintext", crash)
            case "deleted":
                delete = store.delete

                def delete_and_crash(key: str) -> None:
                    delete(key)
                    raise Crash

                patch.setattr(store, "delete", delete_and_crash)
        with pytest.raises(Crash):
            list(unsealed.seal_all(session, store, DESK.recipient))
    session.rollback()
    session.expire_all()
    assert (plain.sealed_size is None) == (step == "sealed")
    assert (old in files(tmp_path)) == (step != "deleted")
    assert seal_files(app).exit_code == 0
    assert_sealed(app, session, plain, tmp_path)
    assert old not in files(tmp_path)
    assert not any(GCODE[:20] in data for data in files(tmp_path).values())


def test_two_at_once(app: Flask, session: Session, plain: Design, tmp_path: Path) -> None:
    """The one that comes second keeps its hands off."""
    store = app.extensions["imprimatur"].files
    first, second = (seal_into(store, DESK.recipient, io.BytesIO(OLD)) for _ in range(2))
    with app.app_context():
        same = db.session.get(Design, plain.id)
        assert same is not None
        unsealed.take_over(session, store, plain, first)
        unsealed.take_over(db.session, store, same, second)
        unsealed.forget_plaintext(db.session, store, same)
    assert set(files(tmp_path)) == {first.storage_key}
    assert_sealed(app, session, plain, tmp_path)


def test_a_file_that_isnt_what_was_uploaded_stays(
    app: Flask, session: Session, owner: Party, plain: Design, tmp_path: Path
) -> None:
    other = old_design(app, session, owner, GCODE + b"; more\n")
    (tmp_path / "files" / plain.storage_key).write_bytes(OLD + b"\n")
    missing = old_design(app, session, owner, GCODE + b"; gone\n")
    (tmp_path / "files" / missing.storage_key).unlink()
    answer = seal_files(app)
    assert answer.exit_code == 1
    assert f"(design {plain.id}): The stored file has the SHA-256" in answer.output
    assert f"(design {missing.id}): The file {missing.storage_key} isn't in the storage" in answer.output
    assert f"(design {other.id}): sealed" in answer.output
    assert "2 not sealed" in answer.output
    session.expire_all()
    assert plain.sealed_size is None
    assert set(files(tmp_path)) == {plain.storage_key, other.storage_key}


def test_uploading_it_again_seals_it(
    app: Flask, session: Session, owner: Party, plain: Design, tmp_path: Path
) -> None:
    page = owner.client.get(f"/designs/{plain.id}").get_data(as_text=True)
    assert 'id="unsealed"' in page
    answer = owner.upload(OLD, "old.gcode")
    assert (answer.status_code, answer.get_json()["location"]) == (200, f"/designs/{plain.id}?known=1")
    assert_sealed(app, session, plain, tmp_path)
    assert len(files(tmp_path)) == 1
    page = owner.client.get(f"/designs/{plain.id}").get_data(as_text=True)
    assert 'id="unsealed"' not in page
    assert str(plain.sealed_sha256) in page


@pytest.mark.usefixtures("operator", "allowed")
def test_nothing_is_issued_for_it(
    app: Flask, session: Session, owner: Party, plain: Design, printer: Printer
) -> None:
    connection = app.extensions["imprimatur"].chain
    with pytest.raises(DesignNotSealed, match="seal-files"):
        issuing.order_license(session, connection, owner.user, Terms("AS-1", plain, printer, 3), now().date())
    answer = owner.post(
        "/licenses", design=plain.id, printer=printer.id, number="AS-1", copies=1, failures=1, last_day=""
    )
    assert answer.status_code == 422
    assert "old.gcode was stored by an earlier version" in answer.get_data(as_text=True)
    assert seal_files(app).exit_code == 0
    answer = owner.post(
        "/licenses", design=plain.id, printer=printer.id, number="AS-1", copies=1, failures=1, last_day=""
    )
    assert answer.status_code == 303


def test_without_a_desk(
    chain: TestChain, options: Settings, app: Flask, plain: Design, tmp_path: Path
) -> None:
    other = create_app(replace(options, desk=None), provider=chain.node)
    answer = other.test_cli_runner().invoke(args=["seal-files"])
    assert answer.exit_code == 1
    assert "key desk isn't set up" in answer.output
    assert set(files(tmp_path)) == {plain.storage_key}
    with other.app_context():
        db.engine.dispose()
