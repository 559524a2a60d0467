"""What a device has to know of a portal before it trusts it with anything."""

from typing import Any

from flask import Blueprint, Response

from app.api.problem import Problem
from app.api.v1.documents import answer
from app.auth import access
from app.runtime import runtime
from imprimatur.chain import node

blueprint = Blueprint("api_portal", __name__, url_prefix="/api/v1")


@blueprint.get("/portal")
@access.public
def show() -> Response:
    """The contract and the key desk of this portal."""
    return answer(portal_document())


def portal_document() -> dict[str, Any]:
    """Definition `portal`. Raises Problem as long as the desk has no keys, NodeUnreachable, NotDeployed."""
    settings = runtime().settings
    if settings.desk is None:
        raise Problem(503, "no_desk", "This portal has no key desk yet. Try again later.")
    licenses = runtime().chain.licenses()
    return {
        "version": 1,
        "chainId": node.chain_id(licenses.rpc),
        "contract": licenses.address,
        "since": licenses.since,
        "deskUrl": settings.desk_url,
        "deskAddress": settings.desk.address,
    }
