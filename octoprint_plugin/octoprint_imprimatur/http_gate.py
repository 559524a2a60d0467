"""The first layer of the gate: requests to OctoPrint's API that would start a print are told why not.

It isn't the boundary. What gets past it, or isn't asked for by HTTP, meets the guards and hooks of `gate`.
"""

from collections.abc import Callable
from typing import Any

import flask

from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.licensed_file import LicensedFile
from octoprint_imprimatur.messages import Message
from octoprint_imprimatur.policy import LICENSED_AND_FREE

_TRUE = (True, "true", "yes", "y", "1", 1)
_CARD = ("sdcard", "printer")
"""The printer's own card, as OctoPrint 1 and 2 call it."""


class HttpGate:
    """Judges requests by what `gate` would say to what they ask for."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._refusals: dict[str, Callable[[], Message | None]] = {
            "controlJob": self._job_refusal,
            "uploadGcodeFile": self._upload_refusal,
            "gcodeFileCommand": self._file_refusal,
            "printerCommand": self._command_refusal,
        }

    def before_request(self) -> Any:
        """Runs before each request of OctoPrint's API; an answer ends the request."""
        request = flask.request
        if request.method != "POST":
            return None
        refusal = self._refusals.get((request.endpoint or "").rpartition(".")[2])
        reason = refusal() if refusal is not None else None
        if reason is None:
            return None
        self._gate.tell(reason)
        from flask_babel import gettext

        text = reason.render(gettext)
        return flask.make_response(flask.jsonify(error=text, reason=reason.as_json()), 409)

    @property
    def _is_free(self) -> bool:
        return self._gate.policy == LICENSED_AND_FREE

    @staticmethod
    def _body() -> dict[str, Any]:
        body = flask.request.get_json(force=True, silent=True)
        return body if isinstance(body, dict) else {}

    def _job_refusal(self) -> Message | None:
        command = self._body().get("command")
        if command not in ("start", "restart"):
            return None
        if self._is_free and not isinstance(self._gate.current_file, LicensedFile):
            return None
        return Message("start_refused" if command == "start" else "restart_refused")

    def _upload_refusal(self) -> Message | None:
        if self._is_free:
            return None
        if (flask.request.view_args or {}).get("target") in _CARD:
            return Message("sd_refused")
        return Message("start_refused") if flask.request.values.get("print") in _TRUE else None

    def _file_refusal(self) -> Message | None:
        if self._is_free:
            return None
        body, where = self._body(), flask.request.view_args or {}
        command = body.get("command")
        on_card = where.get("target", where.get("storage")) in _CARD
        to_card = command in ("copy", "move") and body.get("storage") in _CARD
        if command == "uploadSd" or to_card or (command == "select" and on_card):
            return Message("sd_refused")
        wants_print = body.get("print") in _TRUE
        return Message("start_refused") if command in ("select", "slice") and wants_print else None

    def _command_refusal(self) -> Message | None:
        body = self._body()
        commands = body.get("commands")
        return self._gate.commands_refusal(commands if isinstance(commands, list) else [body.get("command")])
