"""The gate: only a licensed job reaches the printer, or an own file where the policy says so.

The boundary are the hooks that see each line before it is queued and before it leaves (order 99999: after
every other plugin's). The guards of `compat.printer` refuse earlier and cleanly, before anything starts;
`http_gate` refuses first of all, so that the operator learns why. OctoPrint sends a line when a hook raises;
therefore everything is caught here and held back.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from octoprint_imprimatur import policy, self_check
from octoprint_imprimatur.card_writing import CardWriting
from octoprint_imprimatur.compat import connectors, lines
from octoprint_imprimatur.licensed_file import LicensedFile
from octoprint_imprimatur.messages import Message
from octoprint_imprimatur.policy import Source

ORDER = 99999
QUIET = 5.0
"""Seconds in which the same refusal is neither logged nor shown again."""
_SUPPRESS = (None,)
_RUNNING = (policy.Job.LICENSED, policy.Job.FREE)
_log = logging.getLogger("octoprint.plugins.imprimatur.gate")


class Watcher(Protocol):
    """Told when the copy of the running job is about to be used up."""

    def part_begins(self, job_id: str) -> None:
        """The next line feeds material. Returns when that is on disk; raises when it can't be."""


class Gate:
    """Holds the one permitted file and judges every start and every line.

    Args:
        notify: shows a refusal to the operator.
        setting: the policy as the settings name it now. While it can't be read, only licensed jobs print.
    """

    def __init__(self, notify: Callable[[Message], None], setting: Callable[[], Any]) -> None:
        self._notify = notify
        self._setting = setting
        self._printer: Any = None
        self._answers: Callable[[], Any] | None = None
        self._watcher: Watcher | None = None
        self._permitted: LicensedFile | None = None
        self._free: Any = None
        self._watch: policy.ExtrusionWatch | None = None
        self._turns = policy.TurnWatch()
        self.card = CardWriting()
        self._card_position = 0
        self._card_free = False
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()
        self._following = threading.Lock()

    def watch_with(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def look_after(self, printer: Any, answers: Callable[[], Any]) -> None:
        """What the self-check looks at: OctoPrint's printer, and the handler of its API's requests."""
        self._printer, self._answers = printer, answers

    @property
    def policy(self) -> str:
        """One of `policy.POLICIES`; closed until the settings are loaded, and when they make no sense."""
        try:
            return policy.understood(self._setting())
        except Exception:
            _log.debug("The policy can't be read; only licensed jobs print.", exc_info=True)
            return policy.LICENSED_ONLY

    def permit(self, licensed: LicensedFile) -> None:
        """From now on this object, and no other, may print."""
        self._watch = policy.ExtrusionWatch()
        self._permitted = licensed

    def withdraw(self, licensed: LicensedFile) -> None:
        """This object's print is over."""
        if self._permitted is licensed:
            self._permitted = None

    # Self-check --------------------------------------------------------------------------------------------

    def _troubles(self) -> dict[str, str | None]:
        hooks = {"queuing": self.on_queuing, "sending": self.on_sending}
        return self_check.troubles(self._printer, self, self._answers, hooks)

    def status(self) -> dict[str, Any]:
        """Policy and layers as they are now: `policy`, `layers` (name → in place), `ok`, `problem`."""
        troubles = self._troubles()
        found = [(layer, trouble) for layer, trouble in troubles.items() if trouble is not None]
        problem = Message(f"gate_{found[0][0]}", {"who": found[0][1]}).as_json() if found else None
        return {
            "policy": self.policy,
            "layers": {layer: trouble is None for layer, trouble in troubles.items()},
            "ok": not found,
            "problem": problem,
        }

    def may_print(self) -> Message | None:
        """Why no licensed job may begin or start now: something has got between the gate and the printer."""
        if connectors.is_foreign_connection(self._printer):
            return Message("connector_unusable")
        if self._card_takes_lines():
            return Message("card_written")
        for layer, trouble in self._troubles().items():
            if trouble is not None:
                _log.error("The layer “%s” of the gate isn't in place: %s.", layer, trouble)
                return Message(f"gate_{layer}", {"who": trouble})
        return None

    # Starts ------------------------------------------------------------------------------------------------

    def start_refusal(self, current: Any) -> Message | None:
        """Why the file that is OctoPrint's job may not be started; from now on it may when None."""
        if isinstance(current, LicensedFile):
            mine = current is self._permitted and not current.started and not current.revoked
            if mine and self._card_takes_lines():
                return Message("card_written")
            return None if mine else Message("restart_refused")
        if self.policy != policy.LICENSED_AND_FREE:
            # An own print that began before stays one: it may be running.
            return Message("start_refused")
        self._free = current
        return None

    def _card_takes_lines(self) -> bool:
        return self.card.written and self.card.takes(connectors.comm_of(self._printer))

    def refuses_start(self, comm: Any) -> bool:
        """Guard of `startPrint`. Without `comm` a connection prints whose lines can't be judged."""
        try:
            refusal = self.start_refusal(None if comm is None else lines.current_file(comm))
            # OctoPrint itself ignores a start while it prints; nobody has to be told.
            if refusal is not None and (comm is None or not comm.isPrinting()):
                self.tell(refusal)
            return refusal is not None
        except Exception:
            self._tell_of_failure()
            return True

    def refuses_transfer(self) -> bool:
        """Guard of `startFileTransfer`."""
        try:
            if self.policy == policy.LICENSED_AND_FREE:
                return False
            self.tell(Message("sd_refused"))
        except Exception:
            self._tell_of_failure()
        return True

    def commands_refusal(self, commands: list[Any]) -> Message | None:
        """Why these commands, typed or asked for by somebody, won't be sent."""
        verdicts = [policy.refusal(command) for command in commands if isinstance(command, str)]
        refused = next((verdict for verdict in verdicts if not verdict.allowed), None)
        if refused is None or (self.policy == policy.LICENSED_AND_FREE and self._permitted is None):
            return None
        return Message(refused.reason or "", {"command": refused.command})

    @property
    def current_file(self) -> Any:
        """The file that is OctoPrint's job; None without a connection or a job."""
        comm = connectors.comm_of(self._printer)
        return None if comm is None else lines.current_file(comm)

    # Lines -------------------------------------------------------------------------------------------------

    def on_queuing(self, comm, _phase, command, _type=None, gcode=None, *_args, tags=None, **_kwargs):
        """Hook `octoprint.comm.protocol.gcode.queuing`."""
        answer = self._guarded(comm, command, tags, leaving=False)
        if answer is None and gcode is not None and self._leaves_at_once(comm, gcode):
            return self._guarded(comm, command, tags, leaving=True)
        return answer

    def _leaves_at_once(self, comm: Any, gcode: str) -> bool:
        """Whether nobody is asked again before this command leaves."""
        try:
            return lines.jumps_queue(comm, gcode)
        except Exception:
            self._tell_of_failure()
            return True

    def on_sending(self, comm, _phase, command, *_args, tags=None, **_kwargs):
        """Hook `octoprint.comm.protocol.gcode.sending`."""
        return self._guarded(comm, command, tags, leaving=True)

    def _guarded(self, comm: Any, line: str, tags: set[str] | None, leaving: bool) -> Any:
        try:
            # Nearly every line is one of these, so that they cost next to nothing.
            current = lines.current_file(comm)
            if current is not None and tags is not None and lines.FILE_TAG in tags:
                if current is self._permitted:
                    if not current.revoked and not (leaving and (self._watch or "M" in line.upper())):
                        return None
                elif current is self._free and not (leaving and "M" in line.upper()):
                    return None
            answer = self._judge(comm, line, tags, leaving)
            return self._follow_writing(comm, line, tags) if leaving and answer is None else answer
        except Exception:
            self._tell_of_failure()
            return _SUPPRESS

    def _judge(self, comm: Any, line: str, tags: set[str] | None, leaving: bool) -> Any:
        source = lines.source_of(tags)
        if source is Source.JOB and lines.START_TAG in (tags or ()) and not leaving:
            # Where the guard of `startPrint` is missing, this is the first sight of a new start.
            self._free = None
        job = lines.job_of(comm, self._permitted, self._free)
        verdict = policy.judge(line, source, job)
        if verdict.reason is None and leaving and (source is Source.OTHER or job not in _RUNNING):
            verdict = self._turns.judge(line, time.monotonic())
        if verdict.reason is None:
            if leaving and self._watch is not None and job is policy.Job.LICENSED and source is Source.FILE:
                self._follow(line)
            return None
        if policy.frees(self.policy, job):
            if source is not Source.OTHER:
                self._free = lines.current_file(comm)
            return None
        if verdict.cancel and comm.isCancelling():
            return _SUPPRESS
        if verdict.cancel:
            # The sending phase runs without the job lock.
            lines.end_job(comm, within_file=source is Source.FILE and not leaving)
        elif source is Source.OTHER:
            lines.end_transfer(comm)
        values = {"command": verdict.command} if verdict.command else {}
        self.tell(Message(verdict.reason, values))
        return _SUPPRESS

    def _follow_writing(self, comm: Any, line: str, tags: set[str] | None) -> Any:
        try:
            begins = self.card.leaves(comm, line)
        except OSError as error:
            if lines.source_of(tags) is Source.OTHER:
                lines.end_transfer(comm)
            else:
                # What follows was meant for the card, not for the bed.
                lines.end_job(comm, within_file=False)
            self.tell(Message("card_not_kept", {"trouble": error.strerror or str(error)}))
            return _SUPPRESS
        # A licensed job that was permitted since the line was judged hasn't seen that writing begins.
        if begins and self._judge(comm, line, tags, leaving=True) is not None:
            self.card.ended()
            return _SUPPRESS
        return None

    def _follow(self, line: str) -> None:
        # What leaves at once does so in another thread.
        with self._following:
            self._follow_one(line)

    def _follow_one(self, line: str) -> None:
        watch, permitted, watcher = self._watch, self._permitted, self._watcher
        if watch is not None and watch.feeds(line):
            if permitted is None or watcher is None:
                raise RuntimeError("A licensed line leaves, but nobody keeps the journal.")
            try:
                watcher.part_begins(permitted.job_id)
            except BaseException:
                # Nothing has been fed yet; without a journal nothing may be.
                permitted.revoked = True
                raise
            self._watch = None

    def on_received(self, comm, line, *_args, **_kwargs):
        """Hook `octoprint.comm.protocol.gcode.received`: ends a print that was started at the printer."""
        try:
            self.card.answers(line)
            position = lines.card_position(line)
            if position is not None:
                self._follow_card(comm, position)
        except Exception:
            self._tell_of_failure()
        return line

    def _follow_card(self, comm: Any, position: int) -> None:
        before, self._card_position = self._card_position, position
        if position < before:
            self._card_free = False
        # Some firmwares tell the position of a print that is over, again and again.
        if position in (0, before) or self._card_free:
            return
        if policy.frees(self.policy, lines.job_of(comm, self._permitted, self._free)):
            # What has begun while own files may print runs to its end.
            self._card_free = True
        else:
            lines.stop_card_print(comm)
            self.tell(Message("card_stopped"))

    # Telling -----------------------------------------------------------------------------------------------

    def tell(self, message: Message, error: bool = False) -> None:
        """Log and show a refusal, unless that was done a moment ago."""
        now = time.monotonic()
        with self._lock:
            if now - self._told.get(message.key, -QUIET) < QUIET:
                return
            self._told[message.key] = now
        if error:
            _log.exception("Something was held back because judging it failed.")
        else:
            _log.warning("Refused: %s", message)
        self._notify(message)

    def _tell_of_failure(self) -> None:
        try:
            self.tell(Message("check_failed"), error=True)
        except Exception:
            _log.exception("A refusal couldn't be shown.")
