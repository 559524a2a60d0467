"""What must be true in every plan, watched from outside: chain, portal, bed and disk."""

import json
import sqlite3
from collections import Counter
from functools import lru_cache

from crashes.simulation.node import LicenseNode
from crashes.simulation.portal import SimulatedPortal
from crashes.simulation.printer import Printer

from imprimatur.chain.typed_data import Use
from imprimatur.device.job import FINAL, State
from imprimatur.device.journal import Journal
from imprimatur.device.journal_rows import signed_use
from imprimatur.device.reasons import Reason
from imprimatur.license_id import parse_id

LEGAL = {
    State.PICKED: {State.DOWNLOADED, State.ABANDONED},
    State.DOWNLOADED: {State.VERIFIED, State.ABANDONED},
    State.VERIFIED: {State.SIGNED, State.ABANDONED},
    State.SIGNED: {State.SENT},
    State.SENT: {State.CONSUMED, State.VERIFIED},
    State.CONSUMED: {State.KEYED, State.FAILED},
    State.KEYED: {State.ARMED, State.FAILED},
    State.ARMED: {State.PRINTING, State.KEYED},
    State.PRINTING: {State.FINISHED, State.FAILED},
    State.FINISHED: set(),
    State.FAILED: set(),
    State.ABANDONED: set(),
}
"""The arrows of the protocol, for a sealed file that feeds material."""
OF_OWN_FILES = LEGAL | {State.CONSUMED: {State.ARMED}, State.ARMED: {State.PRINTING, State.CONSUMED}}
"""Those for a file of the operator's own, which needs no key."""


class Judge:
    """Collects what must never happen."""

    def __init__(self, node: LicenseNode, portal: SimulatedPortal, printer: Printer, device: str) -> None:
        self.problems: list[str] = []
        self._node = node
        self._portal = portal
        self._printer = printer
        self._device = device
        self.seen = 0
        """Steps of jobs that were seen."""
        self.reasons: set[str] = set()
        """Codes of the reasons that jobs had."""
        self._states: dict[str, State | None] = {}
        self._given: set[Use] = set()

    def problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    # --- while it happens --------------------------------------------------------------------------------

    def after_commit(self, database: sqlite3.Connection) -> None:
        """Each job took a legal arrow, and for a reason that the chain gives."""
        select = "SELECT id, state, license_id, copy, is_sealed, reason FROM job"
        rows = sqlite3.Connection.execute(database, select).fetchall()
        for id, text, license_id, copy, is_sealed, reason in rows:
            after, before = State(text), self._states.get(id)
            self.reasons |= set() if reason is None else {_code(reason)}
            self._states[id] = after
            self.seen += after is not before
            if before is None and after is not State.PICKED:
                self.problem(f"a job begins as {after}")
            elif before not in (None, after) and after not in (LEGAL if is_sealed else OF_OWN_FILES)[before]:
                self.problem(f"{before} became {after}")
            elif before is not after and after is State.CONSUMED:
                self._require_consumed(parse_id(license_id), copy)
            elif before is State.SENT and after is State.VERIFIED:
                newest = "SELECT use FROM signature WHERE job = ? ORDER BY rowid DESC"
                ((use,), *_) = sqlite3.Connection.execute(database, newest, (id,)).fetchall()
                self._require_dead(_use(use))

    def _require_consumed(self, license_id: int, copy: int) -> None:
        if not any(
            event.values["device"] == self._device
            and (event.values["id"], event.values["copy"]) == (license_id, copy)
            for event in self._node.uses(final=True)
        ):
            self.problem(f"copy {copy} is called consumed, and no final block shows it")

    def _require_dead(self, use: Use) -> None:
        if self._may_happen(use):
            self.problem(f"a use of copy {use.copy} is given up, and it may still happen")

    def on_use(self, use: Use) -> None:
        """Somebody is given a signed use: every other one that was given before must be dead."""
        for other in self._given - {use}:
            if other.id == use.id and self._may_happen(other):
                self.problem(f"a use of copy {use.copy} is given away while one of copy {other.copy} lives")
        self._given.add(use)

    def _may_happen(self, use: Use) -> bool:
        """Whether a use can still come to a final block that doesn't hold it yet."""
        final = self._node.final_block()
        terms = self._node.after(final).contract.licenses[use.id]
        return terms.used < use.copy and final.timestamp <= use.deadline

    # --- in the end --------------------------------------------------------------------------------------

    def at_rest(self, journal: Journal) -> None:
        """Nothing was paid twice, nothing printed unpaid, nothing lost, and nothing began by itself."""
        uses = [event for event in self._node.uses() if event.values["device"] == self._device]
        signatures = {
            _use(row["use"]).key_recipient: (row["job"], row["live"])
            for row in journal.read("SELECT job, use, live FROM signature")
        }
        by_job: Counter[str] = Counter()
        for event in uses:
            found = signatures.get(event.values["keyRecipient"])
            if found is None:
                self.problem(f"copy {event.values['copy']} was used, and the journal doesn't know it")
            else:
                by_job[found[0]] += 1
        for id, times in by_job.items():
            if times > 1:
                self.problem(f"the job {id} used {times} copies")
        self._check_jobs(journal, by_job)
        self.check_parts()
        if self._printer.unasked:
            self.problem("a print began by itself")

    def _check_jobs(self, journal: Journal, by_job: Counter[str]) -> None:
        for job in journal.recent():
            paid = by_job[job.id] > 0
            made = self._printer.begun[job.license_id, job.copy]
            where = f"the job {job.state} ({job.reason and job.reason.code})"
            if job.state is State.ABANDONED and paid:
                self.problem(f"{where} is given up, and its copy is paid")
            if job.state in (State.FINISHED, State.FAILED):
                if not paid:
                    self.problem(f"{where} was printed without a use")
                told = self._portal.outcomes.get((job.license_id, job.copy or 0), {}).get("outcome")
                if told is None:
                    self.problem(f"nobody was told of {where}")
                elif (told == "finished") != (job.state is State.FINISHED):
                    self.problem(f"{where} was told to be {told}")
            if job.state is State.FINISHED and made != 1:
                self.problem(f"{where} is called printed, and {made} parts were begun")
            if job.state is State.FINISHED and self._printer.done[job.license_id, job.copy] != 1:
                self.problem(f"{where} is called printed, and its last line never came")
            if job.state is State.FAILED:
                window = self._node.contract.licenses[job.license_id]
                if not window.window >> window.used - (job.copy or 0) & 1:
                    self.problem(f"the failure of {where} wasn't reported to the chain")
            if job.state not in FINAL and not job.is_ready:
                self.problem(f"{where} is neither over nor ready")

    def check_parts(self) -> None:
        """Every part was paid for by this printer, and no copy has two."""
        uses = [event.values for event in self._node.uses() if event.values["device"] == self._device]
        paid = {(values["id"], values["copy"]) for values in uses}
        for part, times in self._printer.begun.items():
            if part not in paid:
                self.problem(f"copy {part[1]} was printed without being used")
            if times > 1:
                self.problem(f"copy {part[1]} was printed {times} times")


@lru_cache(maxsize=1000)
def _code(document: str) -> str:
    return Reason.from_json(document).code


def _use(document: str) -> Use:
    return signed_use(json.loads(document)).message
