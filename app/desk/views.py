"""The desk's one resource, and whether it is well."""

import re
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from flask import Blueprint, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException

from app.api.problem import Problem
from app.api.v1 import documents
from app.api.v1.documents import Malformed
from app.auth.access import DeviceRefused, authentic
from app.errors import problem
from app.services.consumption import ChainUnclear, Witnesses
from app.services.desk_records import Replayed
from app.services.key_desk import LATER, KeyDesk, KeyRequest
from imprimatur.chain import json_depth
from imprimatur.device_auth import NotAuthenticated
from imprimatur.key_answer import Refusal
from imprimatur.license_id import parse_id

blueprint = Blueprint("desk", __name__)
log = structlog.get_logger()

_ID = re.compile("0x[0-9a-f]{64}")
_KEY = re.compile("[0-9a-f]{64}")
MAX_COPIES = 65_535
STATUS = {
    Refusal.NOT_CONSUMED: 425,
    Refusal.NOT_FINAL: 425,
    Refusal.TOO_MANY_REQUESTS: 429,
    Refusal.CHAIN_UNAVAILABLE: 503,
    Refusal.NO_KEY: 503,
    Refusal.UNAVAILABLE: 503,
}
"""HTTP status of refusals that may end; all others are 403."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the views need."""

    keys: KeyDesk
    witnesses: Witnesses
    database: sa.Engine
    url: str
    """Where devices are told to reach it."""


def _desk() -> Desk:
    found: Desk = current_app.extensions["imprimatur_desk"]
    return found


@blueprint.post("/api/v1/keys")
def keys() -> Response:
    """A signed answer to a signed question: `keyRequest` → `keyAnswer` of the schema `device-api.v1`."""
    body = request.get_data(cache=False)
    signed = authentic(_desk().url, body)
    wanted = read_request(body)
    answer = _desk().keys.answer(signed, wanted, time.time())
    status = 200 if answer.refusal is None else STATUS.get(answer.refusal, 403)
    response = Response(answer.body, status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    if answer.retry_after is not None:
        response.headers["Retry-After"] = str(answer.retry_after)
    return response


def read_request(body: bytes) -> KeyRequest:
    """The request in a `keyRequest`. The schema takes longer to say whether it is one.

    Raises:
        Malformed: it isn't; says why.
    """
    try:
        document = json_depth.parse(body)
        id, copy, recipient = (document.pop(name) for name in ("id", "copy", "keyRecipient"))
        well_formed = not document and type(copy) is int and 1 <= copy <= MAX_COPIES
        if well_formed and _ID.fullmatch(id) and _KEY.fullmatch(recipient):
            return KeyRequest(parse_id(id), copy, bytes.fromhex(recipient))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # said in a sentence by the schema
    raise Malformed(f"The body isn't a key request: {documents.parsed(body, 'keyRequest')}")


@blueprint.get("/healthz")
def healthz() -> tuple[Response, int]:
    """States of database and chain; 503 when one is down. The keys are open, else the desk hadn't started."""
    database, chain = "ok", "ok"
    try:
        with _desk().database.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
    except sa.exc.SQLAlchemyError as error:
        log.error("database_unavailable", error=type(error).__name__)
        database = "down"
    try:
        _desk().witnesses.check()
    except ChainUnclear as error:
        log.warning("desk_chain_unclear", error=str(error))
        chain = "down"
    return jsonify(database=database, chain=chain), 200 if database == chain == "ok" else 503


@blueprint.app_errorhandler(Problem)
def _problem(error: Problem) -> Response:
    answer = problem(error.status, str(error), error.type)
    answer.headers.update(error.headers)
    return answer


@blueprint.app_errorhandler(NotAuthenticated)
@blueprint.app_errorhandler(Replayed)
def _not_authentic(error: Exception) -> Response:
    return _problem(DeviceRefused(str(error)))


@blueprint.app_errorhandler(ChainUnclear)
def _chain_unclear(error: Exception) -> Response:
    log.warning("desk_chain_unclear", error=str(error))
    detail = "The desk's chain node doesn't answer right now. Nothing is lost; ask again."
    return _problem(Problem(503, "chain_unavailable", detail, {"Retry-After": str(LATER)}))


@blueprint.app_errorhandler(Exception)
def _failed(error: Exception) -> Any:
    if isinstance(error, HTTPException):
        return problem(error.code or 500, str(error.description))
    log.error("unexpected_error", path=request.path, exc_info=error)
    return problem(500, "Something went wrong at the key desk. It was noted; ask again.")
