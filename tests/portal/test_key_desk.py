"""The key desk as an honest device meets it: who gets a key, what is written, how fast one may ask."""

import json
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from portal.desk_stage import KEYS, ORIGIN, URL, DeskStage, close, make_stage, stop
from portal.stage import Party, queue, refreshed
from sqlalchemy.orm import Session

from app.api.v1.documents import Malformed
from app.desk import create_app
from app.desk.views import STATUS, read_request
from app.models import (
    Base,
    ChainUse,
    Design,
    Device,
    DeviceNonce,
    IntentState,
    KeyAudit,
    License,
    Printer,
    User,
)
from app.models.base import now
from app.services import delivery_stop, devices, key_desk
from app.services.desk_keys import DeskKeysUnusable, open_keys
from app.settings import DeskIdentity, DeskSettings
from imprimatur import schemas, sealing
from imprimatur.chain.outbox.rules import Confirmations, Finalized
from imprimatur.chain.print_license import Terms
from imprimatur.chain.rpc import HttpRpc, NodeUnreachable, Rpc
from imprimatur.chain.signers import KeySigner, KeystoreUnusable
from imprimatur.device_auth import authorization
from imprimatur.key_answer import Refusal
from imprimatur.license_id import format_id
from support.node import Chain

NOBODY = HttpRpc("http://127.0.0.1:1", retries=0)


@pytest.fixture
def stage(anvil: Chain, tmp_path: Path, template_database: bytes) -> Iterator[DeskStage]:
    stage = make_stage(anvil, tmp_path, template_database)
    yield stage
    stage.close()


@pytest.fixture
def device(stage: DeskStage) -> KeySigner:
    """A wallet in the owner's list."""
    signer = stage.chain.account()
    stage.know(signer)
    return signer


def test_a_consumed_copy_gets_its_key(stage: DeskStage, device: KeySigner) -> None:
    id = stage.license(device.address)
    stage.consume(device, id)
    asked = stage.ask(device, id)
    assert asked.outcome == (200, "released")
    assert asked.file_key(stage.job_keys[id, 1]) == stage.file_keys[id]
    assert asked.headers["Cache-Control"] == "no-store"
    with stage.sessions() as session:
        row = session.scalars(sa.select(KeyAudit)).one()
    assert asked.answer is not None
    assert (row.license_id, row.copy, row.device) == (format_id(id), 1, device.address)
    assert (row.key_recipient, row.answer_hash) == (stage.recipient(id).hex(), asked.answer.hash.hex())


def test_the_same_job_may_ask_again(stage: DeskStage, device: KeySigner) -> None:
    id = stage.license(device.address)
    stage.consume(device, id)
    keys = {stage.ask(device, id).file_key(stage.job_keys[id, 1]) for _ in range(3)}
    assert keys == {stage.file_keys[id]}
    assert stage.audit() == [(1, True, None)] * 3


def test_each_copy_has_its_own_answer(stage: DeskStage, device: KeySigner) -> None:
    id, other = stage.license(device.address), stage.license(device.address)
    for copy in (1, 2):
        stage.consume(device, id, copy)
    stage.consume(device, other)
    for license, copy in ((id, 1), (id, 2), (other, 1)):
        asked = stage.ask(device, license, copy)
        assert asked.file_key(stage.job_keys[license, copy]) == stage.file_keys[license]
    assert stage.ask(device, id, 3, sealing.public_key(sealing.new_key())).outcome == (425, "not_consumed")


def test_a_device_of_the_wallet(stage: DeskStage) -> None:
    """Enrolled or not: the contract trusted it."""
    wallet, device = stage.chain.account(), stage.chain.account()
    stage.chain.bind(wallet, device)
    id = stage.license(wallet.address)
    stage.consume(device, id)
    assert stage.ask(device, id).outcome == (200, "released")
    assert stage.audit() == [(1, True, None)]


def enrol(stage: DeskStage, device: KeySigner, owner_id: int, disabled: bool) -> None:
    """A device that this owner has let in, and perhaps shut out."""
    with stage.sessions() as session:
        session.merge(
            Device(
                address=device.address,
                wallet=device.address,
                printer=Printer(owner_id=owner_id, name="Left bay", address=device.address),
                encryption_key="0" * 64,
                disabled_at=now() if disabled else None,
            )
        )
        session.commit()


def test_a_disabled_device_is_owed_what_it_consumed(stage: DeskStage) -> None:
    """She shut it out because its key was stolen, perhaps: whoever asks, the key stays here, and she owes."""
    device = stage.chain.account()
    id = stage.license(device.address)
    stage.consume(device, id)
    enrol(stage, device, stage.user_id, disabled=True)
    assert stage.ask(device, id).outcome == (403, "stopped")
    with stage.sessions() as session:
        license = session.get_one(License, format_id(id))
        owed = delivery_stop.owed_copies(session, license)
        assert [(row.copy, row.device) for row in owed] == [(1, device.address)]
        device_row = session.get_one(Device, device.address)
        device_row.disabled_at = None
        session.commit()
    assert stage.ask(device, id).file_key(stage.job_keys[id, 1]) == stage.file_keys[id]
    assert stage.audit() == [(1, False, "stopped"), (1, True, None)]


def test_an_owner_who_shuts_a_device_out_decides_nothing_about_others(stage: DeskStage) -> None:
    device = stage.chain.account()
    id = stage.license(device.address)
    stage.consume(device, id)
    with stage.sessions() as session:
        account = stage.chain.account().address
        rival = User(email="b@example.com", fs_uniquifier="v", name="B", account=account)
        session.add(rival)
        session.commit()
        rival_id = rival.id
    enrol(stage, device, rival_id, disabled=True)
    assert stage.ask(device, id).outcome == (200, "released")


def test_what_happens_later_takes_no_key_back(stage: DeskStage, device: KeySigner) -> None:
    """Expiry, revocation and transfer are about copies that are left."""
    chain = stage.chain
    flags = Terms.TRANSFERABLE | Terms.REVOCABLE
    until = int(chain.rpc.call("eth_getBlockByNumber", ["latest", False])["timestamp"], 16) + 3600
    revoked = stage.license(device.address, flags=flags)
    moved = stage.license(device.address, flags=flags)
    expired = stage.license(device.address, valid_until=until)
    for id in (revoked, moved, expired):
        stage.consume(device, id)
    chain.send(stage.owner, chain.licenses.revoke_call(revoked))
    chain.send(device, chain.licenses.transfer_license_call(moved, chain.account().address))
    snapshot = chain.rpc.call("evm_snapshot", [])
    chain.rpc.call("evm_increaseTime", [7200])
    stage.mine(1)
    for id in (revoked, moved, expired):
        assert stage.ask(device, id).outcome == (200, "released")
    chain.rpc.call("evm_revert", [snapshot])


def test_nothing_consumed(stage: DeskStage, device: KeySigner) -> None:
    id = stage.license(device.address)
    asked = stage.ask(device, id, recipient=sealing.public_key(sealing.new_key()))
    assert asked.outcome == (425, "not_consumed")
    assert asked.headers["Retry-After"] == str(key_desk.SOON)
    assert stage.audit() == [(1, False, "not_consumed")]


def test_a_license_of_somebody_else(stage: DeskStage, device: KeySigner) -> None:
    asked = stage.ask(device, 12345, recipient=sealing.public_key(sealing.new_key()))
    assert asked.outcome == (403, "unknown_license")
    assert "Retry-After" not in asked.headers


def test_a_use_without_a_job_key(stage: DeskStage, device: KeySigner) -> None:
    """`useLicense` logs a recipient of zero: anybody could read what is encrypted to it."""
    id = stage.license(device.address)
    license = stage.chain.licenses.license_of(id)
    assert license is not None
    stage.chain.send(device, stage.chain.licenses.use_license_call(id, license.file_hash))
    assert stage.ask(device, id, recipient=bytes(32)).outcome == (403, "other_recipient")


# --- finality ----------------------------------------------------------------------------------------------


def test_confirmations(stage: DeskStage, device: KeySigner) -> None:
    desk = stage.desk(finality=Confirmations(3))
    id = stage.license(device.address)
    stage.consume(device, id)
    for _ in range(3):
        assert stage.ask(device, id, desk=desk).outcome == (425, "not_final")
        stage.mine(1)
    assert stage.ask(device, id, desk=desk).outcome == (200, "released")


def test_the_finalized_tag(stage: DeskStage, device: KeySigner) -> None:
    desk = stage.desk(finality=Finalized())
    id = stage.license(device.address)
    stage.consume(device, id)
    asked = stage.ask(device, id, desk=desk)
    assert asked.outcome == (425, "not_final")
    assert asked.headers["Retry-After"] == str(key_desk.SLOT)
    stage.mine(200)
    assert stage.ask(device, id, desk=desk).outcome == (200, "released")


# --- the other database ------------------------------------------------------------------------------------


@pytest.fixture
def on_postgres(anvil: Chain, tmp_path: Path, postgres: str) -> Iterator[DeskStage]:
    engine = sa.create_engine(postgres)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    stage = make_stage(anvil, tmp_path, postgres)
    yield stage
    stage.close()
    Base.metadata.drop_all(engine)
    engine.dispose()


def test_postgres(on_postgres: DeskStage) -> None:
    stage = on_postgres
    device = stage.chain.account()
    stage.know(device)
    id = stage.license(device.address)
    stage.consume(device, id)
    body = {"id": format_id(id), "copy": 1, "keyRecipient": stage.recipient(id).hex()}
    data = json.dumps(body).encode()
    header = authorization(device, "POST", ORIGIN, URL, data)

    def post(_number: int) -> int:
        return stage.app.test_client().post(URL, data=data, headers={"Authorization": header}).status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(post, range(6))) == [200] + [401] * 5
    assert stage.ask(device, id).file_key(stage.job_keys[id, 1]) == stage.file_keys[id]
    stop(stage, id)
    assert stage.ask(device, id).outcome == (403, "stopped")
    assert stage.audit() == [(1, True, None), (1, True, None), (1, False, "stopped")]
    assert stage.ask(device, id, desk=stage.desk(per_minute=3)).outcome == (429, "too_many_requests")
    with stage.sessions() as session:
        session.execute(sa.text("ALTER TABLE key_audit ADD CHECK (id < 0) NOT VALID"))
        session.commit()
    assert stage.ask(device, id).outcome == (503, "unavailable")


@pytest.mark.parametrize("how", ["license", "device"])
def test_a_stop_waits_for_the_answer_before_it(on_postgres: DeskStage, how: str) -> None:
    """Committed between the desk's look at it and its audit row, a stop would be followed by a key."""
    stage, device = on_postgres, on_postgres.chain.account()
    id = stage.license(device.address)
    stage.consume(device, id)
    enrol(stage, device, stage.user_id, disabled=False)
    order: list[str] = []
    running: list[Future[None]] = []
    engine = stage.app.extensions["imprimatur_desk"].database

    def stopping() -> None:
        with stage.sessions() as session:
            license = session.get_one(License, format_id(id))
            if how == "license":
                delivery_stop.stop(session, license, now())
            else:
                devices.set_disabled(session, license.owner, device.address, True, now())
        order.append("stopped")

    with ThreadPoolExecutor(1) as pool:

        @sa.event.listens_for(engine, "after_cursor_execute")
        def _(_c: object, _k: object, statement: str, *_: object) -> None:
            if "stopped_at" in statement and not running:
                running.append(pool.submit(stopping))
                wait(running, timeout=0.5)

        sa.event.listen(engine, "commit", lambda _: order.append("answered"))
        assert stage.ask(device, id).outcome == (200, "released")
    running[0].result()
    assert order == ["answered", "stopped"]
    assert stage.ask(device, id).outcome == (403, "stopped")


# --- limits ------------------------------------------------------------------------------------------------


def test_limits_are_for_each_device_and_outlive_the_process(stage: DeskStage, device: KeySigner) -> None:
    other = stage.chain.account()
    stage.know(other)
    id = stage.license(device.address)
    stage.consume(device, id)
    desk = stage.desk(per_minute=3)
    for _ in range(3):
        assert stage.ask(device, id, desk=desk).outcome == (200, "released")
    restarted = stage.desk(per_minute=3)
    asked = stage.ask(device, id, desk=restarted)
    assert asked.outcome == (429, "too_many_requests")
    assert 1 <= int(asked.headers["Retry-After"]) <= 60
    assert stage.ask(other, id, desk=restarted).outcome == (403, "other_device")
    # What is over the limit is written nowhere, or asking would fill the disk.
    assert len(stage.audit()) == 4
    with stage.sessions() as session:
        for row in session.scalars(sa.select(KeyAudit)):
            row.at -= timedelta(minutes=1)
        session.commit()
    assert stage.ask(device, id, desk=restarted).outcome == (200, "released")


def test_strangers_leave_nothing(stage: DeskStage) -> None:
    id = stage.license(stage.chain.account().address)
    for _ in range(3):
        stranger = KeySigner(secrets.token_bytes(32))
        recipient = sealing.public_key(sealing.new_key())
        assert stage.ask(stranger, id, recipient=recipient).outcome == (425, "not_consumed")
        assert stage.ask(stranger, 77, recipient=recipient).outcome == (403, "unknown_license")
    assert stage.audit() == []
    with stage.sessions() as session:
        assert session.scalars(sa.select(DeviceNonce)).all() == []


def test_strangers_share_one_allowance(
    stage: DeskStage, device: KeySigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_desk, "STRANGERS_PER_MINUTE", 2)
    now = time.time()
    monkeypatch.setattr("app.desk.views.time", SimpleNamespace(time=lambda: now))
    desk = stage.desk()
    id = stage.license(device.address)
    stage.consume(device, id)
    asked = [stage.ask(KeySigner(secrets.token_bytes(32)), id, desk=desk).outcome for _ in range(3)]
    assert asked == [(403, "other_device"), (403, "other_device"), (429, "too_many_requests")]
    assert stage.ask(device, id, desk=desk).outcome == (200, "released")


class Held(Rpc):
    """A node that keeps the first who asks for events waiting, and then doesn't answer."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self.asked, self.go_on = threading.Event(), threading.Event()

    def call(self, method: str, params: list[Any]) -> Any:
        return self._rpc.call(method, params)

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        if not self.asked.is_set():
            self.asked.set()
            assert self.go_on.wait(60)
            raise NodeUnreachable("It was asked for too long.")
        return self._rpc.batch(calls)


def test_strangers_come_one_at_a_time(stage: DeskStage, device: KeySigner) -> None:
    """A look at the chain may take seconds: they mustn't take all of the desk's threads."""
    id = stage.license(device.address)
    stage.consume(device, id)
    first, second = (KeySigner(secrets.token_bytes(32)) for _ in range(2))
    node = Held(stage.chain.rpc)
    desk = stage.desk(node)
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(stage.ask, first, id, desk=desk)
        try:
            assert node.asked.wait(60)
            refused = stage.ask(second, id, desk=desk)
            assert refused.outcome == (429, "too_many_requests")
            assert int(refused.headers["Retry-After"]) > 0
            assert stage.ask(device, id, desk=desk).outcome == (200, "released")
        finally:
            node.go_on.set()
        assert looking.result().outcome == (503, "chain_unavailable")
    assert stage.ask(second, id, desk=desk).outcome == (403, "other_device")


# --- what is no request ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[" * 2000, 400),
        (b"{}", 400),
        (b'{"id": 1, "copy": 1, "keyRecipient": 2}', 400),
        (json.dumps({"id": format_id(1), "copy": 0, "keyRecipient": "00" * 32}).encode(), 400),
        (json.dumps({"id": format_id(1), "copy": 1, "keyRecipient": "00" * 32, "x": 1}).encode(), 400),
        (b" " * 5000, 413),
    ],
)
def test_malformed(stage: DeskStage, device: KeySigner, body: bytes, status: int) -> None:
    header = authorization(device, "POST", ORIGIN, URL, body)
    done = stage.app.test_client().post(URL, data=body, headers={"Authorization": header})
    assert done.status_code == status
    assert done.content_type == "application/problem+json"
    assert stage.audit() == []


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 65_536),
    st.floats(allow_nan=False, allow_infinity=False),
    st.from_regex("(0x)?[0-9a-f]{64}\\n?", fullmatch=True),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=1),
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["id", "copy", "keyRecipient", "x"]), VALUES)
    | st.fixed_dictionaries({"id": VALUES, "copy": VALUES, "keyRecipient": VALUES})
    | VALUES
)
def test_requests_are_read_as_the_schema_says(document: object) -> None:
    valid = schemas.problem_in(document, "device-api.v1", "keyRequest") is None
    # JSON Schema takes 1.0 for an integer; on our wire it has one spelling.
    fraction = isinstance(document, dict) and isinstance(document.get("copy"), float)
    body = json.dumps(document).encode()
    if valid and not fraction:
        assert isinstance(document, dict)
        wanted = read_request(body)
        assert (format_id(wanted.id), wanted.copy) == (document["id"], document["copy"])
        assert wanted.key_recipient.hex() == document["keyRecipient"]
    else:
        with pytest.raises(Malformed, match="The body isn't"):
            read_request(body)


def test_other_methods_and_places(stage: DeskStage) -> None:
    client = stage.app.test_client()
    assert client.get(URL).status_code == 405
    assert client.get("/api/v1/portal").status_code == 404
    assert client.post(URL, data=b"{}").status_code == 401


def test_health(stage: DeskStage, tmp_path: Path) -> None:
    def health(app: Flask) -> tuple[int, object]:
        done = app.test_client().get("/healthz")
        return done.status_code, done.get_json()

    assert health(stage.app) == (200, {"database": "ok", "chain": "ok"})
    assert health(stage.desk(NOBODY)) == (503, {"database": "ok", "chain": "down"})
    gone = stage.desk(database_url=f"sqlite:///{tmp_path / 'none' / 'portal.db'}")
    assert health(gone) == (503, {"database": "down", "chain": "ok"})


# --- the owner's page --------------------------------------------------------------------------------------


@pytest.fixture
def license(session: Session, owner: Party) -> License:
    """A license that stands on the chain."""
    owner_id, sha256 = owner.user.id, "ab" * 32
    session.add(Design(owner_id=owner_id, file_name="a.gcode", storage_key="0" * 32, size=1, sha256=sha256))
    session.commit()
    queue(session, owner.user.account, ["AS-1"])
    license = session.scalars(sa.select(License)).one()
    license.intent.state = IntentState.DONE
    session.commit()
    return license


def withheld(session: Session, license: License, copy: int, reason: str | None = "stopped") -> None:
    row = KeyAudit(
        license_id=license.id,
        copy=copy,
        device="0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf",
        key_recipient="0" * 64,
        released=reason is None,
        reason=reason,
        answer_hash="0" * 64,
    )
    session.add(row)
    session.commit()


def test_the_owners_buttons(session: Session, owner: Party, rival: Party, license: License) -> None:
    url = f"/licenses/{license.id}"
    assert 'id="stop"' in owner.client.get(url).get_data(as_text=True)
    assert rival.post(f"{url}/stop").status_code == 404
    assert owner.client.post(f"{url}/stop").status_code == 400  # without the form's token
    assert refreshed(session, license).stopped_at is None

    assert owner.post(f"{url}/stop").status_code == 303
    first = refreshed(session, license).stopped_at
    assert first is not None
    assert owner.post(f"{url}/stop").status_code == 303
    assert refreshed(session, license).stopped_at == first
    page = owner.client.get(url).get_data(as_text=True)
    assert 'id="resume"' in page
    assert 'id="stop"' not in page
    assert rival.post(f"{url}/resume").status_code == 404
    assert owner.post(f"{url}/resume").status_code == 303
    assert refreshed(session, license).stopped_at is None


def test_owed_copies(session: Session, owner: Party, license: License) -> None:
    """Withheld and not made good: neither by the key, nor by a failure, nor by another copy."""
    for copy in (1, 1, 2, 3, 4):
        withheld(session, license, copy)
    withheld(session, license, 5, "not_final")
    withheld(session, license, 2, None)
    device = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
    for copy, made_good in ((1, {}), (3, {"replaced": True}), (4, {"failed_block": 9})):
        values = {"replaced": False, **made_good}
        place = {"block_number": 1, "timestamp": 1, "transaction_hash": "0x" + "1" * 64}
        keys = {"file_hash": "0" * 64, "key_recipient": "0x" + "0" * 64}
        place |= {"license_id": license.id, "copy": copy, "device": device, "wallet": device}
        session.add(ChainUse(**place, **keys, **values))
    session.commit()
    assert [(row.copy, row.device) for row in delivery_stop.owed_copies(session, license)] == [(1, device)]
    page = owner.client.get(f"/licenses/{license.id}").get_data(as_text=True)
    assert f"grantCopies({license.id}, 1, 1)" in page
    assert f"grantCopies({license.id}, 1, 2)" not in page


# --- keys --------------------------------------------------------------------------------------------------


def own_settings(folder: Path, password: str) -> DeskSettings:
    return DeskSettings(folder / "keystore.json", folder / "vault.age", password, ("http://127.0.0.1:1",), 60)


def test_desk_keys(stage: DeskStage, app: Flask, tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    run = app.test_cli_runner().invoke(args=["desk-keys", str(folder)])
    assert run.exit_code == 0, run.output
    public = json.loads((folder / "public.json").read_text())
    assert run.output == f"address   {public['address']}\nrecipient {public['recipient']}\n"
    assert {path.name for path in folder.iterdir()} == {
        "keystore.json",
        "vault.age",
        "public.json",
        "password",
    }
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert all(mode == 0o600 for name, mode in modes.items() if name != "public.json")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = app.test_cli_runner().invoke(args=["desk-keys", str(folder)])
    assert again.exit_code == 1
    assert "never overwritten" in again.output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    password = (folder / "password").read_text()
    own = own_settings(folder, password)
    identity = DeskIdentity(public["address"], bytes.fromhex(public["recipient"]))
    opened = create_app(replace(stage.options, desk=identity), own, [stage.chain.rpc])
    assert opened.test_client().get("/healthz").status_code == 200
    close(opened)
    with pytest.raises(DeskKeysUnusable, match="tells of another key or another vault"):
        create_app(replace(stage.options, desk=identity), own, [stage.chain.rpc], KEYS)
    with pytest.raises(DeskKeysUnusable, match="IMPRIMATUR_DESK_FILE isn't set"):
        create_app(replace(stage.options, desk=None), own, [stage.chain.rpc], KEYS)


def test_desk_keys_with_a_password_of_ones_own(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(folder: str) -> Result:
        return app.test_cli_runner().invoke(args=["desk-keys", str(tmp_path / folder)])

    secret = tmp_path / "secret"
    secret.write_text("from elsewhere\n")
    monkeypatch.setenv("IMPRIMATUR_DESK_PASSWORD_FILE", str(secret))
    made = make("desk")
    assert made.exit_code == 0, made.output
    assert not (tmp_path / "desk" / "password").exists()
    secret.write_text("\n")
    assert "empty" in make("empty").output
    monkeypatch.setenv("IMPRIMATUR_DESK_PASSWORD_FILE", str(tmp_path / "none"))
    failed = make("other")
    assert failed.exit_code == 1
    assert "No such file" in failed.output

    folder, vault = tmp_path / "desk", tmp_path / "desk" / "vault.age"
    with pytest.raises(DeskKeysUnusable, match="another password"):
        open_keys(own_settings(folder, "wrong"))
    whole = vault.read_bytes()
    vault.write_bytes(re.sub(rb"(-> scrypt \S+) \d+", rb"\1 40", whole, count=1))
    with pytest.raises(DeskKeysUnusable, match="much slower, or busier"):
        open_keys(own_settings(folder, "from elsewhere"))
    vault.write_bytes(whole[:-1])
    with pytest.raises(DeskKeysUnusable, match="damaged"):
        open_keys(own_settings(folder, "from elsewhere"))
    vault.unlink()
    with pytest.raises(DeskKeysUnusable, match="can't be read"):
        open_keys(own_settings(folder, "from elsewhere"))
    vault.write_bytes(whole)
    (folder / "keystore.json").write_text("{}")
    with pytest.raises(KeystoreUnusable):
        open_keys(own_settings(folder, "from elsewhere"))


@pytest.mark.parametrize(
    "damage",
    [
        {"wrapped_key": None},
        {"wrapped_key": b"age"},
        {"wrapped_key": sealing.wrap_key(sealing.new_key(), KEYS.identity.recipient)},
        {"wrapped_key": sealing.wrap_key(sealing.new_key(), sealing.public_key(bytes(32)))},
    ],
)
def test_a_key_that_the_desk_cannot_open(
    stage: DeskStage, device: KeySigner, damage: dict[str, bytes | None]
) -> None:
    id = stage.license(device.address)
    stage.consume(device, id)
    with stage.sessions() as session:
        session.execute(sa.update(Design).values(damage))
        session.commit()
    assert stage.ask(device, id).outcome == (503, "no_key")
    assert stage.audit() == [(1, False, "no_key")]


def test_refusals_have_a_status() -> None:
    assert set(STATUS) == {refusal for refusal in Refusal if refusal.is_temporary}
