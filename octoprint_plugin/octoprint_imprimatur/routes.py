"""What the plugin's routes have in common: each declares who may use it, bodies are small, refusals are
sentences."""

import functools
import logging
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import flask
import octoprint.plugin
from octoprint.access.permissions import Permissions

from imprimatur.chain.signers import SignerUnusable
from octoprint_imprimatur.messages import Message, Refused

STATUS = "STATUS"
PRINT = "PLUGIN_IMPRIMATUR_PRINT"
REPORT = "PLUGIN_IMPRIMATUR_REPORT"
MANAGE = "PLUGIN_IMPRIMATUR_MANAGE"
LARGEST_BODY = 32 << 10
"""Bytes."""
_log = logging.getLogger("octoprint.plugins.imprimatur.routes")
View = TypeVar("View", bound=Callable[..., Any])


class Routes(octoprint.plugin.BlueprintPlugin):
    """Mixed into the plugin, which has `service`, or in `not_started` the reason why there is none."""

    service: Any
    not_started: Message

    def is_blueprint_protected(self) -> bool:
        return True

    def is_blueprint_csrf_protected(self) -> bool:
        return True

    def is_api_protected(self) -> bool:
        return True


def route(rule: str, method: str, permission: str, *, fresh_login: bool = False) -> Callable[[View], View]:
    """A view under /plugin/imprimatur for those who have this permission; refusals become answers (409).

    Args:
        fresh_login: whoever is logged in must have entered the password lately.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(plugin: Routes, *args: Any, **kwargs: Any) -> Any:
            with getattr(Permissions, permission).require(403):
                if fresh_login:
                    _require_fresh_login()
                if (flask.request.content_length or 0) > LARGEST_BODY:
                    flask.abort(413)
                if plugin.service is None:
                    return refusal(plugin.not_started)
                try:
                    return view(plugin, *args, **kwargs)
                except Refused as error:
                    return refusal(error.message)
                except SignerUnusable as error:
                    # A token was pulled out between two questions.
                    return refusal(Message("key_unusable", {"reason": str(error)}))
                except sqlite3.Error as error:
                    _log.exception("The journal can't be read or written.")
                    return refusal(Message("disk_trouble", {"trouble": str(error)}))

        guarded.permission, guarded.fresh_login = permission, fresh_login  # type: ignore[attr-defined]
        decorated: View = octoprint.plugin.BlueprintPlugin.route(rule, methods=[method])(guarded)
        return decorated

    return decorate


def _require_fresh_login() -> None:
    from octoprint.server.util.flask import ensure_credentials_checked_recently

    ensure_credentials_checked_recently()


def refusal(message: Message, status: int = 409) -> flask.Response:
    """A sentence in the language of whoever asked, and its parts for pages."""
    from flask_babel import gettext

    text = message.render(gettext)
    return flask.make_response(flask.jsonify(error=text, reason=message.as_json()), status)


def body() -> dict[str, Any]:
    """The JSON object that was sent, empty when nothing was. 400 for anything else: what somebody confirmed
    mustn't be overlooked."""
    if not flask.request.get_data():
        return {}
    sent = flask.request.get_json(silent=True)
    if not isinstance(sent, dict):
        flask.abort(400, description="That isn't a JSON object")
    return sent


def text(sent: dict[str, Any], name: str, longest: int = 2000, *, optional: bool = False) -> str:
    """A text member of what was sent; 400 when it is missing, empty, something else or too long."""
    value = sent.get(name)
    if optional and (value is None or value == ""):
        return ""
    if not isinstance(value, str) or not value.strip() or len(value) > longest or not _is_writable(value):
        flask.abort(400, description=f"{name} isn't given as it has to be")
    return value.strip()


def _is_writable(value: str) -> bool:
    """Neither a zero byte, at which paths end, nor half of a character."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def may(permission: str) -> bool:
    """Whether whoever asks has this permission."""
    return bool(getattr(Permissions, permission).can())


def user() -> str | None:
    from octoprint.server import current_user

    return current_user.get_name() if current_user else None
