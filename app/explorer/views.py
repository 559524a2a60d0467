"""Events by license, party, file or transaction, and the life of one license."""

import time
from typing import Any

from flask import Blueprint, abort, render_template, request

from app.auth import access
from app.extensions import db
from app.ids import parse_number
from app.models.base import now
from app.services import explorer, picture
from app.services.explorer import MAX_SEARCH, Kind
from app.services.picture import Freshness
from imprimatur.license_id import InvalidLicenseNumber, format_id, owner_of, parse_id

TIMELINE = 200
"""Events on a license's page; the overview has all of them, page by page."""
NAMED = 5
"""Licenses whose copies don't add up that are named."""

blueprint = Blueprint("explorer", __name__, url_prefix="/explorer")
_KINDS = {"issued": Kind.ISSUED, "used": Kind.USED, "failed": Kind.FAILED}


@blueprint.get("")
@access.public
def index() -> Any:
    """`?q=` what to look for, `?event=` issued, used or failed, `?page=`."""
    search = request.args.get("q", "").strip()[:MAX_SEARCH]
    event = request.args.get("event", "")
    event = event if event in _KINDS else ""
    number = parse_number(request.args.get("page")) or 1
    standing = picture.standing(db.session, now())
    if standing.freshness is Freshness.EMPTY:
        return _nothing_read(standing, search, event)
    return render_template(
        "explorer/index.html",
        page=explorer.page(db.session, search, _KINDS.get(event), number),
        search=search,
        event=event,
        standing=standing,
        copies=picture.conservation(db.session),
        unbalanced=picture.unbalanced(db.session, NAMED),
    )


@blueprint.get("/licenses/<id>")
@access.public
def license(id: str) -> Any:
    """One license's facts and everything that happened to it."""
    try:
        number = parse_id(id)
    except InvalidLicenseNumber:
        abort(404)
    id = format_id(number)
    standing = picture.standing(db.session, now())
    on_chain = picture.license(db.session, id)
    if on_chain is None:
        if standing.freshness is Freshness.CURRENT:
            abort(404)
        return _nothing_read(standing, id, "")
    return render_template(
        "explorer/license.html",
        id=id,
        owner=owner_of(number),
        on_chain=on_chain,
        entries=explorer.of_license(db.session, id, TIMELINE),
        timeline_is_full=TIMELINE,
        standing=standing,
        clock=time.time(),
    )


def _nothing_read(standing: picture.Standing, search: str, event: str) -> Any:
    """What is asked for may stand on the chain, but nobody has read it yet."""
    return render_template(
        "explorer/index.html", page=None, search=search, event=event, standing=standing
    ), 503
