"""What the relay takes in, and what it doesn't."""

import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from portal.relay_stage import DAY, FILE, RelayStage, document
from sqlalchemy.orm import sessionmaker

from app.models import Base, IntentState, RelayEntry, RelayKind
from app.services import relay, relay_messages
from app.services.relay import (
    ChainUnavailable,
    DeadlineOutOfRange,
    RelayBusy,
    RelayLimits,
    RelayRefused,
    SignatureInvalid,
    TooManyWaiting,
    WouldBeRefused,
)
from imprimatur.chain import typed_data
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc
from imprimatur.chain.signature_check import typed_data_digest
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import CompactSignature, Failure, Signed, Use, license_domain, sign_use
from imprimatur.schemas import problem_in
from support.node import Chain

WORDS = st.binary(min_size=32, max_size=32)
COPIES = st.integers(1, 65_535)
SECONDS = st.integers(0, 253_402_300_799)
ID = st.integers(0, 2**256 - 1)
SIGNER = KeySigner(bytes(31) + b"r")
CONTRACT = "0x6813Eb9362372EEF6200f3b1dbC3f819671cBA69"


@pytest.fixture(params=["sqlite"])
def stage(
    request: pytest.FixtureRequest, anvil: Chain, tmp_path: Path, template_database: bytes
) -> Iterator[RelayStage]:
    (tmp_path / "portal.db").write_bytes(template_database)
    url = f"sqlite:///{tmp_path / 'portal.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    engine = sa.create_engine(url, pool_size=20)
    if request.param == "postgresql":
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)
    yield RelayStage(anvil, sessionmaker(engine, expire_on_commit=False), anvil.account(), anvil.account())
    engine.dispose()


def refusal(stage: RelayStage, device: KeySigner, signed: Any, now: float | None = None) -> RelayRefused:
    before = stage.states()
    with pytest.raises(RelayRefused) as caught:
        stage.send(device, signed, now)
    assert stage.states() == before
    return caught.value


# --- reading -------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(id=ID, copy=COPIES, deadline=SECONDS, words=st.lists(WORDS, min_size=4, max_size=4))
def test_the_digest_is_what_devices_sign(id: int, copy: int, deadline: int, words: list[bytes]) -> None:
    file_hash, *rest = words
    messages: list[tuple[RelayKind, Use | Failure, typed_data.Types]] = [
        (RelayKind.USE, Use(id, file_hash.hex(), copy, *rest, deadline), typed_data.USE),
        (RelayKind.FAILURE, Failure(id, copy, file_hash, deadline), typed_data.FAILURE),
    ]
    for kind, message, types in messages:
        domain = license_domain(100, CONTRACT)
        signature = typed_data.compact(SIGNER.sign_typed_data(domain, types, message.values()))
        sent = document(Signed(message, signature))  # type: ignore[type-var]
        assert problem_in(sent, "device-api.v1", kind) is None
        found = relay_messages.read(kind, sent, SIGNER.address, 100, CONTRACT)
        assert found.digest == "0x" + typed_data_digest(domain, types, message.values()).hex()
        assert found.signed.message == message
        assert found.is_signed
        for chain_id, contract in ((101, CONTRACT), (100, "0x" + "11" * 20)):
            assert not relay_messages.read(kind, sent, SIGNER.address, chain_id, contract).is_signed


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=7, max_size=7), st.integers(0, 4), COPIES, SECONDS)
def test_batches_are_encoded_as_the_abi_has_it(
    words: list[bytes], length: int, copy: int, deadline: int
) -> None:
    contract = PrintLicense(HttpRpc("http://127.0.0.1:1"), CONTRACT)
    id, file_hash, *rest = words
    number = int.from_bytes(id, "big")
    use = Signed(Use(number, file_hash.hex(), copy, *rest[:3], deadline), CompactSignature(*rest[3:]))
    failure = Signed(Failure(number, copy, rest[0], deadline), CompactSignature(*rest[3:]))
    expected = {
        RelayKind.USE: contract.use_licenses_signed_call([use] * length),
        RelayKind.FAILURE: contract.report_failures_signed_call([failure] * length),
    }
    for kind, signed in ((RelayKind.USE, use), (RelayKind.FAILURE, failure)):
        message = relay_messages.read(kind, document(signed), SIGNER.address, 100, CONTRACT)
        assert relay_messages.batch_call(kind, [message] * length) == expected[kind]


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=64, max_size=64))
def test_other_bytes_are_no_signature(raw: bytes) -> None:
    use = Use(1, FILE, 1, bytes(32), bytes(32), bytes(32), 1)
    sent = document(Signed(use, CompactSignature(raw[:32], raw[32:])))
    assert not relay_messages.read(RelayKind.USE, sent, SIGNER.address, 100, CONTRACT).is_signed


# --- taking in -----------------------------------------------------------------------------------------


def test_a_use_is_taken_in_once(stage: RelayStage) -> None:
    device = stage.chain.account()
    signed = stage.use(device, stage.license(device.address))
    entry, new = stage.send(device, signed)
    assert new
    assert (entry.state, entry.copy, entry.message) == ("waiting", 1, document(signed))
    again, new = stage.send(device, signed)
    assert (again.id, new) == (entry.id, False)
    with stage.sessions() as session:
        for address, kind, found in (
            (device.address, RelayKind.USE, True),
            (device.address, RelayKind.FAILURE, False),
            (stage.owner.address, RelayKind.USE, False),
        ):
            assert (relay.entry_of(session, address, kind, entry.digest) is not None) is found


def test_a_device_that_the_wallet_has_bound(stage: RelayStage) -> None:
    wallet, device = stage.chain.account(), stage.chain.account()
    id = stage.license(wallet.address)
    unbound = refusal(stage, device, stage.use(device, id))
    assert isinstance(unbound, WouldBeRefused)
    assert unbound.reason == "NotThePrinter"
    stage.chain.bind(wallet, device)
    assert stage.send(device, stage.use(device, id))[1]


def test_somebody_elses_signature(stage: RelayStage) -> None:
    device, other = stage.chain.account(), stage.chain.account()
    id = stage.license(device.address)
    assert isinstance(refusal(stage, device, stage.use(other, id)), SignatureInvalid)
    assert isinstance(refusal(stage, other, stage.use(device, id)), SignatureInvalid)
    foreign = license_domain(stage.chain.chain_id + 1, stage.chain.licenses.address)
    message = stage.use(device, id).message
    elsewhere = refusal(stage, device, sign_use(device, foreign, message))
    assert (elsewhere.code, elsewhere.status, elsewhere.retry_after) == ("signature_invalid", 422, None)


def test_every_field_is_signed(stage: RelayStage) -> None:
    device = stage.chain.account()
    id = stage.license(device.address)
    signed = stage.use(device, id)
    others = {
        "id": stage.license(device.address),
        "file_hash": "cd" * 32,
        "copy": 2,
        "key_recipient": bytes(32),
        "encrypted_serial": bytes(32),
        "commitment": bytes(32),
        "deadline": signed.message.deadline + 1,
    }
    for name, value in others.items():
        changed = Signed(replace(signed.message, **{name: value}), signed.signature)
        assert isinstance(refusal(stage, device, changed), SignatureInvalid), name


@pytest.mark.parametrize(
    ("seconds", "taken"), [(59, False), (60, True), (7 * DAY, True), (7 * DAY + 1, False)]
)
def test_deadlines(stage: RelayStage, seconds: int, taken: bool) -> None:
    device, now = stage.chain.account(), int(time.time())
    signed = stage.use(device, stage.license(device.address), deadline=now + seconds)
    if taken:
        assert stage.send(device, signed, now)[1]
        assert not stage.send(device, signed, now + 10 * DAY)[1], "a known one is answered for ever"
    else:
        refused = refusal(stage, device, signed, now)
        assert isinstance(refused, DeadlineOutOfRange)
        assert refused.status == 422


def test_only_licenses_of_this_portal_that_stand_on_the_chain(stage: RelayStage) -> None:
    device = stage.chain.account()
    foreign = stage.chain.issue(stage.owner, device.address, FILE, 3, secrets.token_hex(4))
    assert "LicenseNotFound" in str(refusal(stage, device, stage.use(device, foreign)))
    stage.known(foreign, "N", device.address, 3, IntentState.MINED)
    assert "LicenseNotFound" in str(refusal(stage, device, stage.use(device, foreign)))


def test_what_the_contract_would_refuse(stage: RelayStage) -> None:
    device, other = stage.chain.account(), stage.chain.account()
    id = stage.license(device.address, copies=1, failures_allowed=1, flags=2)
    cases: list[tuple[KeySigner, Any, str]] = [
        (device, stage.use(device, id, copy=2), "CopyOutOfOrder"),
        (device, stage.use(device, id, file_hash="cd" * 32), "FileHashMismatch"),
        (other, stage.use(other, id), "NotThePrinter"),
        (other, stage.failure(other, id), "NotThePrinter"),
        (device, stage.failure(device, id), "CopyNotRefundable"),
    ]
    for sender, signed, reason in cases:
        refused = refusal(stage, sender, signed)
        assert isinstance(refused, WouldBeRefused)
        assert (refused.reason, refused.status) == (reason, 422)
        assert reason in str(refused)
    stage.chain.send(device, stage.chain.licenses.use_license_call(id, FILE))
    assert "LicenseExhausted" in str(refusal(stage, device, stage.use(device, id, copy=2)))
    stage.chain.send(stage.owner, stage.chain.licenses.revoke_call(id))
    assert "LicenseIsRevoked" in str(refusal(stage, device, stage.use(device, id, copy=2)))


def test_what_stands_on_the_chain_already_is_taken(stage: RelayStage) -> None:
    """The device's answer was lost, or somebody else was so kind."""
    device = stage.chain.account()
    signed = stage.use(device, stage.license(device.address))
    call = stage.chain.licenses.use_licenses_signed_call([signed])
    stage.chain.send(stage.chain.account(), call)
    assert stage.send(device, signed)[1]


def test_nothing_is_taken_in_that_nobody_simulated(stage: RelayStage) -> None:
    device = stage.chain.account()
    signed = stage.use(device, stage.license(device.address))
    down = HttpRpc("http://127.0.0.1:1", retries=0)
    alive, stage.chain = stage.chain, replace(stage.chain, licenses=PrintLicense(down, CONTRACT))
    refused = refusal(stage, device, signed)
    assert isinstance(refused, ChainUnavailable)
    assert (refused.status, refused.retry_after) == (503, 10)
    wrong = PrintLicense(alive.rpc, stage.owner.address)
    stage.chain = replace(alive, licenses=wrong)
    signed = stage.use(device, signed.message.id)
    assert isinstance(refusal(stage, device, signed), ChainUnavailable), "there is no contract"


# --- limits --------------------------------------------------------------------------------------------


def test_a_device_has_so_many_on_their_way(stage: RelayStage) -> None:
    stage.options = RelayLimits(per_device=2)
    device, other = stage.chain.account(), stage.chain.account()
    uses = [stage.use(device, stage.license(device.address)) for _ in range(3)]
    assert all(stage.send(device, signed)[1] for signed in uses[:2])
    refused = refusal(stage, device, uses[2])
    assert isinstance(refused, TooManyWaiting)
    assert (refused.status, refused.retry_after) == (429, 5)
    assert not stage.send(device, uses[0])[1], "known ones are answered"
    assert stage.send(other, stage.use(other, stage.license(other.address)))[1], "others aren't held up"
    with stage.sessions.begin() as session:
        session.execute(sa.update(RelayEntry).values(state="done"))
    assert stage.send(device, uses[2])[1]


def test_one_message_for_a_copy(stage: RelayStage) -> None:
    device = stage.chain.account()
    id = stage.license(device.address)
    first, second = stage.use(device, id), stage.use(device, id)
    digest = stage.send(device, first)[0].digest
    refused = refusal(stage, device, second)
    assert isinstance(refused, TooManyWaiting)
    assert digest in str(refused)


def test_the_queue_is_full(stage: RelayStage) -> None:
    stage.options = RelayLimits(waiting=2)
    devices = [stage.chain.account() for _ in range(3)]
    uses = [stage.use(device, stage.license(device.address)) for device in devices]
    for device, signed in zip(devices[:2], uses, strict=False):
        stage.send(device, signed)
    refused = refusal(stage, devices[2], uses[2])
    assert isinstance(refused, RelayBusy)
    assert (refused.code, refused.status, refused.retry_after) == ("busy", 503, 10)
    with stage.sessions.begin() as session:
        session.execute(sa.update(RelayEntry).where(RelayEntry.id == 1).values(state="sent"))
    assert stage.send(devices[2], uses[2])[1]


@pytest.mark.parametrize("stage", ["sqlite", "postgresql"], indirect=True)
def test_limits_are_exact_when_all_come_at_once(stage: RelayStage) -> None:
    stage.options = RelayLimits(per_device=3)
    device = stage.chain.account()
    uses = [stage.use(device, stage.license(device.address)) for _ in range(6)]
    same = uses[0]
    results: list[object] = []

    def hand_in(signed: Signed[Use]) -> None:
        try:
            results.append(stage.send(device, signed)[1])
        except TooManyWaiting as refused:
            results.append(refused.status)

    threads = [threading.Thread(target=hand_in, args=(signed,)) for signed in [*uses, same, same, same]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(threads)
    assert results.count(True) == 3
    assert len(stage.states()) == 3
