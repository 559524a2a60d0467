"""The flow on a real chain, with a printer made of paper: when a job of this host goes on, and what it says.

What a crash at each commit leaves behind is tested in `tests/crashes`.
"""

import io
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from conftest import Issue, Issued, issuer, part
from imprimatur.chain import node
from imprimatur.chain.rpc import Rpc
from imprimatur.chain.signers import KeySigner
from imprimatur.device.job import Job, State
from imprimatur.device.journal import Journal, WrongState
from imprimatur.key_answer import Refusal
from octoprint_imprimatur.connection import Address, Connection, connect
from octoprint_imprimatur.flow import Flow, is_reportable
from octoprint_imprimatur.messages import TEXTS, Refused, message_of
from octoprint_imprimatur.runner import CannotStart, Runner
from support.delivery_portal import DeliveryPortal, Fault
from support.node import Chain
from support.octoprint import wait_for

ALWAYS = -1
"""Times that a fault happens."""
FILES = r"GET .*/file"
USES = r"POST .*/device/uses"
KEYS = r"POST /desk"


class PaperMachine:
    """Takes the bytes and remembers them."""

    def __init__(self) -> None:
        self.is_ready = True
        self.refuses = ""
        self.started: list[tuple[str, bytes]] = []

    def ready(self) -> bool:
        return self.is_ready

    def start(self, job: Job, source: BinaryIO, size: int) -> None:
        if self.refuses:
            raise CannotStart(self.refuses)
        with source:
            data = b"".join(iter(lambda: source.read(1 << 16), b""))
        assert len(data) == size
        self.started.append((job.id, data))


class Shop:
    """A printer without coins, its journal and its flow on the real chain."""

    def __init__(self, chain: Chain, portal: DeliveryPortal, owner: KeySigner, folder: Path) -> None:
        self.chain, self.portal, self.folder = chain, portal, folder
        self.signer = KeySigner(secrets.token_bytes(32))
        self.machine = PaperMachine()
        self.issue: Issue = issuer(owner, portal, self.signer.address)
        self.rpc: Rpc = chain.rpc
        self.told: list[tuple[str, float | None]] = []
        self.open()

    def open(self, **patience: Any) -> None:
        """(Re)start the process."""
        self.journal = Journal(self.folder / "jobs.db")
        self.runner = Runner(self.journal, self.machine, self.changed, **patience)
        self.flow = Flow(self.journal, self.connect, self.runner, self.folder / "sealed", self.changed)

    def changed(self, job: Job, progress: float | None) -> None:
        self.told.append((job.state, progress))

    def restart(self, **patience: Any) -> None:
        """Stop the process where it stands, and start it again."""
        self.runner.stop()
        self.wait()
        self.journal.close()
        self.open(**patience)

    def connect(self) -> Connection:
        portal = self.portal
        address = Address(
            portal.url,
            "",
            self.chain.url,
            self.chain.chain_id,
            self.chain.licenses.address,
            self.chain.licenses.since,
            portal.desk_url,
            portal.desk_address,
        )
        return connect(address, self.signer, self.rpc)

    def begin(self, license: Issued, **wishes: Any) -> Job:
        return self.flow.begin(license.id, **wishes)

    def run(self, license: Issued, **wishes: Any) -> Job:
        """Print to the end of the preparation."""
        job = self.begin(license, **wishes)
        self.wait()
        return self.job(job)

    def job(self, job: Job) -> Job:
        """The job as it is now."""
        return self.journal.job(job.id)

    def wait(self) -> None:
        wait_for("The flow is done", lambda: not self.runner.is_busy, 30, 0.01)

    def wait_for(self, job: Job, code: str) -> Job:
        """The job, once its reason has this code."""
        wait_for(f"It says {code}", lambda: code_of(self.job(job)) == code, 30, 0.02)
        return self.job(job)

    def look_until(self, job: Job, state: State) -> Job:
        """The job, once looking in the background has brought it there."""

        def look() -> bool:
            self.flow.continue_open()
            return self.job(job).state is state

        wait_for(f"It is {state}", look, 30, 0.1)
        return self.job(job)

    def used(self, license: Issued) -> int:
        found = self.chain.licenses.license_of(license.id)
        assert found is not None
        return found.used

    def sent(self) -> int:
        """Transactions of the printer's own account."""
        return node.mined_count(self.chain.rpc, self.signer.address)

    def nothing_happened(self, license: Issued) -> bool:
        return self.used(license) == 0 and not self.machine.started


@pytest.fixture
def shop(chain: Chain, portal: DeliveryPortal, owner: KeySigner, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(chain, portal, owner, tmp_path)
    yield shop
    shop.runner.stop()
    shop.wait()
    shop.journal.close()


def code_of(job: Job) -> str | None:
    return job.reason and job.reason.code


def reason_of(call: Callable[[], Any]) -> str:
    """The key of what it is refused with."""
    with pytest.raises(Refused) as refused:
        call()
    assert "%(" not in str(refused.value)
    return refused.value.message.key


def test_a_printer_without_coins_prints_the_licensed_bytes(shop: Shop) -> None:
    license = shop.issue(copies=2)
    job = shop.run(license, copy=1, user="ann")
    assert (job.state, job.copy, job.copies, job.user) == (State.ARMED, 1, 2, "ann")
    assert shop.machine.started == [(job.id, license.data)]
    states = list(dict.fromkeys(state for state, _ in shop.told))
    assert states == ["PICKED", "DOWNLOADED", "VERIFIED", "SIGNED", "SENT", "CONSUMED", "KEYED", "ARMED"]
    shop.runner.part_begins(job.id)
    assert shop.job(job).state is State.PRINTING
    shop.runner.print_done(job.id)
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.FINISHED, "finished")
    assert shop.run(license).copy == 2
    assert (shop.used(license), shop.sent()) == (2, 0)


def test_the_owner_is_told_how_it_ended(shop: Shop) -> None:
    license = shop.issue()
    job = shop.run(license)
    shop.runner.part_begins(job.id)
    shop.runner.print_done(job.id)
    shop.flow.continue_open()
    outcomes = [o for o in shop.portal.outcomes.values() if int(o["id"], 16) == license.id]
    assert [(outcome["outcome"], outcome["copy"]) for outcome in outcomes] == [("finished", 1)]


def test_only_ciphertext_is_kept_and_not_for_long(shop: Shop) -> None:
    secret = b"; drawing 4711, never to be seen\n"
    license = shop.issue(data=secret * 5000 + part())
    shop.machine.refuses = "no bed"
    job = shop.run(license)
    kept = [path for path in shop.folder.rglob("*") if path.is_file()]
    assert [path.suffix for path in kept if path.parent.name == "sealed"] == [".age"]
    assert not [path for path in kept if secret in path.read_bytes()]
    shop.machine.refuses = ""
    shop.flow.resume(job.id)
    shop.wait()
    shop.runner.print_done(job.id)
    assert list((shop.folder / "sealed").iterdir()) == []


def test_the_permit_burns_once(shop: Shop) -> None:
    job = shop.run(shop.issue())
    shop.runner.part_begins(job.id)
    with pytest.raises(WrongState):
        shop.runner.part_begins(job.id)


def test_nothing_is_left(shop: Shop) -> None:
    license = shop.issue(copies=1)
    shop.runner.print_done(shop.run(license).id)
    assert reason_of(lambda: shop.begin(license)) == "no_copies_left"


def spoil_bytes(shop: Shop, license: Issued) -> None:
    shop.portal.spoil = True


def forbid_the_file(shop: Shop, license: Issued) -> None:
    shop.portal.faults.append(Fault(FILES, status=404, times=ALWAYS))


def swap_the_manifest(shop: Shop, license: Issued) -> None:
    """That of the same license with another name of its file: the chain holds the hash of the right one."""
    manifest = shop.portal.served[license.id].entry["manifest"]
    manifest["manifest"]["file"]["name"] = "other.gcode"


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (spoil_bytes, "wrong_sealed_file"),
        (forbid_the_file, "delivery_refused"),
        (swap_the_manifest, "wrong_manifest"),
    ],
)
def test_a_bad_delivery_costs_nothing_and_can_be_tried_again(
    shop: Shop, trouble: Callable[[Shop, Issued], None], code: str
) -> None:
    license = shop.issue()
    served = shop.portal.served[license.id]
    honest = served.entry["manifest"]["manifest"]["file"]["name"]
    trouble(shop, license)
    job = shop.run(license)
    assert (job.state, code_of(job)) == (State.ABANDONED, code)
    assert shop.nothing_happened(license)
    shop.portal.reset()
    served.entry["manifest"]["manifest"]["file"]["name"] = honest
    assert shop.run(license).state is State.ARMED


def test_a_broken_download_goes_on_where_it_stopped(shop: Shop) -> None:
    license = shop.issue(data=part(60_000))
    shop.portal.faults.append(Fault(FILES, keep=200_000))
    shop.portal.ranges.clear()
    assert shop.run(license).state is State.ARMED
    assert shop.portal.ranges[0] is None
    assert str(shop.portal.ranges[1]).startswith("bytes=")
    assert shop.machine.started[-1][1] == license.data
    assert any(0 < progress < 1 for state, progress in shop.told if state == "PICKED" and progress)


def test_the_portals_word_about_copies_counts_for_nothing(shop: Shop) -> None:
    license = shop.issue(copies=1)
    shop.portal.served[license.id].entry["remaining"] = 99
    shop.runner.print_done(shop.run(license).id)
    assert reason_of(lambda: shop.begin(license)) == "no_copies_left"


def test_refused_before_anything_begins(shop: Shop, chain: Chain, owner: KeySigner) -> None:
    license = shop.issue(copies=3)
    foreign = shop.portal.offer(owner, chain.account().address, part(), 1, f"foreign {license.id % 10**9}")
    assert reason_of(lambda: shop.flow.begin(license.id + 1)) == "not_offered"
    assert reason_of(lambda: shop.flow.begin(foreign)) == "other_printer"
    assert reason_of(lambda: shop.begin(license, copy=2)) == "copy_changed"
    shop.portal.disabled.add(shop.signer.address)
    assert reason_of(lambda: shop.begin(license)) == "delivery_refused"
    shop.portal.reset()
    shop.portal.faults.append(Fault("GET .*/jobs", status=503, times=ALWAYS))
    assert reason_of(lambda: shop.begin(license)) == "not_begun"
    shop.portal.reset()
    shop.machine.is_ready = False
    assert reason_of(lambda: shop.begin(license)) == "printer_not_ready"
    assert shop.journal.recent() == []
    assert shop.nothing_happened(license)


def test_one_at_a_time(shop: Shop) -> None:
    license = shop.issue(copies=2)
    held = threading.Event()
    connect = shop.connect
    shop.flow._connect = lambda: (held.wait(10), connect())[1]
    first = threading.Thread(target=shop.begin, args=(license,))
    first.start()
    wait_for("The first has begun", lambda: shop.runner.is_busy)
    assert reason_of(lambda: shop.begin(license)) == "busy"
    held.set()
    first.join()
    shop.wait()
    assert shop.used(license) == 1


def test_a_printer_that_got_busy_meanwhile_pays_nothing(shop: Shop) -> None:
    license = shop.issue()
    answers = iter([True, False])
    shop.machine.ready = lambda: next(answers)  # type: ignore[method-assign]
    job = shop.run(license)
    assert (job.state, code_of(job)) == (State.ABANDONED, "printer_not_ready")
    assert shop.nothing_happened(license)


def test_a_thread_that_cant_be_started_keeps_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    license = shop.issue()

    def exhausted(work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(shop.runner, "_spawn", exhausted)
    with pytest.raises(RuntimeError):
        shop.begin(license)
    (job,) = shop.journal.recent()
    assert (job.state, code_of(job), shop.runner.is_busy) == (State.ABANDONED, "internal", False)
    monkeypatch.undo()
    assert shop.run(license).state is State.ARMED


def test_a_print_that_doesnt_start_keeps_its_copy(shop: Shop) -> None:
    license = shop.issue(copies=2)
    shop.machine.refuses = "no bed"
    job = shop.run(license)
    assert (job.state, code_of(job), job.copy) == (State.KEYED, "start_failed", 1)
    assert reason_of(lambda: shop.begin(license)) == "copy_waiting"
    shop.machine.refuses = ""
    shop.flow.resume(job.id)
    shop.wait()
    assert shop.machine.started == [(job.id, license.data)]
    assert shop.used(license) == 1


def test_cancelled_early_or_late(shop: Shop) -> None:
    license = shop.issue()
    job = shop.run(license)
    shop.runner.print_ended(job.id, cancelled=True)
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.KEYED, "cancelled_early")
    shop.flow.resume(job.id)
    shop.wait()
    shop.runner.part_begins(job.id)
    shop.runner.print_ended(job.id, cancelled=True)
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.FAILED, "cancelled")
    assert reason_of(lambda: shop.flow.resume(job.id)) == "not_waiting"
    assert shop.used(license) == 1


@pytest.mark.parametrize("when", [0, 1])
@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda runner, id: runner.print_ended(id, cancelled=True), State.FAILED),
        (lambda runner, id: runner.print_done(id), State.FINISHED),
    ],
)
def test_a_part_that_begins_at_that_moment_isnt_left_printing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, end: Callable[[Runner, str], None], state: State, when: int
) -> None:
    """OctoPrint tells of the end in one thread while another one still sends."""
    job = shop.run(shop.issue())
    step, calls, begun = shop.journal.step, [0], []

    def meanwhile(*arguments: Any, **columns: Any) -> Job:
        calls[0] += 1
        if calls[0] == when + 1:
            with suppress(WrongState):
                shop.runner.part_begins(job.id)
                begun.append(job.id)
        return step(*arguments, **columns)

    with monkeypatch.context() as patch:
        patch.setattr(shop.journal, "step", meanwhile)
        end(shop.runner, job.id)
    if begun:
        assert shop.job(job).state is state
    else:
        assert shop.job(job).state is (State.KEYED if state is State.FAILED else state)


def test_nothing_is_printed_after_the_end(shop: Shop) -> None:
    """When a backup was restored, nothing may remember it."""
    job = shop.run(shop.issue())
    shop.runner.print_ended(job.id, cancelled=True)
    assert shop.job(job).is_ready
    shop.runner.stop()
    assert reason_of(lambda: shop.flow.resume(job.id)) == "restart_first"
    assert reason_of(lambda: shop.begin(shop.issue())) == "restart_first"
    assert not shop.runner.is_busy
    assert shop.journal.in_states(State.PICKED) == []
    assert len(shop.machine.started) == 1


def test_a_wish_that_the_disk_doesnt_take_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    license = shop.issue()
    shop.portal.faults.append(Fault(USES, status=500, times=ALWAYS))
    job = shop.wait_for(shop.begin(license), "portal_unreachable")

    def full(*_: object) -> Job:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(shop.journal, "withdraw", full)
        assert reason_of(lambda: shop.flow.withdraw(job.id)) == "disk_trouble"
    assert not shop.job(job).withdrawn
    shop.portal.reset()
    shop.wait()
    shop.runner.part_begins(job.id)
    shop.runner.print_ended(job.id, cancelled=True)
    with monkeypatch.context() as patch:
        patch.setattr(shop.journal, "step", full)
        assert reason_of(lambda: shop.flow.report_failure(job.id)) == "disk_trouble"
    assert code_of(shop.job(job)) == "cancelled"
    assert is_reportable(shop.job(job))


def test_who_cant_be_told_keeps_nothing_from_happening(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(job: Job, progress: float | None) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(shop, "changed", fails)
    shop.open()
    job = shop.run(shop.issue())
    assert (job.state, len(shop.machine.started)) == (State.ARMED, 1)
    shop.runner.part_begins(job.id)
    shop.runner.print_done(job.id)
    assert shop.job(job).state is State.FINISHED


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda runner, id: runner.print_ended(id, cancelled=False), State.FAILED),
        (lambda runner, id: runner.print_done(id), State.FINISHED),
    ],
)
def test_how_a_print_ended_isnt_lost_when_the_disk_cant_even_be_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, end: Callable[[Runner, str], None], state: State
) -> None:
    job = shop.run(shop.issue())
    shop.runner.part_begins(job.id)

    def broken(id: str) -> Job:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(shop.journal, "job", broken)
        end(shop.runner, job.id)
    assert shop.job(job).state is State.PRINTING
    shop.flow.continue_open()
    assert shop.job(job).state is state


def test_a_sealed_file_that_vanished_is_fetched_again_and_a_wrong_one_isnt_printed(shop: Shop) -> None:
    license = shop.issue()
    job = shop.run(license)
    shop.runner.print_ended(job.id, cancelled=True)
    shop.machine.started.clear()
    for kept in (shop.folder / "sealed").iterdir():
        kept.unlink()
    spoil_bytes(shop, license)
    shop.flow.resume(job.id)
    shop.wait()
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.KEYED, "file_pending")
    assert shop.machine.started == []
    shop.portal.reset()
    shop.flow.resume(job.id)
    shop.wait()
    assert shop.machine.started == [(job.id, license.data)]


# The relay -----------------------------------------------------------------------------------------------


def test_a_lost_answer_of_the_relay_consumes_once(shop: Shop) -> None:
    shop.portal.faults.append(Fault(USES, keep=0, times=2))
    license = shop.issue(copies=3)
    job = shop.run(license)
    assert (job.state, job.copy) == (State.ARMED, 1)
    assert shop.used(license) == 1


def test_while_the_relay_is_down_the_job_waits_and_then_goes_on(shop: Shop) -> None:
    shop.portal.faults.append(Fault(USES, status=500, times=ALWAYS))
    license = shop.issue()
    job = shop.wait_for(shop.begin(license), "portal_unreachable")
    assert job.state is State.SIGNED
    assert reason_of(lambda: shop.begin(license)) == "busy"
    shop.portal.reset()
    shop.wait()
    assert shop.job(job).state is State.ARMED
    assert (shop.used(license), shop.sent()) == (1, 0)


def test_a_printer_with_coins_doesnt_need_the_relay(shop: Shop, chain: Chain) -> None:
    chain.fund(shop.signer.address)
    shop.portal.faults.append(Fault(USES, status=500, times=ALWAYS))
    license = shop.issue()
    assert shop.run(license).state is State.ARMED
    assert (shop.used(license), shop.sent()) == (1, 1)


def test_a_job_is_withdrawn_before_it_is_signed(shop: Shop) -> None:
    license = shop.issue()
    shop.portal.faults.append(Fault(FILES, status=500, times=ALWAYS))
    job = shop.wait_for(shop.begin(license), "portal_unreachable")
    shop.flow.withdraw(job.id)
    shop.wait()
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.ABANDONED, "withdrawn")
    assert shop.nothing_happened(license)
    assert reason_of(lambda: shop.flow.withdraw(job.id)) == "not_withdrawable"
    assert reason_of(lambda: shop.flow.withdraw("nonsense")) == "unknown_job"


def test_a_withdrawn_job_that_was_consumed_waits_to_be_printed(shop: Shop) -> None:
    license = shop.issue()
    shop.portal.carries = False
    job = shop.wait_for(shop.begin(license), "settling")
    shop.flow.withdraw(job.id)
    shop.wait()
    assert shop.job(job).state is State.SENT
    shop.portal.carry()
    assert shop.look_until(job, State.KEYED).is_ready
    assert shop.machine.started == []
    shop.flow.resume(job.id)
    shop.wait()
    assert shop.machine.started == [(job.id, license.data)]


def test_a_file_that_doesnt_come_is_given_up(shop: Shop) -> None:
    shop.restart(patience_unpaid=0.5)
    shop.portal.faults.append(Fault(FILES, status=500, times=ALWAYS))
    license = shop.issue()
    job = shop.run(license)
    assert (job.state, code_of(job)) == (State.ABANDONED, "gave_up")
    assert shop.nothing_happened(license)


def test_a_file_that_comes_slowly_isnt_given_up(shop: Shop) -> None:
    """What counts is how long nothing has moved."""
    passed = 0.0

    def changed(job: Job, progress: float | None) -> None:
        nonlocal passed
        if progress is not None:
            passed += 100

    shop.restart(patience_unpaid=60, clock=lambda: time.monotonic() + passed)
    shop.runner._changed = changed
    license = shop.issue()
    shop.portal.faults.append(Fault(FILES, keep=300))
    job = shop.run(license)
    assert passed >= 100
    assert (job.state, code_of(job)) == (State.ARMED, None)


def test_a_copy_that_came_too_late_doesnt_start_by_itself(shop: Shop) -> None:
    shop.restart(patience=0.5)
    shop.portal.carries = False
    license = shop.issue()
    job = shop.run(license)
    assert (job.state, code_of(job)) == (State.SENT, "settling")
    shop.portal.carry()
    shop.look_until(job, State.KEYED)
    assert shop.machine.started == []


def test_a_copy_that_went_to_another_printer_is_replaced_by_the_next_one(
    chain: Chain, portal: DeliveryPortal, owner: KeySigner, tmp_path: Path, shop: Shop
) -> None:
    """Two printers with one key; the look in the background leaves the one that is being prepared alone."""
    license = shop.issue(copies=2)
    (tmp_path / "other").mkdir()
    other = Shop(chain, portal, owner, tmp_path / "other")
    other.signer = shop.signer
    # What the first one signed gets lost on its way, and the second one pays for the same copy.
    shop.portal.carries = False
    job = shop.wait_for(shop.begin(license), "settling")
    shop.portal.waiting.clear()
    shop.portal.reset()
    assert other.run(license).copy == 1
    while shop.runner.is_busy:
        shop.flow.continue_open()
    assert (shop.job(job).state, shop.job(job).copy) == (State.ARMED, 2)
    other.journal.close()


# The key desk --------------------------------------------------------------------------------------------


def test_a_desk_that_is_down_is_asked_again(shop: Shop) -> None:
    shop.portal.faults.append(Fault(KEYS, status=500, times=ALWAYS))
    license = shop.issue()
    job = shop.wait_for(shop.begin(license), "desk_unreachable")
    assert (job.state, job.copy) == (State.CONSUMED, 1)
    shop.portal.reset()
    shop.runner.wake()
    shop.wait()
    assert shop.machine.started == [(job.id, license.data)]
    assert shop.used(license) == 1


def test_a_key_that_is_refused_for_good(shop: Shop) -> None:
    license = shop.issue(failures_allowed=1, copies=1)
    shop.portal.refusal = Refusal.STOPPED
    job = shop.run(license)
    assert (job.state, code_of(job)) == (State.CONSUMED, "withheld")
    assert is_reportable(job)
    assert re.search("is paid.*gives the copy back", str(message_of(job.reason)))
    assert shop.machine.started == []

    shop.flow.report_failure(job.id)
    shop.look_until(job, State.FAILED)
    shop.portal.reset()
    job = reported(shop, job)
    assert not is_reportable(job)
    assert reason_of(lambda: shop.flow.report_failure(job.id)) == "not_reportable"
    again = shop.run(license)
    assert (again.state, again.copy) == (State.ARMED, 2)


def reported(shop: Shop, job: Job) -> Job:
    """The job, once its failure stands on the chain."""

    def look() -> bool:
        shop.flow.continue_open()
        return code_of(shop.job(job)) == "given_back"

    wait_for("The failure is on the chain", look, 30, 0.1)
    return shop.job(job)


def test_a_failed_print_gives_its_copy_back_once_it_is_reported(shop: Shop) -> None:
    license = shop.issue(failures_allowed=1)
    job = shop.run(license)
    assert reason_of(lambda: shop.flow.report_failure(job.id)) == "not_reportable"
    shop.runner.part_begins(job.id)
    shop.runner.print_ended(job.id, cancelled=False)
    assert is_reportable(shop.job(job))
    assert shop.used(license) == 1
    shop.flow.report_failure(job.id)
    assert code_of(reported(shop, job)) == "given_back"
    found = shop.chain.licenses.license_of(license.id)
    assert found is not None
    assert (found.remaining, found.failed) == (1, 1)


# After a restart -----------------------------------------------------------------------------------------


def test_stopped_between_paying_and_the_key(shop: Shop) -> None:
    shop.portal.faults.append(Fault(KEYS, status=500, times=ALWAYS))
    license = shop.issue()
    job = shop.wait_for(shop.begin(license), "desk_unreachable")
    shop.restart()
    shop.portal.reset()
    assert shop.look_until(job, State.KEYED).is_ready
    assert shop.machine.started == [], "nothing starts by itself"
    shop.flow.resume(job.id)
    shop.wait()
    assert shop.machine.started == [(job.id, license.data)]
    assert shop.used(license) == 1


def test_stopped_before_the_relay_took_it(shop: Shop) -> None:
    shop.portal.faults.append(Fault(USES, status=500, times=ALWAYS))
    license = shop.issue()
    job = shop.wait_for(shop.begin(license), "portal_unreachable")
    shop.restart()
    shop.portal.reset()
    shop.look_until(job, State.KEYED)
    assert (shop.used(license), shop.machine.started) == (1, [])


def test_stopped_while_heating_or_printing(shop: Shop) -> None:
    license = shop.issue(copies=2)
    job = shop.run(license)
    shop.restart()
    shop.flow.continue_open()
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.KEYED, "stopped_before_printing")
    shop.flow.resume(job.id)
    shop.wait()
    shop.runner.part_begins(job.id)
    shop.restart()
    shop.flow.continue_open()
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.FAILED, "interrupted")
    assert is_reportable(shop.job(job))
    assert shop.used(license) == 1


def test_putting_in_order_needs_neither_network_nor_settings(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, begun = shop.run(shop.issue()), shop.run(shop.issue())
    shop.runner.part_begins(begun.id)

    def nothing() -> Connection:
        raise Refused("not_set_up")

    shop.restart()
    monkeypatch.setattr(shop.flow, "_connect", nothing)
    shop.flow.recover()
    assert (shop.job(ready).state, code_of(shop.job(ready))) == (State.KEYED, "stopped_before_printing")
    assert (shop.job(begun).state, code_of(shop.job(begun))) == (State.FAILED, "interrupted")
    assert reason_of(shop.flow.continue_open) == "not_set_up"
    monkeypatch.undo()
    shop.flow.continue_open()
    told = [o["outcome"] for o in shop.portal.outcomes.values() if int(o["id"], 16) == begun.license_id]
    assert told == ["failed"]


def test_a_node_of_another_chain(shop: Shop, chain: Chain) -> None:
    class Elsewhere(Rpc):
        def call(self, method: str, params: list[Any]) -> Any:
            return "0x1" if method == "eth_chainId" else chain.rpc.call(method, params)

    license = shop.issue()
    shop.rpc = Elsewhere()
    assert reason_of(lambda: shop.begin(license)) == "other_chain"
    assert shop.nothing_happened(license)


def test_what_goes_wrong_unexpectedly_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(shop.machine, "start", broken)
    job = shop.run(shop.issue())
    assert (job.state, code_of(job)) == (State.KEYED, "start_failed")
    monkeypatch.setattr("imprimatur.device.files.Files.open", broken)
    shop.flow.resume(job.id)
    shop.wait()
    assert (shop.job(job).state, code_of(shop.job(job))) == (State.KEYED, "internal")
    assert "internal" in TEXTS


def test_reading_is_all_that_the_machine_can_do(shop: Shop) -> None:
    """The stream goes forward only: nobody can print a part of it twice."""
    license = shop.issue()
    seen: list[BinaryIO] = []

    def start(job: Job, source: BinaryIO, size: int) -> None:
        seen.append(source)
        source.close()

    shop.machine.start = start  # type: ignore[method-assign]
    shop.run(license)
    with pytest.raises((io.UnsupportedOperation, ValueError)):
        seen[0].seek(0)
