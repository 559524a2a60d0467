"""The journal keeps what it was told, takes every step once, and never has two live signatures of a job."""

import itertools
import secrets
import shutil
import sqlite3
import stat
import tempfile
import threading
from contextlib import closing, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import license_domain
from imprimatur.device import Journal, JournalUnusable, Reason, Refused, State, WrongState, why
from imprimatur.device.checked_file import PIECE_SIZE, CheckedFile, FileChanged
from imprimatur.device.job import FINAL, PAID, UNPAID, UNSETTLED
from imprimatur.device.journal import mark_sent
from imprimatur.device.reasons import TEXTS
from imprimatur.device.using import NO_ENTRY, sign_copy
from imprimatur.sealing import new_key, public_key
from imprimatur.serials.entry import Part, open_entry
from imprimatur.serials.tag_key import commitment_of

CHAIN_ID = 31337
CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
DOMAIN = license_domain(CHAIN_ID, CONTRACT)
DEVICE = KeySigner(bytes(range(1, 33)))
FILE_HASH = "5a" * 32


@pytest.fixture
def journal(tmp_path):
    with closing(Journal(tmp_path / "journal.db")) as journal:
        yield journal


def pick(journal, license_id=7, **values):
    return journal.pick(
        license_id, chain_id=CHAIN_ID, contract=CONTRACT, file_hash=FILE_HASH, copies=3, **values
    )


def signature_of(id, copy=1, log_recipient=None):
    return sign_copy(DEVICE, DOMAIN, id, FILE_HASH, copy, 2_000_000_000, "SERIAL-1", log_recipient, 5)


@cache
def any_signature():
    return signature_of(7)


def fresh(digest):
    """A signature with another digest; making one costs more than all that is done with it here."""
    return replace(any_signature(), digest=f"0x{digest:064x}")


# --- one job -----------------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "journal.db"
    with closing(Journal(path, lambda: 1234.5)) as journal:
        job = pick(journal, name="clip.gcode", number="4711-Ä", owner="Aero", user="mia", wanted=2)
        journal.step(job.id, State.PICKED, State.DOWNLOADED)
        job = journal.step(job.id, State.DOWNLOADED, State.VERIFIED, why("copy_changed", copy=2))
        signature = signature_of(7, 2)
        job = journal.sign(job, signature)
        journal.sent(signature.digest)
    with closing(Journal(path)) as journal:
        assert journal.job(job.id) == job
        assert journal.signature(job.id) == replace(signature, sent_at=1234.5)
        assert journal.recent() == journal.in_states(State.SIGNED) == [job]
    assert (job.name, job.number, job.owner, job.user, job.wanted, job.copy) == (
        "clip.gcode", "4711-Ä", "Aero", "mia", 2, 2,
    )  # fmt: skip
    assert job.reason is None
    assert job.created == job.updated == 1234.5


def test_it_survives_what_sqlite_can_survive(tmp_path, journal):
    assert [tuple(row) for row in journal.read("PRAGMA synchronous")] == [(2,)]
    assert [tuple(row) for row in journal.read("PRAGMA journal_mode")] == [("wal",)]
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_power_cut_leaves_all_of_a_step_or_nothing(tmp_path, journal):
    """The files as they are on the disk at each moment are a journal from before or after the step."""

    def on_disk(name):
        target = tmp_path / name
        target.mkdir()
        for path in tmp_path.glob("journal.db*"):
            shutil.copy(path, target)
        return target / "journal.db"

    job = pick(journal)
    journal.step(job.id, State.PICKED, State.DOWNLOADED)
    job = journal.step(job.id, State.DOWNLOADED, State.VERIFIED)
    copies = {}

    def look(database):
        database.execute("UPDATE job SET name = 'half'")
        copies["before"] = on_disk("before")

    journal.sign(job, any_signature())
    copies["after"] = on_disk("after")
    journal.step(job.id, State.SIGNED, State.SENT, also=look)
    with closing(Journal(copies["before"])) as early:
        assert (early.job(job.id).state, early.job(job.id).name) == (State.SIGNED, "")
    with closing(Journal(copies["after"])) as late:
        assert late.job(job.id).state is State.SIGNED
        assert late.signature(job.id) == any_signature()
    assert journal.job(job.id).name == "half"


def test_what_fails_within_a_step_undoes_it(journal):
    job = pick(journal)

    def fail(database):
        database.execute("UPDATE job SET name = 'half'")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        journal.step(job.id, State.PICKED, State.DOWNLOADED, also=fail)
    assert journal.job(job.id) == job
    assert journal.step(job.id, State.PICKED, State.DOWNLOADED).state is State.DOWNLOADED


def test_one_job_has_one_live_signature(journal):
    """Not by the code's good will only: the database refuses a second one."""
    job = pick(journal)
    for before, after in itertools.pairwise(UNPAID):
        job = journal.step(job.id, before, after)
    job = journal.sign(job, fresh(1))
    with pytest.raises(WrongState):
        journal.sign(job, fresh(2))
    # As if something had brought it back without burying the first.
    journal.step(job.id, State.SIGNED, State.VERIFIED)
    with pytest.raises(sqlite3.IntegrityError):
        journal.sign(job, fresh(2))
    assert journal.job(job.id).state is State.VERIFIED
    journal.step(job.id, State.VERIFIED, State.SENT)
    job = journal.bury(job, fresh(1), why("raced", copy=1), State.VERIFIED)
    assert journal.sign(job, fresh(2)).state is State.SIGNED
    assert journal.signatures_made(job.id) == 2


def test_one_license_has_one_open_job_even_for_many_threads(journal):
    outcomes, start = [], threading.Barrier(8)

    def try_to_pick():
        start.wait()
        try:
            outcomes.append(pick(journal).state)
        except Refused as refused:
            outcomes.append(refused.reason.code)

    threads = [threading.Thread(target=try_to_pick) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted([State.PICKED, *["open_job"] * 7])
    assert pick(journal, license_id=8).state is State.PICKED


def test_many_threads_take_a_step_once(journal):
    job = pick(journal)
    taken, start = [], threading.Barrier(8)

    def try_to_step():
        start.wait()
        with suppress(WrongState):
            taken.append(journal.step(job.id, State.PICKED, State.DOWNLOADED))

    threads = [threading.Thread(target=try_to_step) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_a_note_comes_too_late_for_what_has_moved_on(journal):
    job = pick(journal)
    journal.step(job.id, State.PICKED, State.ABANDONED, why("withdrawn"))
    assert journal.note(job.id, why("portal_busy"), State.PICKED).reason.code == "withdrawn"
    assert journal.note(job.id, why("revoked"), State.ABANDONED).reason.code == "revoked"
    assert journal.note(job.id, why("expired")).reason.code == "expired"


def test_only_what_is_signed_and_unpaid_is_marked_as_withdrawn(journal):
    job = pick(journal)
    with pytest.raises(WrongState):
        journal.withdraw(job.id, why("withdrawing", copy=1))
    for before, after in itertools.pairwise((State.PICKED, State.DOWNLOADED, State.VERIFIED)):
        job = journal.step(job.id, before, after)
    job = journal.sign(job, fresh(1))
    assert journal.withdraw(job.id, why("withdrawing", copy=1)).withdrawn
    journal.step(job.id, State.SIGNED, State.SENT)
    job = journal.step(job.id, State.SENT, State.CONSUMED, why("ready", copy=1))
    with pytest.raises(WrongState):
        journal.withdraw(job.id, why("withdrawing", copy=1))
    assert journal.job(job.id).reason.code == "ready"


def test_only_what_is_over_can_be_dismissed(journal):
    job = pick(journal)
    journal.dismiss(job.id)
    assert not journal.job(job.id).dismissed
    journal.step(job.id, State.PICKED, State.ABANDONED, why("withdrawn"))
    journal.dismiss(job.id)
    assert journal.job(job.id).dismissed


def test_evidence_is_kept_first_and_last(journal):
    job = pick(journal)
    for answer in (b"a1", b"a2", b"a3"):
        journal.keep_evidence(job.id, "not_final", answer)
    journal.keep_evidence(job.id, "stopped", b"b1")
    assert journal.evidence(job.id) == [b"a1", b"a3", b"b1"]


def test_other_files_are_no_journals(tmp_path):
    text = tmp_path / "text"
    text.write_bytes(b"this is no database, and never was one\n" * 100)
    with pytest.raises(JournalUnusable):
        Journal(text)
    assert text.read_bytes().startswith(b"this is no database")
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as database:
        database.execute("CREATE TABLE job (id TEXT)")
    with pytest.raises(JournalUnusable, match="another version"):
        Journal(foreign)
    with closing(Journal(tmp_path / "later.db")) as journal:
        journal.read("PRAGMA user_version = 2")
    with pytest.raises(JournalUnusable, match="another version"):
        Journal(tmp_path / "later.db")


def test_an_unknown_column_is_a_mistake(journal):
    job = pick(journal)
    with pytest.raises(ValueError, match="columns"):
        journal.step(job.id, State.PICKED, State.DOWNLOADED, **{"state = 'FINISHED' --": 1})


# --- every order of steps ----------------------------------------------------------------------------------


class Steps(RuleBasedStateMachine):
    """The journal against a dictionary, with a restart at any time."""

    jobs = Bundle("jobs")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.db"
        self.journal = Journal(self.path)
        self.states, self.licenses, self.live, self.made = {}, {}, {}, {}
        self.digests = itertools.count(1)

    def teardown(self):
        self.journal.close()
        self.folder.cleanup()

    def try_step(self, id, before, act):
        """Do what moves a job on; whether it was in the state for it."""
        if self.states[id] is before:
            act()
            return True
        with pytest.raises(WrongState):
            act()
        return False

    @rule(target=jobs, license=st.integers(1, 3))
    def pick(self, license):
        taken = any(self.licenses[id] == license and state not in FINAL for id, state in self.states.items())
        if taken:
            with pytest.raises(Refused):
                pick(self.journal, license)
            return multiple()
        job = pick(self.journal, license)
        self.states[job.id], self.licenses[job.id] = State.PICKED, license
        self.live[job.id], self.made[job.id] = None, 0
        return job.id

    @rule(id=jobs, before=st.sampled_from(State), after=st.sampled_from(State))
    def step(self, id, before, after):
        # Of states with a signature the others rules take care, and what is over stays so.
        if {before, after} & {*UNSETTLED, *PAID} or before in FINAL or self.live[id] is not None:
            return
        if self.try_step(id, before, lambda: self.journal.step(id, before, after, why("ready", copy=1))):
            self.states[id] = after

    @rule(id=jobs)
    def sign(self, id):
        signature, job = fresh(next(self.digests)), self.journal.job(id)
        if self.states[id] is State.VERIFIED and self.live[id] is not None:
            return
        if self.try_step(id, State.VERIFIED, lambda: self.journal.sign(job, signature)):
            self.states[id], self.live[id] = State.SIGNED, signature.digest
            self.made[id] += 1

    @rule(id=jobs)
    def send(self, id):
        def also(database):
            mark_sent(database, self.live[id] or "", 1.0)

        if self.try_step(
            id, State.SIGNED, lambda: self.journal.step(id, State.SIGNED, State.SENT, also=also)
        ):
            self.states[id] = State.SENT

    @rule(id=jobs)
    def bury(self, id):
        signature, job = replace(any_signature(), digest=self.live[id] or ""), self.journal.job(id)
        reason = why("raced", copy=1)
        if self.try_step(id, State.SENT, lambda: self.journal.bury(job, signature, reason, State.VERIFIED)):
            self.states[id], self.live[id] = State.VERIFIED, None

    @rule(id=jobs)
    def consume(self, id):
        if self.try_step(
            id, State.SENT, lambda: self.journal.step(id, State.SENT, State.CONSUMED, paid_at=2.0)
        ):
            self.states[id] = State.CONSUMED

    @rule(id=jobs)
    def key(self, id):
        job = self.journal.job(id)
        signature = replace(any_signature(), digest=self.live[id] or "")
        if self.try_step(
            id, State.CONSUMED, lambda: self.journal.keep_key(job, signature, b"key", why("ready", copy=1))
        ):
            self.states[id] = State.KEYED

    @rule(id=jobs)
    def finish(self, id):
        if self.try_step(id, State.KEYED, lambda: self.journal.step(id, State.KEYED, State.FINISHED)):
            self.states[id] = State.FINISHED

    @rule()
    def restart(self):
        self.journal.close()
        self.journal = Journal(self.path)

    @invariant()
    def agrees(self):
        assert {job.id: job.state for job in self.journal.recent(1000)} == self.states
        for id, digest in self.live.items():
            rows = self.journal.read("SELECT digest FROM signature WHERE job = ? AND live = 1", id)
            assert [row["digest"] for row in rows] == ([] if digest is None else [digest])
            assert self.journal.signatures_made(id) == self.made[id]
            assert (self.states[id] in (*UNSETTLED, *PAID)) <= (digest is not None)


TestSteps = Steps.TestCase
TestSteps.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


# --- what belongs to a signature ---------------------------------------------------------------------------


def test_keys_are_never_used_twice():
    first, second = signature_of(7), signature_of(7)
    assert first.job_key != second.job_key
    assert first.tag_key != second.tag_key
    assert first.use.key_recipient == public_key(first.job_key)


def test_the_serial_is_for_owner_and_printer():
    log_key = new_key()
    signature = signature_of(7, 3, public_key(log_key))
    use, tag = signature.use, signature.tag_key.address
    part = Part(7, 3, use.commitment)
    assert open_entry(use.encrypted_serial, part, log_key, use.key_recipient, tag) == "SERIAL-1"
    assert open_entry(use.encrypted_serial, part, signature.job_key, public_key(log_key), tag) == "SERIAL-1"


def test_without_a_log_recipient_there_is_no_entry():
    use = (signature := signature_of(7)).use
    assert use.encrypted_serial == NO_ENTRY == bytes(32)
    assert use.commitment == commitment_of(7, 1, "SERIAL-1", signature.tag_key.address)


def test_every_reason_is_a_sentence():
    names = ("copy", "name", "trouble", "detail", "reason", "state", "refusal", "times", "job")
    facts = dict.fromkeys(names, "x")
    for code in TEXTS:
        text = str(Reason(code, facts))
        assert "%" not in text
        # Facts that are sentences themselves come last or bring their own full stop.
        assert text.rstrip("x").endswith((".", ": ")), code
    assert str(Reason("from_a_later_version", {})) == "from_a_later_version"
    assert Reason.from_json(why("raced", copy=3).to_json()) == why("raced", copy=3)
    assert len(why("portal_busy", detail="x" * 1000).facts["detail"]) == 200


SIZES = st.integers(0, 3 * PIECE_SIZE)


# --- files -------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(0, 3 * PIECE_SIZE), place=st.integers(0, 3 * PIECE_SIZE), read=st.integers(1, 100_000)
)
def test_a_file_is_handed_out_as_it_was_checked_or_not_at_all(tmp_path_factory, size, place, read):
    path = tmp_path_factory.mktemp("own") / "file"
    data = secrets.token_bytes(size)
    path.write_bytes(data)
    with closing(CheckedFile(path)) as same:
        assert b"".join(iter(lambda: same.read(read), b"")) == data
        assert same.size == size
    with closing(CheckedFile(path)) as changed:
        with path.open("r+b") as other:
            other.seek(place)
            other.write(bytes([data[place] ^ 1]) if place < size else b"?")
        got = bytearray()

        def take():
            while piece := changed.read(read):
                got.extend(piece)

        with pytest.raises(FileChanged):
            take()
        assert data.startswith(got)
