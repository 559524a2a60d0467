"""The gate: only a licensed job reaches the printer.

The boundary are the hooks that see each line before it is queued and before it leaves (order 99999: after
every other plugin's). The HTTP layer in front of it refuses early, so that the operator learns why. OctoPrint
sends a line when a hook raises; therefore everything is caught here and held back.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import flask

from octoprint_imprimatur import policy
from octoprint_imprimatur.compat import lines
from octoprint_imprimatur.licensed_file import LicensedFile
from octoprint_imprimatur.messages import Message
from octoprint_imprimatur.policy import Source

ORDER = 99999
QUIET = 5.0
"""Seconds in which the same refusal is neither logged nor shown again."""
_TRUE = (True, "true", "yes", "y", "1", 1)
_SUPPRESS = (None,)
_log = logging.getLogger("octoprint.plugins.imprimatur.gate")


class Watcher(Protocol):
    """Told when the copy of the running job is about to be used up."""

    def part_begins(self, job_id: str) -> None:
        """The next line feeds material. Returns when that is on disk; raises when it can't be."""


class Gate:
    """Holds the one permitted file and judges every line and every request."""

    def __init__(self, notify: Callable[[Message], None]) -> None:
        self._notify = notify
        self._watcher: Watcher | None = None
        self._permitted: LicensedFile | None = None
        self._watch: policy.ExtrusionWatch | None = None
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def watch_with(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def permit(self, licensed: LicensedFile) -> None:
        """From now on this object, and no other, may print."""
        self._watch = policy.ExtrusionWatch()
        self._permitted = licensed

    def withdraw(self, licensed: LicensedFile) -> None:
        """This object's print is over."""
        if self._permitted is licensed:
            self._permitted = None

    # Lines -------------------------------------------------------------------------------------------------

    def on_queuing(self, comm, _phase, command, *_args, tags=None, **_kwargs):
        """Hook `octoprint.comm.protocol.gcode.queuing`."""
        return self._guarded(comm, command, tags, leaving=False)

    def on_sending(self, comm, _phase, command, *_args, tags=None, **_kwargs):
        """Hook `octoprint.comm.protocol.gcode.sending`."""
        return self._guarded(comm, command, tags, leaving=True)

    def _guarded(self, comm: Any, line: str, tags: set[str] | None, leaving: bool) -> Any:
        try:
            return self._judge(comm, line, tags, leaving)
        except Exception:
            try:
                self._tell(Message("check_failed"), error=True)
            except Exception:
                _log.exception("A refusal couldn't be shown.")
            return _SUPPRESS

    def _judge(self, comm: Any, line: str, tags: set[str] | None, leaving: bool) -> Any:
        source = lines.source_of(tags)
        job = lines.job_of(comm, self._permitted)
        verdict = policy.judge(line, source, job)
        if verdict.reason is None:
            if leaving and self._watch is not None and job is policy.Job.LICENSED and source is Source.FILE:
                self._follow(line)
            return None
        if verdict.cancel and comm.isCancelling():
            return _SUPPRESS
        if verdict.cancel:
            # The sending phase runs without the job lock.
            lines.end_job(comm, within_file=source is Source.FILE and not leaving)
        elif lines.source_of(tags) is Source.OTHER:
            lines.end_transfer(comm)
        values = {"command": verdict.command} if verdict.command else {}
        self._tell(Message(verdict.reason, values))
        return _SUPPRESS

    def _follow(self, line: str) -> None:
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

    def _tell(self, message: Message, error: bool = False) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._told.get(message.key, -QUIET) < QUIET:
                return
            self._told[message.key] = now
        if error:
            _log.exception("A line was held back because judging it failed.")
        else:
            _log.warning("Refused: %s", message)
        self._notify(message)

    # Requests ----------------------------------------------------------------------------------------------

    def before_request(self) -> Any:
        """Runs before each request of OctoPrint's API; an answer ends the request."""
        request = flask.request
        if request.method != "POST":
            return None
        name = (request.endpoint or "").rpartition(".")[2]
        reason = None
        if name == "controlJob":
            reason = self._job_refusal()
        elif name == "uploadGcodeFile":
            reason = self._upload_refusal()
        elif name == "gcodeFileCommand":
            reason = self._file_refusal()
        elif name == "printerCommand":
            reason = self._command_refusal()
        if reason is None:
            return None
        self._tell(reason)
        from flask_babel import gettext

        text = reason.render(gettext)
        return flask.make_response(flask.jsonify(error=text, reason=reason.as_json()), 409)

    @staticmethod
    def _body() -> dict[str, Any]:
        body = flask.request.get_json(force=True, silent=True)
        return body if isinstance(body, dict) else {}

    def _job_refusal(self) -> Message | None:
        command = self._body().get("command")
        if command == "start":
            return Message("start_refused")
        return Message("restart_refused") if command == "restart" else None

    def _upload_refusal(self) -> Message | None:
        if (flask.request.view_args or {}).get("target") == "sdcard":
            return Message("sd_refused")
        return Message("start_refused") if flask.request.values.get("print") in _TRUE else None

    def _file_refusal(self) -> Message | None:
        body = self._body()
        command = body.get("command")
        on_card = (flask.request.view_args or {}).get("target") == "sdcard"
        if command == "uploadSd" or (command == "select" and on_card):
            return Message("sd_refused")
        wants_print = body.get("print") in _TRUE
        return Message("start_refused") if command in ("select", "slice") and wants_print else None

    def _command_refusal(self) -> Message | None:
        body = self._body()
        commands = body.get("commands") if isinstance(body.get("commands"), list) else [body.get("command")]
        for command in commands:
            verdict = policy.refusal(command) if isinstance(command, str) else policy.ALLOWED
            if verdict.reason is not None:
                return Message(verdict.reason, {"command": verdict.command})
        return None
