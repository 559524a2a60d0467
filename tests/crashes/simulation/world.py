"""One plan: a printer in its world, struck as planned, brought back by a sensible operator, and judged."""

import itertools
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crashes.simulation.contract import checksum
from crashes.simulation.database import killable
from crashes.simulation.judge import Judge
from crashes.simulation.node import LicenseNode
from crashes.simulation.portal import GCODE, OPERATOR, Article, SimulatedPortal, issue
from crashes.simulation.printer import Printer
from crashes.simulation.surroundings import Nap, connected
from crashes.simulation.switch import Blow, Crash, Passed, Switch
from library.adversary.clock import VirtualClock

from imprimatur.chain.signers import KeySigner
from imprimatur.device.job import Job, State
from imprimatur.device.journal import Journal
from octoprint_imprimatur.flow import Flow, is_reportable
from octoprint_imprimatur.messages import Refused
from octoprint_imprimatur.runner import Runner

PRINTER = KeySigner(bytes(range(1, 33)))
WALLET = "0x" + "Aa" * 20
OTHER = "0x" + "0c" * 20
"""Another device of the same wallet."""
LOOK_EVERY = 5.0
"""Seconds between two looks in the background, as the service has it."""
LINES_BETWEEN_LOOKS = 4
BOOT = 30.0
"""Seconds."""
MOST_TURNS = 150
LONGEST_PAUSE = 300.0
"""Seconds."""


@dataclass
class Outcome:
    """What became of a plan."""

    problems: list[str]
    lives: list[list[Passed]]
    """The boundaries of each life."""
    trace: list[str]
    states: list[str]
    seen: frozenset[str] = frozenset()
    """What happened until rest: codes of reasons, names of the contract's events, and whose use a
    reorganisation took out of its block."""


@dataclass
class World:
    """A license, its printer, and what is around them. `plan` strikes; scenarios change the rest.

    Args:
        path: of the journal; its folder is for this world alone.
    """

    path: Path
    plan: Sequence[Blow] = ()
    with_payer: bool = False
    copies: int = 4
    own_file: bool = False
    """Whether the file is the operator's own, and no portal delivers it."""
    longest_pause: float = LONGEST_PAUSE
    wallets: dict[str, str] = field(
        default_factory=lambda: {PRINTER.address: checksum(WALLET), checksum(OTHER): checksum(WALLET)}
    )

    def __post_init__(self) -> None:
        self.switch = Switch(self.plan)
        self.clock = VirtualClock()
        rich = [OPERATOR, OTHER, *([PRINTER.address] if self.with_payer else [])]
        self.node = LicenseNode(self.clock, self.wallets, [account.lower() for account in rich])
        self.portal = SimulatedPortal(self.node)
        self.printer = Printer(self.switch)
        self.license = self.offer(1, self.copies)
        self.spare = self.offer(2, 2)
        self.judge = Judge(self.node, self.portal, self.printer, PRINTER.address)
        self.portal.on_use = self.judge.on_use
        self._file = self.path.parent / "own.gcode"
        self._file.write_bytes(GCODE)
        self.trace: list[str] = []
        self.to_do: list[Callable[[], None]] = []
        self.on_turn: Callable[[], None] = lambda: None
        """What the scenario lets people do between two steps of the operator."""
        self.is_new: Callable[[object], bool] = lambda resting: True
        """Whether nobody has shown yet how it goes on from such a state."""
        self._pause = 0.0
        self._states: object = None
        self._read: tuple[object, list[Job]] = (None, [])

    def offer(self, number: int, copies: int) -> Article:
        made = issue(self.node, number, checksum(WALLET), copies)
        self.portal.articles[made.id] = made
        return made

    # --- the process -------------------------------------------------------------------------------------

    def _boot(self) -> None:
        self.to_do.clear()
        self.journal = Journal(self.path, self.clock)
        connection = connected(self.node, self.portal, self.switch, self.judge, PRINTER)
        self.runner = Runner(
            self.journal,
            self.printer,
            lambda job, progress: None,
            spawn=self.to_do.append,
            clock=self.clock,
            wake=Nap(self.pass_time),
        )
        self.flow = Flow(
            self.journal,
            lambda: connection,
            self.runner,
            self.path.parent / "sealed",
            lambda job, progress: None,
            clock=self.clock,
            steady=self.clock,
        )
        try:
            self.flow.recover()
        except sqlite3.Error as error:
            self.note(f"not recovered: {error}")
        self._look()

    def _look(self) -> None:
        """What the service does every now and then."""
        try:
            self.flow.continue_open()
        except sqlite3.Error as error:
            self.note(f"the look failed: {error}")

    def _die(self) -> None:
        self.note(f"crash at {self.switch.lives[-1][-1].name}")
        self.journal.close()
        self.printer.turned_off()

    def pass_time(self, seconds: float) -> None:
        """Time for everybody. Where nothing moves, it passes faster: a loaded machine oversleeps."""
        self.switch.changed()
        states = self.judge.seen
        self._pause = 0.0 if states != self._states else min(self.longest_pause, 4 * self._pause + 1.0)
        self._states = states
        for _ in range(2 if seconds > LOOK_EVERY else 1):
            self.node.pass_time(max(seconds, self._pause) / (2 if seconds > LOOK_EVERY else 1))
        self.on_turn()
        self._look()

    def note(self, text: str) -> None:
        self.trace.append(f"{self.clock() - 1_700_000_000:9.1f}  {text}")

    # --- the operator ------------------------------------------------------------------------------------

    def _jobs(self) -> list[Job]:
        # Asked many times a turn: read only when this process has written something.
        version = self.journal, self.journal._database.total_changes
        if self._read[0] != version:
            self._read = version, self.journal.recent()
        return self._read[1]

    def ask(self, wish: Callable[[], Job]) -> Job | None:
        """What an operator's request comes to; None when it is refused or fails."""
        try:
            return wish()
        except Refused as refused:
            self.note(f"refused: {refused}")
        except sqlite3.Error as error:
            self.note(f"the request failed: {error}")
        return None

    def _act(self, license_id: int, wanted: bool) -> None:
        """One sensible thing, and what follows from it in this process."""
        ready = [job for job in self._jobs() if job.is_ready]
        reportable = [job for job in self._jobs() if is_reportable(job)]
        if self.runner.is_busy or self.printer.is_printing:
            pass
        elif ready:
            self.printer.wanted.add(ready[0].id)
            self.ask(lambda: self.flow.resume(ready[0].id))
        elif reportable:
            self.ask(lambda: self.flow.report_failure(reportable[0].id))
        elif wanted and all(job.is_over for job in self._jobs()):
            offer = None if self.own_file else self.portal.articles[license_id].offer
            file = self._file if self.own_file else None
            job = self.ask(lambda: self.flow.begin(license_id, offer=offer, file=file))
            self.printer.wanted |= set() if job is None else {job.id}
        while self.to_do:
            self.to_do.pop(0)()
        for line in itertools.count(1):
            if not self.printer.is_printing:
                break
            self.printer.print_line(self.runner)
            if line % LINES_BETWEEN_LOOKS == 0:
                self._look()

    def _is_at_rest(self) -> bool:
        jobs = self._jobs()
        over = all(job.is_over for job in jobs) and not any(is_reportable(job) for job in jobs)
        return over and self._has_ended() and not self.queued()

    def _has_ended(self) -> bool:
        """Whether the operator wants no more of the license: it was printed, or failed, or has no copies."""
        ended = any(job.state in (State.FINISHED, State.FAILED) for job in self._jobs())
        return ended or not self.node.contract.licenses[self.license.id].remaining

    def queued(self) -> int:
        """Reports that haven't arrived."""
        ((left,),) = self.journal.read(
            "SELECT (SELECT count(*) FROM outcome WHERE ended IS NULL)"
            " + (SELECT count(*) FROM failure WHERE ended IS NULL)"
        )
        return int(left)

    def _until(
        self, reached: Callable[[], bool], license_id: int, wants: Callable[[], bool], what: str
    ) -> None:
        for _ in range(MOST_TURNS):
            if reached() or self.judge.problems:
                return
            self._act(license_id, wants())
            if reached():
                return
            self.pass_time(LOOK_EVERY)
        self.judge.problem(
            f"stuck: {what} never came; {[(j.state.value, str(j.reason)) for j in self._jobs()]}"
        )

    def _live(self, step: Callable[[], None]) -> None:
        """Live until `step` is done, whatever strikes."""
        while True:
            try:
                step()
                return
            except Crash:
                self._die()
                self.switch.live_again()
                self._restarted()

    def _restarted(self) -> None:
        while True:
            try:
                self.node.pass_time(BOOT)
                self._boot()
                return
            except Crash:
                self._die()
                self.switch.live_again()

    # --- the story ---------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Everything, to the verdict."""
        with killable(self.switch, self.judge.after_commit):
            self._restarted()
            wants = lambda: not self._has_ended()  # noqa: E731
            self._live(lambda: self._until(self._is_at_rest, self.license.id, wants, "rest"))
            self.switch.rest()
            seen = self._seen()
            if "internal" in seen:
                self.judge.problem("a job stopped unexpectedly")
            if not self.judge.problems:
                self.judge.at_rest(self.journal)
                if self.is_new(self._resting()):
                    self._show_that_it_goes_on()
            states = [f"{job.state} {job.reason and job.reason.code}" for job in self._jobs()]
            self.journal.close()
        return Outcome(self.judge.problems, self.switch.lives, self.trace, states, seen)

    def _seen(self) -> frozenset[str]:
        events = {event.name for event in self.node.events(self.node.ledger.head)}
        ours = {"ours replaced" if device == PRINTER.address else "other's replaced"
                for device in self.node.replaced}  # fmt: skip
        return frozenset(self.judge.reasons | events | ours)

    def _resting(self) -> tuple[object, ...]:
        """What decides how it goes on from here."""
        runner, flow = self.runner, self.flow
        jobs = [(job.license_id, job.state, job.copy, job.reason and job.reason.code) for job in self._jobs()]
        process = runner.is_busy, runner.active, len(runner._owed), flow._recovered
        return (*sorted(jobs, key=str), self.node.contract.licenses[self.license.id], *process)

    def _show_that_it_goes_on(self) -> None:
        """A fresh print of another copy; of another license where this one has none."""
        usable = self.node.contract.licenses[self.license.id].remaining > 0
        license = self.license if usable else self.spare
        before = {job.id for job in self._jobs() if job.state is State.FINISHED}

        def finished() -> bool:
            return any(job.state is State.FINISHED and job.id not in before for job in self._jobs())

        self.calm()
        self._until(finished, license.id, lambda: True, "a fresh print")
        self.judge.check_parts()

    def calm(self) -> None:
        """The scenario is over: everybody is honest and awake."""
        portal = self.portal
        portal.is_down = portal.loses_answer = lambda place: False
        portal.refuses_key = lambda question: None
        portal.carry = None
        self.node.on_block = lambda: None
        self.on_turn = lambda: None
