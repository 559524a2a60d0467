"""Printers with one rule left out. A check of plans is worth what it refuses: each must be found out."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from imprimatur.device import carrying, reports
from imprimatur.device.delivery import Delivery
from imprimatur.device.job import PAID, UNPAID, Job, State, UseSignature
from imprimatur.device.journal import Journal
from imprimatur.device.journal_rows import signature_columns
from imprimatur.device.messages import Ending
from imprimatur.device.preparing import Preparation
from imprimatur.device.reasons import why
from imprimatur.device.settling import Fate, Finding, Witness
from imprimatur.device.using import sign_copy
from octoprint_imprimatur import flow
from octoprint_imprimatur.flow import Flow
from octoprint_imprimatur.runner import Runner

Patched = AbstractContextManager[Any]


def sends_before_it_writes() -> Patched:
    """Signed bytes leave before they are on the disk."""
    real = Preparation._sign

    def sign(self: Preparation, job: Job) -> Job:
        write = self._journal.sign

        def late(job: Job, signature: Any) -> Job:
            self._carrier.carry_use(signature, self._witness.device)
            return write(job, signature)

        with patch.object(self._journal, "sign", late):
            return real(self, job)

    return patch.object(Preparation, "_sign", sign)


def signs_anew_after_a_crash() -> Patched:
    """What was signed before a crash isn't sent again: the same copy is signed with other keys."""
    real_sign, real_send = Journal.sign, Preparation._send

    def sign(self: Journal, job: Job, signature: UseSignature) -> Job:
        self.of_this_life = signature.digest  # type: ignore[attr-defined]
        return real_sign(self, job, signature)

    def send(self: Preparation, job: Job) -> Job:
        old = self._journal.signature(job.id)
        if getattr(self._journal, "of_this_life", None) != old.digest:
            use = old.use
            new = sign_copy(
                self._signer, self._witness.domain, use.id, use.file_hash, use.copy, use.deadline,
                self._serial(), None, old.since,
            )  # fmt: skip
            row = signature_columns(job.id, new)
            statement = f"INSERT INTO signature ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
            with self._journal.transaction() as database:
                database.execute("UPDATE signature SET live = 0 WHERE digest = ?", (old.digest,))
                database.execute(statement, tuple(row.values()))
            self._journal.of_this_life = new.digest  # type: ignore[attr-defined]
        return real_send(self, job)

    @contextmanager
    def both() -> Iterator[None]:
        with patch.object(Journal, "sign", sign), patch.object(Preparation, "_send", send):
            yield

    return both()


def believes_the_newest_block() -> Patched:
    """A use counts as soon as it is in any block."""
    real = Witness.fate_of

    def fate_of(self: Witness, use: Any, since: int) -> Finding:
        found = real(self, use, since)
        return replace(found, fate=Fate.CONSUMED) if found.fate is Fate.INCLUDED else found

    return patch.object(Witness, "fate_of", fate_of)


def takes_anybodys_event() -> Patched:
    """The event of the copy decides, whosever it is."""
    return patch.object(Witness, "_is", lambda self, use, event: True)


def buries_before_it_is_final() -> Patched:
    """A use is given up when a block shows its copy taken, final or not."""
    real = Witness.fate_of

    def fate_of(self: Witness, use: Any, since: int) -> Finding:
        found = real(self, use, since)
        events = [
            event
            for event in self.licenses.events("LicenseUsed", id=use.id)
            if event.values["copy"] == use.copy and not self._is(use, event)
        ]
        return Finding(Fate.RACED, events[0]) if found.fate is Fate.OPEN and events else found

    return patch.object(Witness, "fate_of", fate_of)


def trusts_its_own_clock() -> Patched:
    """A use is given up when its deadline has passed by the printer's clock."""
    real = Preparation._settle

    def settle(self: Preparation, job: Job) -> Job:
        signature = self._journal.signature(job.id)
        if self._clock() > signature.use.deadline:
            return self._give_up(job, signature, why("signature_expired", copy=job.copy))
        return real(self, job)

    return patch.object(Preparation, "_settle", settle)


def burns_after_the_line() -> Patched:
    """The permit burns when the print is over, not before its first line feeds."""
    real = Runner.print_done

    def print_done(self: Runner, job_id: str, *others: Any) -> None:
        self._of_print(job_id).begin_part(self._journal.job(job_id))
        real(self, job_id, *others)

    @contextmanager
    def both() -> Iterator[None]:
        with (
            patch.object(Runner, "part_begins", lambda self, job_id: None),
            patch.object(Runner, "print_done", print_done),
        ):
            yield

    return both()


def starts_by_itself() -> Patched:
    """After a restart a paid copy is printed at once."""
    real = Flow.recover

    def recover(self: Flow) -> None:
        first = not self._recovered
        real(self)
        for job in self._journal.in_states(*PAID) if first else ():
            if job.is_ready:
                self.resume(job.id)

    return patch.object(Flow, "recover", recover)


def tells_after_the_step() -> Patched:
    """A report is queued when its step is done, not with it."""
    real = Delivery.finish

    def finish(self: Delivery, job: Job, *others: Any) -> Job:
        queue = self._reports.outcome(self.journal.job(job.id), Ending.FINISHED)
        with patch.object(self._reports, "outcome", lambda *_: lambda database: None):
            job = real(self, job, *others)
        with self.journal.transaction() as database:
            queue(database)
        return job

    return patch.object(Delivery, "finish", finish)


def _recovering(also: Callable[[Journal], None], **left_out: Any) -> Patched:
    """`also` instead of what the library does with some states."""
    real = flow.recover

    def recover(journal: Journal, folder: Path, clock: Callable[[], float]) -> None:
        in_states = journal.in_states
        also(journal)
        with patch.object(
            journal,
            "in_states",
            lambda *states: [] if set(states) & left_out["states"] else in_states(*states),
        ):
            real(journal, folder, clock)

    return patch.object(flow, "recover", recover)


def forgets_what_was_heating() -> Patched:
    """A job that was heating up stays as it was."""
    return _recovering(lambda journal: None, states={State.ARMED})


def prints_a_begun_part_again() -> Patched:
    """A part that was begun is ready to be printed."""

    def again(journal: Journal) -> None:
        for job in journal.in_states(State.PRINTING):
            journal.step(job.id, State.PRINTING, State.KEYED, why("ready", copy=job.copy))

    return _recovering(again, states={State.PRINTING})


def gives_up_what_is_signed() -> Patched:
    """After a restart a job whose use is signed counts as not paid."""

    def give_up(journal: Journal) -> None:
        for job in journal.in_states(*UNPAID, State.SIGNED):
            journal.step(job.id, job.state, State.ABANDONED, why("stopped_before_paying"))

    return _recovering(give_up, states=set(UNPAID))


def recovers_only_once() -> Patched:
    """When the disk is full at the start, what was left behind stays as it is."""
    real = flow.recover

    def recover(*arguments: Any) -> None:
        try:
            real(*arguments)
        except sqlite3.Error:
            return

    return patch.object(flow, "recover", recover)


def forgets_what_it_cannot_write() -> Patched:
    """How a print ended is lost when the disk is full then."""

    def write(self: Runner, step: Callable[[], object]) -> None:
        try:
            step()
        except (OSError, sqlite3.Error):
            return

    return patch.object(Runner, "_write_or_owe", write)


def keeps_the_slot() -> Patched:
    """A job whose thread fails keeps the printer."""
    real = Runner._prepare

    def prepare(self: Runner, delivery: Delivery, job: Job) -> bool:
        try:
            return real(self, delivery, job)
        except sqlite3.Error:
            self._slot = _Held()  # type: ignore[assignment]
            raise

    return patch.object(Runner, "_prepare", prepare)


class _Held:
    """A lock that nobody gives back."""

    def acquire(self, blocking: bool = True) -> bool:
        del blocking
        return False

    def release(self) -> None:
        """Stays held."""

    def locked(self) -> bool:
        return True


def trusts_the_relay_with_failures() -> Patched:
    """A failure report that the relay took isn't paid for, whatever becomes of it."""
    real = carrying.Carrier.carry_failure

    def carry_failure(self: Any, signed: Any, digest: str, is_first: bool) -> None:
        del is_first
        real(self, signed, digest, True)

    return patch.object(carrying.Carrier, "carry_failure", carry_failure)


def drops_a_refused_outcome() -> Patched:
    """An outcome that the portal doesn't take at once is never told."""
    real = reports.Reports._put_off

    def put_off(self: Any, row: Any, pause: float) -> None:
        real(self, row, pause)
        self._write("UPDATE outcome SET ended = 'dropped' WHERE job = ?", row["job"])

    return patch.object(reports.Reports, "_put_off", put_off)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A rule left out, the scenario that shows it, and words of the problem that it is."""

    leave_out: Callable[[], Patched]
    scenario: str
    shows: str
    needs_pairs: bool = False
    """Whether one blow isn't enough."""

    @property
    def name(self) -> str:
        return self.leave_out.__name__.replace("_", " ")


MUTANTS = (
    Mutant(sends_before_it_writes, "plain", "was used, and the journal doesn't know it"),
    Mutant(signs_anew_after_a_crash, "plain", "is given up, and its copy is paid"),
    Mutant(believes_the_newest_block, "plain", "is called consumed, and no final block shows it"),
    Mutant(takes_anybodys_event, "raced", "is called consumed, and no final block shows it"),
    Mutant(buries_before_it_is_final, "raced and given back", "is given up, and it may still happen"),
    Mutant(trusts_its_own_clock, "lost for good", "is given up, and it may still happen"),
    Mutant(burns_after_the_line, "plain", "was printed 2 times"),
    Mutant(starts_by_itself, "plain", "a print began by itself"),
    Mutant(tells_after_the_step, "plain", "nobody was told of the job FINISHED"),
    Mutant(forgets_what_was_heating, "plain", "stuck: rest never came; [('ARMED'"),
    Mutant(prints_a_begun_part_again, "plain", "PRINTING became KEYED"),
    Mutant(gives_up_what_is_signed, "plain", "SIGNED became ABANDONED"),
    Mutant(recovers_only_once, "plain", "stuck: rest never came; [('PICKED'", needs_pairs=True),
    Mutant(forgets_what_it_cannot_write, "plain", "stuck: rest never came; [('PICKED'"),
    Mutant(keeps_the_slot, "plain", "[('ABANDONED', \"The file can't be kept"),
    Mutant(trusts_the_relay_with_failures, "lost, paid by the printer", "stuck: rest never came; [('FAILED'"),
    Mutant(drops_a_refused_outcome, "portal down", "nobody was told of the job FINISHED"),
)
