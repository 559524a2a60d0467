"""The flow on a real chain, with a printer made of paper; and what a crash at each commit leaves behind."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from conftest import Issue, Issued, issuer, part
from imprimatur.chain import node, transactions
from imprimatur.chain.print_license import Right
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, Rpc
from imprimatur.chain.signers import KeySigner
from octoprint_imprimatur.connection import Address, Connection, connect
from octoprint_imprimatur.flow import CannotStart, Flow
from octoprint_imprimatur.journal import Job, Journal, State, WrongState
from octoprint_imprimatur.messages import Refused
from support.device_portal import DevicePortal
from support.node import Chain
from support.octoprint import wait_for


class Killed(BaseException):
    """The process is gone."""


class PaperMachine:
    """Takes the bytes and remembers them."""

    def __init__(self) -> None:
        self.is_ready = True
        self.refuses = ""
        self.started: list[tuple[str, bytes]] = []

    def ready(self) -> bool:
        return self.is_ready

    def start(self, job: Job, source: BinaryIO) -> None:
        if self.refuses:
            raise CannotStart(self.refuses)
        source.seek(0)
        self.started.append((job.id, source.read()))
        source.close()


class Shop:
    """A printer's account, journal and flow on the real chain."""

    def __init__(self, chain: Chain, portal: DevicePortal, owner: KeySigner, folder: Path) -> None:
        self.chain, self.portal, self.folder = chain, portal, folder
        self.signer = chain.account()
        self.machine = PaperMachine()
        self.issue: Issue = issuer(chain, owner, portal, self.signer.address)
        self.rpc: Rpc = chain.rpc
        self.open()

    def open(self, journal: type[Journal] = Journal) -> None:
        """(Re)start the process."""
        self.journal = journal(self.folder / "journal.db")
        self.flow = Flow(
            self.journal, self.connect, self.machine, self.folder, lambda *_: None, patience=5, poll=0.02
        )

    def connect(self) -> Connection:
        address = Address(
            self.portal.url,
            "",
            self.chain.url,
            self.chain.chain_id,
            self.chain.licenses.address,
            self.chain.licenses.since,
        )
        return connect(address, self.signer, self.rpc)

    def run(self, license: Issued, **wishes: Any) -> Job:
        """Print to the end of the preparation."""
        job = self.flow.begin(license.id, **wishes)
        self.wait()
        return self.journal.job(job.id)

    def wait(self) -> None:
        wait_for("The flow is done", lambda: not self.flow._slot.locked(), 20, 0.01)

    def used(self, license: Issued) -> int:
        found = self.chain.licenses.license_of(license.id)
        assert found is not None
        return found.used

    def sent(self) -> int:
        return node.mined_count(self.chain.rpc, self.signer.address)

    def nothing_happened(self, license: Issued) -> bool:
        return self.used(license) == 0 and self.sent() == 0 and not self.machine.started


@pytest.fixture
def shop(chain: Chain, portal: DevicePortal, owner: KeySigner, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(chain, portal, owner, tmp_path)
    yield shop
    shop.journal.close()


def key_of(job: Job) -> str | None:
    return job.message and job.message.key


def test_a_copy_is_consumed_and_the_checked_bytes_are_printed(shop: Shop) -> None:
    license = shop.issue(copies=2)
    job = shop.run(license)
    assert (job.state, job.copy, job.copies) == (State.ARMED, 1, 2)
    assert shop.machine.started == [(job.id, license.data)]
    shop.flow.part_begins(job.id)
    assert shop.journal.job(job.id).state is State.PRINTING
    shop.flow.print_done(job.id)
    assert shop.journal.job(job.id).state is State.FINISHED
    assert shop.run(license).copy == 2
    assert [path.name for path in shop.folder.iterdir() if "journal" not in path.name] == []


def test_the_permit_burns_once(shop: Shop) -> None:
    job = shop.run(shop.issue())
    shop.flow.part_begins(job.id)
    with pytest.raises(WrongState):
        shop.flow.part_begins(job.id)


def test_nothing_is_left(shop: Shop) -> None:
    license = shop.issue(copies=1)
    shop.flow.print_done(shop.run(license).id)
    with pytest.raises(Refused, match="no copies left"):
        shop.flow.begin(license.id)
    assert shop.sent() == 1


def spoil_bytes(shop: Shop, license: Issued) -> None:
    shop.portal.files[license.id] = license.data[:-2] + b"1\n"


def cut_short(shop: Shop, license: Issued) -> None:
    shop.portal.cut_after = 10


def serve_a_shorter_file(shop: Shop, license: Issued) -> None:
    shop.portal.files[license.id] = license.data[:-1]


def serve_another_file_and_say_so(shop: Shop, license: Issued) -> None:
    shop.portal.offer(license.id, "x", part())


def lose_the_file(shop: Shop, license: Issued) -> None:
    del shop.portal.files[license.id]


def go_down(shop: Shop, license: Issued) -> None:
    shop.portal.status = 500


@pytest.mark.parametrize(
    ("trouble", "key"),
    [
        (spoil_bytes, "wrong_file"),
        (cut_short, "download_broken"),
        (serve_a_shorter_file, "wrong_file"),
        (serve_another_file_and_say_so, "wrong_file"),
        (lose_the_file, "file_missing"),
        (go_down, "portal_refused"),
    ],
)
def test_a_bad_file_costs_nothing_and_can_be_tried_again(
    shop: Shop, trouble: Callable[[Shop, Issued], None], key: str
) -> None:
    license = shop.issue()
    trouble(shop, license)
    job = shop.run(license)
    assert (job.state, key_of(job)) == (State.ABANDONED, key)
    assert shop.nothing_happened(license)
    shop.portal.reset()
    shop.portal.files[license.id] = license.data
    assert shop.run(license).state is State.ARMED


def test_the_portals_word_about_copies_counts_for_nothing(shop: Shop) -> None:
    license = shop.issue(copies=1)
    shop.portal.entries[license.id] |= {"copies": 99, "remaining": 99}
    shop.flow.print_done(shop.run(license).id)
    with pytest.raises(Refused, match="no copies left"):
        shop.flow.begin(license.id)


def test_refused_before_anything_begins(shop: Shop, chain: Chain, owner: KeySigner) -> None:
    license = shop.issue(copies=3)

    def reason(id: int, **wishes: Any) -> str:
        with pytest.raises(Refused) as refused:
            shop.flow.begin(id, **wishes)
        return refused.value.message.key

    foreign = chain.issue(owner, chain.account().address, "ab" * 32, 1, f"foreign {license.id % 10**9}")
    assert reason(license.id + 1) == "unknown_license"
    assert reason(foreign) == "other_printer"
    assert reason(license.id, copy=2) == "copy_changed"
    shop.machine.is_ready = False
    assert reason(license.id) == "printer_not_ready"
    assert shop.journal.recent() == []
    assert shop.nothing_happened(license)


def test_one_at_a_time(shop: Shop) -> None:
    license = shop.issue(copies=2)
    held = threading.Event()
    connect = shop.connect
    shop.flow._connect = lambda: (held.wait(10), connect())[1]
    first = threading.Thread(target=shop.flow.begin, args=(license.id,))
    first.start()
    wait_for("The first has begun", shop.flow._slot.locked)
    with pytest.raises(Refused) as refused:
        shop.flow.begin(license.id)
    assert refused.value.message.key == "busy"
    held.set()
    first.join()
    shop.wait()
    assert shop.used(license) == 1


def test_a_printer_that_got_busy_meanwhile_pays_nothing(shop: Shop) -> None:
    license = shop.issue()
    answers = iter([True, False])
    shop.machine.ready = lambda: next(answers)  # type: ignore[method-assign]
    job = shop.run(license)
    assert (job.state, key_of(job)) == (State.ABANDONED, "printer_not_ready")
    assert shop.nothing_happened(license)


def test_a_printer_without_coins(shop: Shop, chain: Chain) -> None:
    license = shop.issue()
    chain.fund(shop.signer.address, 0)
    job = shop.run(license)
    assert (job.state, key_of(job)) == (State.ABANDONED, "no_funds")
    assert shop.nothing_happened(license)


def test_a_print_that_doesnt_start_keeps_its_copy(shop: Shop) -> None:
    license = shop.issue(copies=2)
    shop.machine.refuses = "no bed"
    job = shop.run(license)
    assert (job.state, key_of(job), job.copy) == (State.CONSUMED, "start_failed", 1)
    with pytest.raises(Refused) as refused:
        shop.flow.begin(license.id)
    assert refused.value.message.key == "copy_waiting"
    shop.machine.refuses = ""
    shop.flow.resume(job.id)
    shop.wait()
    assert shop.machine.started == [(job.id, license.data)]
    assert (shop.used(license), shop.sent()) == (1, 1)


def test_cancelled_early_or_late(shop: Shop) -> None:
    license = shop.issue()
    job = shop.run(license)
    shop.flow.print_ended(job.id, cancelled=True)
    assert shop.journal.job(job.id).state is State.CONSUMED
    shop.flow.resume(job.id)
    shop.wait()
    shop.flow.part_begins(job.id)
    shop.flow.print_ended(job.id, cancelled=True)
    ended = shop.journal.job(job.id)
    assert (ended.state, key_of(ended)) == (State.FAILED, "cancelled")
    with pytest.raises(Refused):
        shop.flow.resume(job.id)
    assert shop.used(license) == 1


def test_a_waiting_copy_isnt_printed_from_a_wrong_file(shop: Shop) -> None:
    license = shop.issue()
    job = shop.run(license)
    shop.flow.print_ended(job.id, cancelled=True)
    shop.machine.started.clear()
    spoil_bytes(shop, license)
    shop.flow.resume(job.id)
    shop.wait()
    job = shop.journal.job(job.id)
    assert (job.state, key_of(job)) == (State.CONSUMED, "waiting_download")
    assert "isn't the one" in str(job.message)
    assert shop.machine.started == []


class Node(Rpc):
    """A node that fails where a test wants it to."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self.broken: dict[str, Exception] = {}
        self.lost_answers: set[str] = set()
        self.fixed: dict[str, Any] = {}

    def call(self, method: str, params: list[Any]) -> Any:
        if method in self.fixed:
            return self.fixed[method]
        if method in self.broken:
            raise self.broken[method]
        answer = self._rpc.call(method, params)
        if method in self.lost_answers:
            raise NodeUnreachable("The answer was lost.")
        return answer


def test_a_lost_answer_to_the_broadcast_consumes_once(shop: Shop, chain: Chain) -> None:
    shop.rpc = node = Node(chain.rpc)
    node.lost_answers.add("eth_sendRawTransaction")
    license = shop.issue(copies=2)
    job = shop.run(license)
    assert (job.state, job.copy) == (State.ARMED, 1)
    assert shop.used(license) == 1


def test_a_node_that_refuses_the_bytes_leaves_the_job_open(shop: Shop, chain: Chain) -> None:
    shop.rpc = node = Node(chain.rpc)
    shop.flow._patience = 0.1
    node.broken["eth_sendRawTransaction"] = NodeRefused(-32000, "mempool is full")
    license = shop.issue(copies=2)
    job = shop.run(license)
    assert (job.state, key_of(job)) == (State.SIGNED, "settling")
    with pytest.raises(Refused) as refused:
        shop.flow.begin(license.id)
    assert refused.value.message.key == "unsettled"
    node.broken.clear()
    wait_for("Everything is settled", shop.flow.settle_open, 20, 0.05)
    assert shop.journal.job(job.id).state is State.CONSUMED
    assert shop.used(license) == 1


def test_another_transaction_took_the_nonce(shop: Shop, chain: Chain, owner: KeySigner) -> None:
    shop.rpc = node = Node(chain.rpc)
    shop.flow._patience = 0.1
    node.broken["eth_sendRawTransaction"] = NodeUnreachable("down")
    license = shop.issue(copies=2)
    job = shop.run(license)
    order = chain.licenses.set_operator_call(shop.signer.address, owner.address, Right.NONE, 0)
    chain.send(shop.signer, order)
    node.broken.clear()
    wait_for("Everything is settled", shop.flow.settle_open, 20, 0.05)
    job = shop.journal.job(job.id)
    assert (job.state, key_of(job)) == (State.ABANDONED, "overtaken")
    assert shop.used(license) == 0


def test_mined_but_nothing_consumed(shop: Shop, chain: Chain) -> None:
    """The last copy went to another transaction first: ours is mined and reverts: no event."""
    license = shop.issue(copies=1)
    file_hash = hashlib.sha256(license.data).hexdigest()
    call = chain.licenses.use_license_call(license.id, file_hash)
    rival = transactions.sign(chain.rpc, shop.signer, chain.licenses.address, call)
    # A node that doesn't look at waiting transactions would let ours pass, too.
    shop.rpc = node = Node(chain.rpc)
    node.fixed["eth_estimateGas"] = hex(200_000)
    chain.rpc.call("evm_setAutomine", [False])
    try:
        transactions.broadcast(chain.rpc, rival.raw)
        job = shop.flow.begin(license.id)
        wait_for("It is sent", lambda: shop.journal.job(job.id).state is State.SENT, 10, 0.01)
        chain.rpc.call("evm_mine", [])
        shop.wait()
    finally:
        chain.rpc.call("evm_setAutomine", [True])
    job = shop.journal.job(job.id)
    assert (job.nonce, job.state, key_of(job)) == (1, State.ABANDONED, "not_consumed")
    assert shop.machine.started == []


def test_a_node_of_another_chain(shop: Shop, chain: Chain) -> None:
    class Elsewhere(Node):
        def call(self, method: str, params: list[Any]) -> Any:
            return "0x1" if method == "eth_chainId" else super().call(method, params)

    license = shop.issue()
    shop.rpc = Elsewhere(chain.rpc)
    with pytest.raises(Refused) as refused:
        shop.flow.begin(license.id)
    assert refused.value.message.key == "wrong_chain"
    assert shop.nothing_happened(license)


@pytest.mark.parametrize("commit", range(1, 8))
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
def test_killed_around_each_commit(shop: Shop, commit: int, after: bool) -> None:
    """However the process dies: at most one copy is consumed, it prints once, and nothing is paid twice."""

    class Dying(Journal):
        commits = 0

        def _write(self, statement: str, values: Any) -> int:
            Dying.commits += 1
            if commit < Dying.commits or (commit == Dying.commits and not after):
                raise Killed
            changed = super()._write(statement, values)
            if commit == Dying.commits:
                raise Killed
            return changed

    license = shop.issue(copies=3)
    shop.journal.close()
    shop.open(Dying)
    shop.flow._run = lambda job, work: work(job)  # type: ignore[method-assign]
    with pytest.raises(Killed):
        shop.flow.begin(license.id)
    shop.journal.close()

    shop.open()
    printed_before = len(shop.machine.started)
    shop.flow.recover()
    wait_for("Everything is settled", shop.flow.settle_open, 20, 0.05)
    assert len(shop.machine.started) == printed_before, "nothing starts by itself"
    jobs = shop.journal.recent()
    waiting = [job for job in jobs if job.state is State.CONSUMED]
    assert all(job.state in (State.CONSUMED, State.ABANDONED) for job in jobs)
    assert shop.used(license) == len(waiting) <= 1
    if waiting:
        shop.flow.resume(waiting[0].id)
        shop.wait()
        assert shop.machine.started[-1] == (waiting[0].id, license.data)
        assert shop.used(license) == 1
    elif commit >= 4 and after:
        pytest.fail("signed bytes were on disk: they have to be sent")


def test_a_print_that_was_running_is_interrupted(shop: Shop) -> None:
    license = shop.issue(copies=2)
    job = shop.run(license)
    shop.flow.part_begins(job.id)
    shop.journal.close()
    shop.open()
    shop.flow.recover()
    job = shop.journal.job(job.id)
    assert (job.state, key_of(job)) == (State.FAILED, "interrupted")
    assert shop.used(license) == 1
