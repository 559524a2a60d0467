"""What no crash, reorganisation or race may do to a print: lose a paid copy, or pay one twice."""

import hashlib
import os
import threading
from contextlib import closing

import pytest

from imprimatur.chain.outbox import Confirmations
from imprimatur.chain.signers import KeySigner
from imprimatur.device import Refused, State, Waiting, WrongState
from imprimatur.device.checked_file import FileChanged
from imprimatur.device.job import UNPAID
from imprimatur.device.settling import MARGIN, Fate, Witness, newest_final
from support.delivery_portal import Fault, running_portal
from support.node import running_chain
from support.octoprint import wait_for
from support.printing_device import GCODE, Crash, PrintingDevice, paid, printed, until_not

BEFORE_SENDING = (State.PICKED, State.DOWNLOADED, State.VERIFIED, State.SIGNED)


@pytest.fixture
def own_chain(tmp_path):
    """Whose time and blocks this test may turn back."""
    with running_chain() as chain, running_portal(chain) as portal:
        device = PrintingDevice(chain, portal, tmp_path, chain.account(), KeySigner(os.urandom(32)))
        yield device
        device.stop()


POINTS = [
    "picked", "fetched", "downloaded", "verified", "made", "signed", "handed over", "sent", "looked",
    "consumed", "answered", "keyed", "finished",
]  # fmt: skip


def print_or_crash(device, id):
    """Boot, put in order what the last run left behind, and print one copy of a license."""
    delivery = device.start()
    delivery.recover()
    job = delivery.journal.open_job(id, device.chain.chain_id, device.portal.contract)
    if job is None:
        if any(job.license_id == id and job.state is State.FINISHED for job in delivery.journal.recent()):
            return delivery, None
        job = delivery.pick(id)
    return delivery, printed(delivery, paid(delivery, job))


@pytest.mark.parametrize("with_payer", [False, True], ids=["relay", "payer"])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_anywhere_loses_nothing_and_pays_nothing_twice(device, point, with_payer):
    id = device.offer(f"{point} {with_payer}")
    if with_payer:
        device.payer = device.chain.account()
        device.portal.faults.append(Fault("POST .*/uses", status=503, times=1000))
    device.crash_at = point
    with pytest.raises(Crash):
        print_or_crash(device, id)
    delivery, received = print_or_crash(device, id)
    assert received == (None if point == "finished" else GCODE)
    assert len(device.uses(id)) == 1
    assert device.chain.licenses.license_of(id).used == 1
    assert delivery.settle_open()
    states = [job.state for job in delivery.journal.recent() if job.license_id == id]
    before_signing = POINTS.index(point) < POINTS.index("signed")
    assert states == [State.FINISHED, *([State.ABANDONED] if before_signing else [])]


def test_after_a_power_cut_nothing_starts_by_itself(device):
    ids = {state: device.offer(state.value) for state in (*UNPAID, State.KEYED, State.ARMED, State.PRINTING)}
    delivery = device.start()
    for state, id in ids.items():
        job = delivery.pick(id)
        while job.state is not state and not job.is_ready:
            job = delivery.advance(job)
        if state in (State.ARMED, State.PRINTING):
            job = delivery.arm(job)
        if state is State.PRINTING:
            delivery.begin_part(job)
    delivery = device.start()
    device.portal.requests.clear()
    delivery.recover()
    found = {job.license_id: (job.state, job.reason.code) for job in delivery.journal.recent()}
    for state in UNPAID:
        assert found[ids[state]] == (State.ABANDONED, "stopped_before_paying")
    assert found[ids[State.KEYED]] == (State.KEYED, "ready")
    assert found[ids[State.ARMED]] == (State.KEYED, "stopped_before_printing")
    assert found[ids[State.PRINTING]] == (State.FAILED, "interrupted")
    assert device.portal.requests == []
    delivery.settle_open()
    assert not [request for request in device.portal.requests if not request.endswith("/outcomes")]
    assert sum(len(device.uses(id)) for id in ids.values()) == 3


def test_a_reorganisation_before_the_end_is_survived(own_chain):
    """The use was in a block, the block is gone, and the relay believes that it is done."""
    device = own_chain
    device.finality, device.payer = Confirmations(2), device.chain.account()
    device.options = {"resend_after": 0.0}
    id = device.offer("reorg")
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), *BEFORE_SENDING)
    first = delivery.journal.signature(job.id)
    assert len(device.uses(id)) == 1
    with pytest.raises(Waiting) as caught:
        delivery.advance(job)
    assert caught.value.reason.code == "not_final"
    device.chain.rpc.call("anvil_reorg", [1, []])
    assert device.uses(id) == []
    with pytest.raises(Waiting):
        delivery.advance(job)
    (use,) = wait_for("the use is mined again", lambda: device.uses(id), poll=0.02)
    assert use["keyRecipient"] == first.use.key_recipient
    device.mine(2)
    job = paid(delivery, job)
    assert printed(delivery, job) == GCODE
    assert delivery.journal.signatures_made(job.id) == 1
    assert len(device.uses(id)) == 1


def test_a_chain_that_loses_a_final_block_gets_the_same_use_again(own_chain):
    device = own_chain
    device.payer = device.chain.account()
    device.options = {"resend_after": 0.0}
    id = device.offer("lost")
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), *BEFORE_SENDING, State.SENT)
    assert job.state is State.CONSUMED
    device.chain.rpc.call("anvil_reorg", [1, []])
    job = delivery.advance(job)
    assert (job.state, job.reason.code) == (State.SENT, "lost_by_chain")
    assert printed(delivery, paid(delivery, job)) == GCODE
    assert len(device.uses(id)) == 1


def two_devices(device, number, copies):
    """A license of a wallet with two bound devices: its id, and the other device."""
    wallet, other = device.chain.account(), device.chain.account()
    for bound in (device.signer, other):
        device.chain.bind(wallet, bound)
    device.portal.devices.add(device.signer.address)
    return device.portal.offer(device.owner, wallet.address, GCODE, copies, number), other


def use_directly(device, other, id):
    """The other device consumes a copy."""
    file_hash = hashlib.sha256(GCODE).hexdigest()
    device.chain.send(other, device.chain.licenses.use_license_call(id, file_hash))


def test_a_raced_copy_is_followed_by_the_next_one(device):
    id, other = two_devices(device, "raced", 2)
    device.finality = Confirmations(1)
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), State.PICKED, State.DOWNLOADED, State.VERIFIED)
    first = delivery.journal.signature(job.id)
    use_directly(device, other, id)
    with pytest.raises(Waiting, match="CopyOutOfOrder"):
        delivery.advance(job)
    with pytest.raises(Waiting):
        delivery.advance(job)
    assert delivery.journal.signature(job.id) == first
    device.mine()
    # Nobody took it, and the chain shows why: only now another one may be signed.
    job = until_not(delivery, job, State.SIGNED, State.SENT)
    assert (job.state, job.reason.code) == (State.VERIFIED, "raced")
    with pytest.raises(KeyError):
        delivery.journal.signature(job.id)
    job = until_not(delivery, job, *BEFORE_SENDING)
    device.mine()
    assert printed(delivery, paid(delivery, job)) == GCODE
    second = delivery.journal.signature(job.id)
    assert (first.use.copy, second.use.copy) == (1, 2)
    assert first.use.key_recipient != second.use.key_recipient
    assert [use["device"] for use in device.uses(id)] == [other.address, device.signer.address]


@pytest.mark.parametrize("ours", [True, False])
def test_a_use_that_was_signed_by_the_word_of_nodes_that_disagree(device, ours):
    """The noted block lies far above the one in which the copy was taken: it is found all the same."""
    id, other = two_devices(device, f"lagged-{ours}", 2)
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), State.PICKED, State.DOWNLOADED, State.VERIFIED)
    if ours:
        job = until_not(delivery, job, State.SIGNED)
    else:
        use_directly(device, other, id)
    device.mine(MARGIN + 10)
    head = int(device.chain.rpc.call("eth_blockNumber", []), 16)
    with delivery.journal.transaction() as database:
        database.execute("UPDATE signature SET since = ? WHERE job = ?", (head, job.id))
    job = until_not(delivery, job, State.SIGNED, State.SENT)
    assert (job.state, job.reason and job.reason.code) == (
        (State.CONSUMED, None) if ours else (State.VERIFIED, "raced")
    )


def test_a_race_for_the_last_copy_loses_nothing(device):
    id, other = two_devices(device, "last", 1)
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), State.PICKED, State.DOWNLOADED, State.VERIFIED)
    use_directly(device, other, id)
    with pytest.raises(Refused) as caught:
        paid(delivery, job)
    assert caught.value.reason.code == "no_copies_left"
    assert delivery.journal.job(job.id).state is State.ABANDONED
    assert len(device.uses(id)) == 1


def test_an_expired_signature_can_never_be_executed_with_its_successor(own_chain):
    device = own_chain
    device.finality = Confirmations(1)
    device.portal.carries = False
    id = device.offer("expired", copies=3)
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), *BEFORE_SENDING)
    first = delivery.journal.signature(job.id)
    device.chain.rpc.call("evm_increaseTime", [3601])
    device.late = 3601
    device.mine()
    # Past its deadline, but not in a final block: nothing else is signed.
    with pytest.raises(Waiting):
        delivery.advance(job)
    assert delivery.journal.signature(job.id).digest == first.digest
    device.mine()
    job = until_not(delivery, job, State.SENT)
    assert (job.state, job.reason.code) == (State.VERIFIED, "signature_expired")
    job = delivery.advance(job)
    second = delivery.journal.signature(job.id)
    assert second.use.deadline > first.use.deadline
    assert second.use.copy == first.use.copy == 1
    device.portal.carry()  # the first one, too late
    assert device.uses(id) == []
    call = device.chain.licenses.use_licenses_signed_call([second.signed, first.signed, second.signed])
    receipt = device.chain.send(device.portal.operator, call)
    assert [reason for *_, reason in device.chain.licenses.skipped_in(receipt)] == [
        "SignatureExpired", "CopyOutOfOrder",
    ]  # fmt: skip
    assert len(device.uses(id)) == 1
    device.mine(2)
    witness = Witness(device.chain.licenses, device.chain.chain_id, device.signer.address, device.finality)
    assert witness.fate_of(second.use, second.since).fate is Fate.CONSUMED
    assert witness.fate_of(first.use, first.since).fate is Fate.RACED


def test_a_revoked_license_ends_the_job_at_finality(device):
    id = device.offer("revoked", flags=2)
    device.portal.carries = False
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), *BEFORE_SENDING)
    device.chain.send(device.owner, device.chain.licenses.revoke_call(id))
    with pytest.raises(Refused) as caught:
        paid(delivery, job)
    assert caught.value.reason.code == "revoked"
    device.portal.waiting.clear()


def test_a_withdrawn_job_is_never_signed_again(own_chain):
    device = own_chain
    device.portal.carries = False
    id = device.offer("withdrawn")
    delivery = device.start()
    assert delivery.withdraw(delivery.pick(id)).state is State.ABANDONED
    job = until_not(delivery, delivery.pick(id), *BEFORE_SENDING)
    assert delivery.withdraw(job).withdrawn
    assert not delivery.settle_open()
    device.chain.rpc.call("evm_increaseTime", [3601])
    device.mine()
    assert delivery.settle_open()
    job = delivery.journal.job(job.id)
    assert (job.state, job.reason.code) == (State.ABANDONED, "withdrawn")
    assert device.uses(id) == []


def test_a_withdrawn_job_ends_where_another_would_be_signed_anew(own_chain):
    device = own_chain
    device.portal.carries = False
    id = device.offer("withdrawn-late")
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), *BEFORE_SENDING)
    delivery.withdraw(job)
    device.chain.rpc.call("evm_increaseTime", [3601])
    device.mine()
    with pytest.raises(Refused) as caught:
        paid(delivery, job)
    assert caught.value.reason.code == "withdrawn"
    assert delivery.journal.signatures_made(job.id) == 1


def test_nobody_pays_for_a_use_that_comes_too_late(device):
    id, other = two_devices(device, "useless", 2)
    device.finality, device.payer = Confirmations(50), device.chain.account()
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), State.PICKED, State.DOWNLOADED, State.VERIFIED)
    use_directly(device, other, id)
    before = device.chain.rpc.call("eth_getBalance", [device.payer.address, "latest"])
    for _ in range(3):
        with pytest.raises(Waiting, match="CopyOutOfOrder"):
            delivery.advance(job)
    assert device.chain.rpc.call("eth_getBalance", [device.payer.address, "latest"]) == before
    assert delivery.journal.job(job.id).state is State.SIGNED


def test_a_withdrawn_job_whose_use_was_carried_is_paid(device):
    device.portal.carries = False
    id = device.offer("carried")
    delivery = device.start()
    job = until_not(delivery, delivery.pick(id), *BEFORE_SENDING)
    delivery.withdraw(job)
    device.portal.carry()
    assert delivery.settle_open()
    assert delivery.journal.job(job.id).state is State.CONSUMED
    with pytest.raises(WrongState):
        delivery.withdraw(job)
    assert printed(delivery, paid(delivery, job)) == GCODE


def test_threads_that_push_the_same_job_pay_once(device):
    id = device.offer("threads")
    delivery = device.start()
    job = delivery.pick(id)
    failures = []

    def push():
        try:
            paid(delivery, job)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert delivery.journal.signatures_made(job.id) == 1
    assert len(device.uses(id)) == 1
    assert printed(delivery, job) == GCODE


def test_an_own_file_that_changes_while_it_is_printed_is_not_handed_out(device, tmp_path):
    file = tmp_path / "own.gcode"
    data = os.urandom(1 << 20)
    file.write_bytes(data)
    id = device.chain.issue(device.owner, device.signer.address, hashlib.sha256(data).hexdigest(), 1, "swap")
    device.with_portal, device.payer = False, device.chain.account()
    delivery = device.start()
    job = paid(delivery, delivery.pick(id, file=file))
    with closing(delivery.open(job)) as plain:
        got = plain.read(1000)
        with file.open("r+b") as other:
            other.seek(900_000)
            other.write(b"M112\n")
        pieces = iter(lambda: plain.read(1 << 16), b"")
        with pytest.raises(FileChanged):
            got += b"".join(pieces)
    assert got == data[:1000]
    for put_right in (lambda: file.unlink(), lambda: file.write_bytes(data)):
        with pytest.raises(Waiting, match="is paid and not lost") as caught:
            delivery.open(job)
        assert "No copy was used" not in str(caught.value)
        put_right()
    assert delivery.journal.job(job.id).state is State.CONSUMED
    assert printed(delivery, job) == data


def test_the_newest_final_block_is_the_rules(chain):
    view = Witness(chain.licenses, chain.chain_id, chain.account().address, Confirmations(3)).look()
    assert newest_final(Confirmations(3), view) == view.head - 3
    assert newest_final(Confirmations(0), view) == view.head
    assert newest_final(Confirmations(view.head + 1), view) is None
