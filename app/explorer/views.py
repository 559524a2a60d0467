"""Events by license number, and the life of one license."""

import time
from typing import Any

from flask import Blueprint, abort, render_template, request

from app.auth import access
from app.extensions import db
from app.ids import parse_number
from app.runtime import runtime
from app.services.explorer import MAX_SEARCH, Kind
from imprimatur.address_book import NotDeployed
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from imprimatur.license_id import InvalidLicenseNumber, owner_of, parse_id

blueprint = Blueprint("explorer", __name__, url_prefix="/explorer")
_KINDS = {"issued": Kind.ISSUED, "used": Kind.USED}


@blueprint.get("")
@access.public
def index() -> Any:
    """`?q=` license number or id, `?event=` issued or used, `?page=`."""
    search = request.args.get("q", "").strip()[:MAX_SEARCH]
    event = request.args.get("event", "")
    event = event if event in _KINDS else ""
    number = parse_number(request.args.get("page")) or 1
    status, page, contract = 200, None, None
    try:
        contract = runtime().chain.licenses()
        page = runtime().explorer.page(db.session, contract, search, _KINDS.get(event), number)
    except (NodeUnreachable, NodeRefused, NotDeployed):
        status = 503
    return render_template(
        "explorer/index.html", page=page, search=search, event=event, contract=contract
    ), status


@blueprint.get("/licenses/<id>")
@access.public
def license(id: str) -> Any:
    """One license's facts and everything that happened to it."""
    try:
        number = parse_id(id)
    except InvalidLicenseNumber:
        abort(404)
    try:
        contract = runtime().chain.licenses()
        on_chain = contract.license_of(number)
        entries = runtime().explorer.of_license(db.session, contract, number)
    except (NodeUnreachable, NodeRefused, NotDeployed):
        return render_template("explorer/index.html", page=None, search=id, event="", contract=None), 503
    if on_chain is None:
        abort(404)
    return render_template(
        "explorer/license.html",
        id=id,
        owner=owner_of(number),
        on_chain=on_chain,
        entries=entries,
        clock=time.time(),
    )
