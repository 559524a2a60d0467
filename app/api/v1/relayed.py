"""Signed uses and failures that the portal carries to the chain for devices without coins."""

import time

from flask import Blueprint, Response, url_for

from app.api.problem import Problem
from app.api.v1.documents import answer, received
from app.auth import access
from app.extensions import db
from app.models import RelayEntry, RelayKind
from app.runtime import runtime
from app.services import relay

blueprint = Blueprint("api_relayed", __name__, url_prefix="/api/v1/device")


@blueprint.post("/uses")
@access.device
def use() -> Response:
    """Carry a use to the chain."""
    return _carried(RelayKind.USE)


@blueprint.get("/uses/<hash:digest>")
@access.device
def use_state(digest: str) -> Response:
    """Where a use stands."""
    return _state(RelayKind.USE, digest)


@blueprint.post("/failures")
@access.device
def failure() -> Response:
    """Carry a failed print's report to the chain."""
    return _carried(RelayKind.FAILURE)


@blueprint.get("/failures/<hash:digest>")
@access.device
def failure_state(digest: str) -> Response:
    """Where a failed print's report stands."""
    return _state(RelayKind.FAILURE, digest)


def _carried(kind: RelayKind) -> Response:
    document, device = received(kind), access.the_device().address
    licenses, limits = runtime().chain.licenses(), runtime().settings.relay
    try:
        entry, new = relay.accept(db.session, licenses, device, kind, document, time.time(), limits)
    except relay.RelayRefused as error:
        headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        raise Problem(error.status, error.code, str(error), headers) from error
    place = url_for(f"api_relayed.{kind}_state", digest=entry.digest)
    return answer(_relayed(entry), 202 if new else 200, {"Location": place})


def _state(kind: RelayKind, digest: str) -> Response:
    entry = relay.entry_of(db.session, access.the_device().address, kind, digest)
    if entry is None:
        raise Problem(404, "message_unknown", "You have sent no such message, or the portal doesn't keep it.")
    return answer(_relayed(entry))


def _relayed(entry: RelayEntry) -> dict[str, object]:
    """Definition `relayed`."""
    return {
        "digest": entry.digest,
        "state": entry.state,
        "reason": entry.reason,
        "transaction": entry.transaction_hash,
        "block": entry.block_number,
    }
