"""The whole way of a print on a real chain, with a portal and a key desk that may be wrong or absent."""

import hashlib
import os
import stat
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from imprimatur.chain.orders import file_hash_to_int
from imprimatur.chain.outbox import Confirmations
from imprimatur.chain.signers import KeySigner, SignerUnusable
from imprimatur.device import Portal, Refused, State, Waiting, Withheld, WrongState, sealed_cache, why
from imprimatur.device.carrying import LONG_POLL, POLL
from imprimatur.device.keying import SOON
from imprimatur.device.sealed_cache import KEEP_PARTIAL, SealedCache
from imprimatur.hashing import sha256_file
from imprimatur.key_answer import Refusal, read_answer
from imprimatur.license_id import format_id
from imprimatur.manifest.signature import sign_manifest
from imprimatur.sealing import new_key, public_key, wrap_key
from imprimatur.serials.entry import Part, open_entry
from support.delivery_answers import Problem, problem_answer
from support.delivery_portal import Fault
from support.node import deploy_contracts
from support.printing_device import GCODE, paid, printed, until_not


def refused(delivery, job):
    """The code with which a job is refused on its way."""
    with pytest.raises(Refused) as caught:
        paid(delivery, job)
    assert delivery.journal.job(job.id).state is State.ABANDONED
    assert delivery.journal.job(job.id).reason == caught.value.reason
    return caught.value.reason.code


def waiting(delivery, job):
    """The code of what a job waits for at its next step."""
    with pytest.raises(Waiting) as caught:
        delivery.advance(job)
    assert caught.value.retry_after > 0
    assert delivery.journal.job(job.id).reason == caught.value.reason
    return caught.value.reason.code


# --- what is meant to happen -----------------------------------------------------------------------------


def test_a_sealed_file_is_printed_once_paid(device, tmp_path):
    log_key = new_key()
    id = device.offer("happy", log_recipient=public_key(log_key))
    delivery = device.start()
    states = [(job := delivery.pick(id, user="mia")).state]
    while not job.is_ready:
        job = delivery.advance(job)
        states.append(job.state)
    assert states == [
        State.PICKED, State.DOWNLOADED, State.VERIFIED, State.SIGNED, State.SENT, State.CONSUMED, State.KEYED,
    ]  # fmt: skip
    assert (job.copy, job.copies, job.name, job.number, job.user) == (1, 3, "clip.gcode", "happy", "mia")
    assert delivery.journal.signature(job.id).wrapped_key
    assert printed(delivery, job) == GCODE
    job = delivery.journal.job(job.id)
    assert (job.state, job.reason.code) == (State.FINISHED, "finished")
    assert delivery.journal.signature(job.id).wrapped_key is None

    (use,) = device.uses(id)
    assert (use["device"], use["copy"]) == (device.signer.address, 1)
    assert delivery.settle_open()
    ((_, _, who), outcome) = next(
        item for item in device.portal.outcomes.items() if item[0][0] == f"0x{id:064x}"
    )
    assert who == device.signer.address
    assert (outcome["outcome"], outcome["seconds"]) == ("finished", 12)
    assert outcome["telemetry"] == hashlib.sha256(GCODE).hexdigest()

    tag = delivery.tag(job)
    (logged,) = device.chain.licenses.events("PrintLogged", id=id)
    part = Part(id, 1, tag.commitment)
    entry = logged.values["encryptedSerial"]
    assert open_entry(entry, part, log_key, use["keyRecipient"], tag.address) == tag.serial


def test_only_its_owner_reads_the_journal_and_no_plain_file_is_on_disk(device, tmp_path):
    id = device.offer("disk")
    delivery = device.start()
    job = paid(delivery, delivery.pick(id))
    with closing(delivery.open(job)):
        kept = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len([path for path in kept if path.suffix == ".age"]) == 1
        for path in kept:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert b"G1 X100 Y100" not in path.read_bytes(), path
    assert stat.S_IMODE(device.sealed.stat().st_mode) == 0o700
    printed(delivery, job)
    assert list(device.sealed.iterdir()) == []
    signature = delivery.journal.signature(job.id)
    shown = f"{job!r} {job} {signature!r} {signature}"
    for secret in (signature.job_key, signature.tag_key.secret, signature.serial.encode()):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
        assert str(secret) not in shown
    assert signature.serial not in shown


def test_a_bound_device_prints_for_its_wallet(device):
    wallet = device.chain.account()
    device.chain.bind(wallet, device.signer)
    device.portal.devices.add(device.signer.address)
    id = device.portal.offer(device.owner, wallet.address, GCODE, number="bound")
    delivery = device.start()
    assert printed(delivery, paid(delivery, delivery.pick(id))) == GCODE
    assert [use["device"] for use in device.uses(id)] == [device.signer.address]


def test_an_own_file_needs_no_portal(device, tmp_path):
    file = tmp_path / "own.gcode"
    file.write_bytes(GCODE)
    id = device.chain.issue(
        device.owner, device.signer.address, hashlib.sha256(GCODE).hexdigest(), 2, "hash-only"
    )
    device.with_portal, device.payer = False, device.chain.account()
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id, file=file), State.PICKED, State.DOWNLOADED, State.VERIFIED,
                    State.SIGNED, State.SENT)  # fmt: skip
    assert (job.state, job.is_ready, job.name) == (State.CONSUMED, True, "own.gcode")
    assert delivery.advance(job) == job
    assert printed(delivery, job) == GCODE
    assert len(device.uses(id)) == 1
    assert delivery.settle_open()


def test_a_print_cancelled_before_the_part_began_can_be_started_again(device):
    id = device.offer("early")
    delivery = device.start()
    job = paid(delivery, delivery.pick(id))
    delivery.arm(job)
    assert delivery.cancel_early(job).state is State.KEYED
    assert printed(delivery, job) == GCODE
    assert len(device.uses(id)) == 1


def test_the_permit_burns_once(device):
    id = device.offer("permit")
    delivery = device.start()
    job = paid(delivery, delivery.pick(id))
    with pytest.raises(WrongState):
        delivery.begin_part(job)
    delivery.arm(job)
    delivery.begin_part(job)
    for step in (delivery.begin_part, delivery.arm, delivery.cancel_early):
        with pytest.raises(WrongState):
            step(job)
    assert delivery.fail(job).state is State.FAILED
    with pytest.raises(WrongState):
        delivery.open(job)


# --- what is refused, and costs nothing --------------------------------------------------------------------


def test_refused_picks(device, tmp_path):
    id = device.offer("refused", copies=1)
    other = device.portal.offer(device.owner, device.chain.account().address, GCODE, number="other")
    delivery = device.start()

    def code(*arguments, **options):
        with pytest.raises(Refused) as caught:
            delivery.pick(*arguments, **options)
        assert str(caught.value)
        return caught.value.reason.code

    assert code(123) == "not_offered"
    assert code(other) == "other_printer"
    assert code(id, copy=2) == "copy_changed"
    wrong = tmp_path / "wrong.gcode"
    wrong.write_bytes(b"G28\n")
    assert code(id, file=wrong) == "other_file"
    assert code(id, file=tmp_path / "none") == "unreadable_file"
    job = delivery.pick(id)
    assert code(id) == "open_job"
    paid(delivery, job)
    assert code(id) == "no_copies_left"
    assert len(device.uses(id)) == 1


def test_a_damaged_sealed_file_costs_nothing(device):
    id = device.offer("spoilt")
    delivery = device.start()
    device.portal.spoil = True
    assert refused(delivery, delivery.pick(id)) == "wrong_sealed_file"
    assert device.uses(id) == []
    assert list(device.sealed.iterdir()) == []
    device.portal.spoil = False
    assert printed(delivery, paid(delivery, delivery.pick(id))) == GCODE


def test_a_manifest_that_the_chain_does_not_name_costs_nothing(device):
    id = device.offer("forged")
    served = device.portal.served[id]
    forged = sign_manifest(replace(served.manifest, material="PVA"), device.owner)
    device.portal.served[id] = replace(served, entry=device.portal.entry(forged, "forged", 3))
    delivery = device.start()
    assert refused(delivery, delivery.pick(id)) == "wrong_manifest"
    stranger = sign_manifest(served.manifest, device.chain.account())
    device.portal.served[id] = replace(served, entry=device.portal.entry(stranger, "forged", 3))
    assert refused(delivery, delivery.pick(id)) == "wrong_manifest"
    assert device.uses(id) == []


def test_an_approved_file_is_not_printed_under_the_manifest_of_another(device, tmp_path):
    id = device.offer("approved")
    file = tmp_path / "second.gcode"
    file.write_bytes(b"G28\n")
    second = hashlib.sha256(b"G28\n").hexdigest()
    device.chain.send(device.owner, device.chain.licenses.approve_file_call(id, second, bytes(32)))
    device.payer = device.chain.account()
    delivery = device.start()
    (offer,) = [offer for offer in Portal(device.portal.url, device.signer).jobs() if offer.id == id]
    assert refused(delivery, delivery.pick(id, file=file, offer=offer)) == "other_file"
    assert printed(delivery, paid(delivery, delivery.pick(id, file=file))) == b"G28\n"


def test_a_torn_download_goes_on_where_it_broke(device):
    id = device.offer("torn")
    size = device.portal.served[id].sealing.size
    device.portal.ranges.clear()
    device.portal.faults.append(Fault("/file", keep=size // 3))
    delivery = device.start()
    job = delivery.pick(id)
    assert waiting(delivery, job) == "portal_unreachable"
    delivery = device.start()
    delivery.recover()
    job = delivery.pick(id)
    seen = []
    job = delivery.advance(job, lambda done, whole: seen.append((done, whole)))
    assert device.portal.ranges == [None, f"bytes={size // 3}-"]
    assert seen[-1] == (size, size)
    assert seen[0][0] > size // 3
    assert printed(delivery, paid(delivery, job)) == GCODE


def test_a_damaged_rest_of_a_download_is_fetched_anew(device):
    id = device.offer("zeros")
    sealing = device.portal.served[id].sealing
    delivery = device.start()
    job = delivery.pick(id)
    (device.sealed / f"{sealing.sha256}.part").write_bytes(bytes(1000))
    assert printed(delivery, paid(delivery, job)) == GCODE


def test_a_file_is_hashed_as_it_comes_and_again_when_somebody_touched_it(device, monkeypatch):
    id = device.offer("hashed-once")
    sealing = device.portal.served[id].sealing
    cache = SealedCache(device.sealed)
    cache.fetch(Portal(device.portal.url, device.signer), id, sealing)
    read = []
    monkeypatch.setattr(sealed_cache, "sha256_file", lambda path: read.append(path) or sha256_file(path))
    assert cache.is_sound(sealing)
    assert read == []
    sealed = cache.path(sealing).read_bytes()
    time.sleep(0.02)  # file systems count time in ticks
    cache.path(sealing).write_bytes(sealed)
    assert cache.is_sound(sealing)
    assert SealedCache(device.sealed).is_sound(sealing)
    assert read == [cache.path(sealing)] * 2
    cache.path(sealing).write_bytes(sealed[:-1] + b"?")
    assert not cache.is_sound(sealing)
    assert not cache.has(sealing)


def test_a_file_that_is_swapped_before_it_has_its_name_is_read(device, monkeypatch):
    id = device.offer("swapped-early")
    sealing = device.portal.served[id].sealing
    rename = os.replace

    def swapping(source, target):
        source.unlink()
        source.write_bytes(bytes(sealing.size))
        rename(source, target)

    monkeypatch.setattr(os, "replace", swapping)
    delivery = device.start()
    assert refused(delivery, delivery.pick(id)) == "wrong_sealed_file"
    assert device.uses(id) == []


@pytest.mark.parametrize("keeps", [True, False])
def test_nobody_is_blamed_for_what_a_disk_spoils_silently(device, monkeypatch, keeps):
    """Neither size nor times of the file tell it, as on a worn memory card."""
    id = device.offer(f"spoilt-{keeps}")
    monkeypatch.setattr(sealed_cache, "_identity", lambda status: (1, 2, 3, 4))
    delivery = device.start()
    job = paid(delivery, delivery.pick(id))
    (path,) = device.sealed.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    if keeps:
        assert printed(delivery, job) == GCODE
        return
    rename = os.replace

    def spoiling(source, target):
        source.write_bytes(source.read_bytes()[:-1] + b"?")
        rename(source, target)

    monkeypatch.setattr(os, "replace", spoiling)
    with pytest.raises(Waiting, match="is paid and not lost"):
        delivery.open(job)
    assert delivery.journal.job(job.id).state is State.KEYED
    monkeypatch.setattr(os, "replace", rename)
    assert printed(delivery, job) == GCODE


def test_a_start_keeps_what_a_dry_run_has_fetched(device):
    id = device.offer("dry-run")
    sealing = device.portal.served[id].sealing
    cache = SealedCache(device.sealed)
    cache.fetch(Portal(device.portal.url, device.signer), id, sealing)
    delivery = device.start()
    delivery.recover()
    assert cache.is_sound(sealing)
    old = cache.path(sealing).stat().st_mtime - KEEP_PARTIAL - 5
    os.utime(cache.path(sealing), (old, old))
    delivery.recover()
    assert not cache.has(sealing)


def test_a_file_that_would_fill_the_disk_is_not_fetched(device):
    id = device.offer("huge")
    served = device.portal.served[id]
    sealing = replace(served.sealing, size=2**52)
    huge = sign_manifest(replace(served.manifest, sealing=sealing), device.owner)
    device.portal.served[id] = replace(served, entry=device.portal.entry(huge, "huge", 3))
    delivery = device.start()
    device.portal.ranges.clear()
    assert waiting(delivery, delivery.pick(id)) == "disk_trouble"
    assert device.portal.ranges == []


def test_everything_down_is_waited_for(device):
    id = device.offer("down")
    delivery = device.start()
    device.portal.faults.append(Fault("/jobs", status=503, headers={"Retry-After": "7"}))
    with pytest.raises(Waiting) as caught:
        delivery.pick(id)
    assert (caught.value.reason.code, caught.value.retry_after) == ("portal_busy", 7.0)
    job = delivery.pick(id)
    device.portal.faults.append(Fault("/file", status=503))
    assert waiting(delivery, job) == "portal_busy"
    job = until_not(delivery, job, State.PICKED, State.DOWNLOADED, State.VERIFIED)
    device.portal.faults.append(Fault("/uses", keep=0))
    # Carried, and the answer got lost: nobody took it, as far as the device knows; the chain knows better.
    job = until_not(delivery, job, State.SIGNED, State.SENT)
    device.portal.faults.append(Fault("/desk", status=500))
    assert waiting(delivery, job) == "desk_unreachable"
    assert printed(delivery, paid(delivery, job)) == GCODE
    assert len(device.uses(id)) == 1


def test_a_payer_carries_what_the_relay_does_not(device):
    id = device.offer("payer")
    device.payer = device.chain.account()
    delivery = device.start()
    device.portal.faults.append(Fault("POST .*/uses", status=503, times=1000))
    job = paid(delivery, delivery.pick(id))
    assert printed(delivery, job) == GCODE
    assert len(device.uses(id)) == 1


class LockedSigner(KeySigner):
    """A token that somebody has pulled out."""

    locked = True

    def sign_typed_data(self, domain, types, message):
        if self.locked:
            raise SignerUnusable("The token isn't plugged in.")
        return super().sign_typed_data(domain, types, message)


def test_a_key_that_cannot_be_used_is_waited_for(device):
    device.signer = LockedSigner(os.urandom(32))
    id = device.offer("locked")
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), State.PICKED, State.DOWNLOADED)
    assert waiting(delivery, job) == "signer_unusable"
    assert delivery.journal.job(job.id).state is State.VERIFIED
    device.signer.locked = False
    assert printed(delivery, paid(delivery, job)) == GCODE


def test_patience_ends_and_the_job_goes_on_later(device):
    id = device.offer("patience")
    device.portal.carries = False
    delivery = device.start()
    job, naps = delivery.pick(id), []
    with pytest.raises(Waiting) as caught:
        delivery.run(job, 2.5, sleep=naps.append)
    assert caught.value.reason.code == "settling"
    assert naps
    assert delivery.journal.job(job.id).state is State.SENT
    device.portal.carry()
    assert printed(delivery, paid(delivery, job)) == GCODE


def test_a_job_of_another_contract_is_left_alone(device, chain):
    id = device.offer("elsewhere", failures_allowed=1)
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), State.PICKED, State.DOWNLOADED, State.VERIFIED)
    other, _ = deploy_contracts(chain.rpc)
    device.chain = replace(chain, licenses=other)
    delivery = device.start()
    assert waiting(delivery, job) == "other_contract"
    assert not delivery.settle_open()
    assert delivery.journal.job(job.id).state is State.SIGNED
    device.chain = chain
    delivery = device.start()
    assert printed(delivery, paid(delivery, job)) == GCODE


# --- the key -----------------------------------------------------------------------------------------------


def test_a_withheld_key_gives_the_copy_back(device):
    id = device.offer("stopped", copies=1, failures_allowed=1)
    delivery = device.start()
    device.portal.refusal = Refusal.STOPPED
    job = delivery.pick(id)
    with pytest.raises(Withheld) as caught:
        paid(delivery, job)
    assert caught.value.is_final
    assert caught.value.reason.code == "withheld"
    job = delivery.journal.job(job.id)
    assert job.state is State.CONSUMED
    assert device.chain.licenses.license_of(id).remaining == 0
    (kept,) = delivery.journal.evidence(job.id)
    signature = delivery.journal.signature(job.id)
    question = device.portal.answers[-1].question
    assert question.key_recipient == public_key(signature.job_key)
    assert read_answer(kept, question, device.portal.desk_address).refusal is Refusal.STOPPED

    delivery.report_failure(job, hashlib.sha256(kept).digest())
    assert delivery.settle_open()
    job = delivery.journal.job(job.id)
    assert (job.state, job.reason.code) == (State.FAILED, "given_back")
    (failure,) = device.chain.licenses.events("PrintFailed", id=id)
    assert failure.values["evidence"] == hashlib.sha256(kept).digest()
    asked = len(device.portal.answers)
    assert delivery.advance(job).state is State.FAILED
    assert len(device.portal.answers) == asked
    device.portal.refusal = None
    assert printed(delivery, paid(delivery, delivery.pick(id))) == GCODE


def test_without_a_free_failure_it_is_a_dispute(device):
    id = device.offer("dispute", failures_allowed=0)
    delivery = device.start()
    device.portal.refusal = Refusal.OTHER_DEVICE
    job = delivery.pick(id)
    with pytest.raises(Withheld) as caught:
        paid(delivery, job)
    assert caught.value.reason.code == "withheld_dispute"
    delivery.report_failure(job)
    assert delivery.settle_open()
    assert delivery.journal.job(job.id).reason.code == "dispute"
    assert (
        device.chain.send(device.owner, device.chain.licenses.grant_copies_call(id, 1, 1))["status"] == "0x1"
    )


def test_a_desk_that_takes_too_long_withholds(device):
    id = device.offer("late", failures_allowed=1)
    delivery = device.start()
    device.portal.refusal = Refusal.NOT_FINAL
    job = until_not(delivery, delivery.pick(id), State.PICKED, State.DOWNLOADED, State.VERIFIED, State.SIGNED,
                    State.SENT)  # fmt: skip
    assert waiting(delivery, job) == "key_pending"
    device.late = 601
    with pytest.raises(Withheld) as caught:
        delivery.advance(job)
    assert not caught.value.is_final
    device.portal.refusal = None
    device.late = 0
    assert printed(delivery, paid(delivery, job)) == GCODE


def test_a_wrong_key_is_no_key(device):
    id = device.offer("wrong-key", failures_allowed=1)
    delivery = device.start()
    device.portal.change_answer = lambda answer: replace(
        answer, wrapped_key=wrap_key(new_key(), answer.question.key_recipient)
    )
    job = delivery.pick(id)
    with pytest.raises(Withheld, match="wrong_key"):
        paid(delivery, job)
    assert len(delivery.journal.evidence(job.id)) == 1
    device.portal.change_answer = None
    assert printed(delivery, paid(delivery, job)) == GCODE


def test_sealed_bytes_of_another_file_are_never_handed_out(device):
    """The owner sealed something else than she licensed: nothing of it reaches the machine."""
    id = device.portal.offer(
        device.owner, device.signer.address, b"M112\n" * 1000, number="swapped", issue=False
    )
    device.portal.devices.add(device.signer.address)
    licensed = hashlib.sha256(GCODE).hexdigest()
    served = device.portal.served[id]
    manifest = replace(served.manifest, file_hash=licensed, file_size=len(GCODE))
    signed = sign_manifest(manifest, device.owner)
    device.portal.served[id] = replace(
        served, manifest=manifest, entry=device.portal.entry(signed, "swapped", 3)
    )
    device.chain.issue(device.owner, device.signer.address, licensed, 3, "swapped", failures_allowed=1,
                       manifest_hash=manifest.hash)  # fmt: skip
    delivery = device.start()
    job = paid(delivery, delivery.pick(id))
    with pytest.raises(Refused) as caught:
        delivery.open(job)
    assert caught.value.reason.code == "wrong_content"
    assert delivery.journal.job(job.id).state is State.FAILED
    delivery.settle_open()
    assert delivery.settle_open()
    assert delivery.journal.job(job.id).reason.code == "given_back"
    assert device.chain.licenses.license_of(id).remaining == 3


def test_a_paid_file_that_is_gone_is_fetched_again(device):
    id = device.offer("gone")
    delivery = device.start()
    job = paid(delivery, delivery.pick(id))
    for path in device.sealed.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    device.portal.faults.append(Fault("/file", status=500))
    with pytest.raises(Waiting):
        delivery.open(job)
    device.portal.disabled = {device.signer.address}
    with pytest.raises(Waiting, match="is paid and not lost") as caught:
        delivery.open(job)
    assert "No copy was used" not in str(caught.value)
    device.portal.disabled = set()
    assert delivery.journal.job(job.id).state is State.KEYED
    assert printed(delivery, job) == GCODE


@pytest.mark.parametrize("place", [0, 25, 120, -40])
def test_a_paid_file_that_is_damaged_anywhere_is_fetched_again(device, place):
    id = device.offer(f"damaged-{place}")
    delivery = device.start()
    job = paid(delivery, delivery.pick(id))
    (path,) = device.sealed.iterdir()
    sealed = bytearray(path.read_bytes())
    sealed[place] ^= 1
    path.write_bytes(sealed)
    assert printed(delivery, job) == GCODE


def test_the_end_of_a_print_does_not_wait_for_another_download(device):
    first, second = device.offer("first"), device.offer("second", GCODE + b"G28\n")
    delivery = device.start()
    job = paid(delivery, delivery.pick(first))
    begun, go_on = threading.Event(), threading.Event()

    def hold(_done, _size):
        begun.set()
        assert go_on.wait(60)

    other = delivery.pick(second)
    thread = threading.Thread(target=lambda: delivery.advance(other, hold))
    thread.start()
    assert begun.wait(60)
    ending = threading.Thread(target=lambda: printed(delivery, job))
    ending.start()
    ending.join(10)
    state = delivery.journal.job(job.id).state
    waited = ending.is_alive()
    go_on.set()
    thread.join(60)
    ending.join(60)
    assert (state, waited) == (State.FINISHED, False)
    printed(delivery, paid(delivery, other))
    assert list(device.sealed.iterdir()) == []


def test_a_desk_whose_answer_was_torn_is_asked_again_soon(device):
    id = device.offer("torn")
    delivery = device.start()
    device.portal.refusal = Refusal.NOT_FINAL
    job = until_not(delivery, delivery.pick(id), State.PICKED, State.DOWNLOADED, State.VERIFIED, State.SIGNED,
                    State.SENT)  # fmt: skip
    device.portal.refusal = None
    device.portal.faults.append(Fault("/desk", keep=10, times=SOON + 1))
    pauses = []
    for _ in range(SOON + 1):
        with pytest.raises(Waiting) as caught:
            delivery.advance(job)
        pauses.append(caught.value.retry_after)
    assert pauses == [POLL] * SOON + [LONG_POLL]
    assert delivery.advance(job).state is State.KEYED


def test_what_a_slow_desk_says_changes_no_word_about_a_job_that_went_on(device):
    """The operator reports the failure while the desk is being asked."""
    id = device.offer("overtaken", failures_allowed=1)
    delivery = device.start()
    device.portal.refusal = Refusal.NOT_FINAL
    job = until_not(delivery, delivery.pick(id), State.PICKED, State.DOWNLOADED, State.VERIFIED, State.SIGNED,
                    State.SENT)  # fmt: skip

    def overtaken(answer):
        delivery.journal.step(job.id, State.CONSUMED, State.FAILED, why("failure_pending", copy=1))
        return answer

    device.portal.change_answer = overtaken
    with pytest.raises(Waiting, match="doesn't release"):
        delivery.advance(job)
    assert delivery.journal.job(job.id).reason.code == "failure_pending"


# --- afterwards --------------------------------------------------------------------------------------------


def test_outcomes_and_failures_are_told_until_they_arrive(device):
    id = device.offer("told", failures_allowed=1)
    device.finality = Confirmations(2)
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), State.PICKED, State.DOWNLOADED, State.VERIFIED, State.SIGNED)
    device.mine(2)
    job = paid(delivery, job)
    delivery.arm(job)
    delivery.begin_part(job)
    delivery = device.start()
    delivery.recover()
    job = delivery.journal.job(job.id)
    assert (job.state, job.reason.code) == (State.FAILED, "interrupted")
    device.portal.faults += [Fault("/outcomes", status=503, times=1), Fault("/failures", status=503, times=1)]
    delivery.report_failure(job, bytes([1] * 32))
    delivery.report_failure(job, bytes([2] * 32))
    assert not delivery.settle_open()
    device.late += 30
    delivery = device.start()
    assert not delivery.settle_open()
    assert device.chain.licenses.license_of(id).remaining == 3
    device.mine(2)
    assert delivery.settle_open()
    assert delivery.journal.job(job.id).reason.code == "given_back"
    (failure,) = device.chain.licenses.events("PrintFailed", id=id)
    assert failure.values["evidence"] == bytes([1] * 32)
    assert device.portal.outcomes[format_id(id), 1, device.signer.address]["outcome"] == "failed"
    assert file_hash_to_int(job.file_hash) == device.uses(id)[0]["fileHash"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "not_authentic"), (403, "not_enrolled"), (403, "device_disabled"), (404, ""), (405, "")],
)
def test_an_outcome_survives_what_is_put_right_one_day(device, status, code):
    id = device.offer(f"kept-{status}-{code}")
    delivery = device.start()
    printed(delivery, paid(delivery, delivery.pick(id)))
    problem = problem_answer(Problem(status, code, "No."))
    device.portal.faults.append(Fault("/outcomes", status, problem.body, problem.headers, times=2))
    for _ in range(2):
        assert not delivery.settle_open()
        device.late += 60
    assert delivery.settle_open()
    assert device.portal.outcomes[format_id(id), 1, device.signer.address]["outcome"] == "finished"


def test_an_outcome_that_the_portal_will_never_take_is_not_told_for_ever(device):
    id = device.offer("never")
    delivery = device.start()
    device.portal.outcomes[format_id(id), 1, device.signer.address] = {"outcome": "failed"}
    printed(delivery, paid(delivery, delivery.pick(id)))
    assert delivery.settle_open()


@pytest.mark.parametrize(("seconds", "told"), [(-5, 0), (10**9, 31_536_000)])
def test_a_clock_that_was_set_during_the_print_loses_no_outcome(device, seconds, told):
    id = device.offer(f"clock-{told}")
    delivery = device.start()
    job = paid(delivery, delivery.pick(id))
    delivery.arm(job)
    delivery.begin_part(job)
    delivery.finish(job, seconds)
    assert delivery.settle_open()
    assert device.portal.outcomes[format_id(id), 1, device.signer.address]["seconds"] == told


def test_a_report_waits_for_the_key_that_signs_it(device):
    device.signer = LockedSigner(os.urandom(32))
    device.signer.locked = False
    id = device.offer("locked-report", failures_allowed=1)
    delivery = device.start()
    job = paid(delivery, delivery.pick(id))
    delivery.arm(job)
    delivery.begin_part(job)
    job = delivery.fail(job)
    device.signer.locked = True
    delivery.report_failure(job)
    assert not delivery.settle_open()
    device.signer.locked = False
    delivery.settle_open()
    assert delivery.settle_open()
    assert delivery.journal.job(job.id).reason.code == "given_back"
