"""Answers when something isn't right: a page for people, problem+json (RFC 9457) for programs."""

from typing import Any

import sqlalchemy as sa
import structlog
from flask import Flask, Response, current_app, g, json, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from app.api.problem import Problem
from app.language import file_size
from app.language import translated as _
from imprimatur.address_book import AddressBookDamaged, NotDeployed
from imprimatur.chain.interface import MalformedData
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable

log = structlog.get_logger()
_CHAIN_DOWN = (NodeUnreachable, NodeRefused, NotDeployed, AddressBookDamaged, MalformedData)
"""No node, a confused one, or one without our contract: nothing that who asks could change."""
RETRY_AFTER = 5
"""Seconds after which a program may look whether what the portal needs is back."""


def init_app(app: Flask) -> None:
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(
        CSRFError, lambda _error: _answer(400, _("This page was open for too long. Reload it and try again."))
    )
    app.register_error_handler(HTTPException, _http_error)
    for kind in _CHAIN_DOWN:
        app.register_error_handler(kind, _chain_down)
    app.register_error_handler(sa.exc.OperationalError, _database_down)
    app.register_error_handler(sa.exc.TimeoutError, _database_down)
    app.register_error_handler(Exception, _unexpected)


def problem(status: int, detail: str, kind: str = "about:blank") -> Response:
    """A problem+json answer. `kind` is a path that names the problem for programs."""
    body = {"type": kind, "title": HTTP_STATUS_CODES.get(status, "Error"), "status": status, "detail": detail}
    return Response(json.dumps(body), status, content_type="application/problem+json")


def _problem(error: Problem) -> Response:
    answer = problem(error.status, str(error), error.type)
    answer.headers.update(error.headers)
    if error.status == 503:
        answer.headers.setdefault("Retry-After", str(RETRY_AFTER))
    return answer


def wants_json() -> bool:
    """Whether a program asks: the API, or one of our own scripts."""
    accepts = request.accept_mimetypes
    return request.path.startswith("/api/") or (
        accepts["application/json"] > accepts["text/html"] and not accepts.accept_html
    )


def _sentence(status: int) -> str:
    sentences = {
        400: _("The request wasn't understood."),
        401: _("Please sign in first."),
        403: _("You aren't allowed to do this."),
        404: _("There is nothing here, or it isn't yours to see."),
        405: _("This address can't be used like that."),
        413: _(
            "That is larger than %(limit)s, the most that the portal takes.",
            limit=file_size(request.max_content_length or 0),
        ),
        415: _("This address takes the file itself, not a form with it."),
        503: _("Something that this page needs doesn't answer right now."),
    }
    return sentences.get(status) or _(
        "Something went wrong on our side. It was noted; nothing of yours is lost."
    )


def _answer(status: int, detail: str) -> Any:
    if wants_json():
        return problem(status, detail)
    return render_template("error.html", status=status, sentence=detail), status


def _http_error(error: HTTPException) -> Any:
    status = error.code or 500
    if status < 400:
        return error
    answer = _answer(status, _sentence(status))
    if status == 405 and isinstance(answer, Response):
        answer.headers["Allow"] = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    return answer


def _chain_down(error: Exception) -> Any:
    log.warning("chain_unavailable", error=str(error), path=request.path)
    detail = _("The chain node doesn't answer right now. Nothing is lost; try again in a moment.")
    if wants_json():
        return _problem(Problem(503, "chain_unavailable", detail))
    return _answer(503, detail)


def _database_down(error: Exception) -> Any:
    """Locked for too long, full, or away."""
    log.error("database_unavailable", error=str(getattr(error, "orig", error)), path=request.path)
    if wants_json():
        return _problem(Problem(503, "unavailable", _sentence(503)))
    # The page would look for who is signed in: in the database.
    g._login_user = current_app.extensions["security"].login_manager.anonymous_user()
    return _answer(503, _sentence(503))


def _unexpected(error: Exception) -> Any:
    log.error("unexpected_error", path=request.path, exc_info=error)
    return _answer(500, _sentence(500))
