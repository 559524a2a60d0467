"""What a device may print, and the sealed files."""

import hashlib
import re
from typing import Any

from flask import Blueprint, Response, json, request

from app.api.problem import Problem
from app.api.v1 import ranges
from app.api.v1.documents import Malformed, answer
from app.auth import access
from app.extensions import db
from app.ids import parse_number
from app.models import License
from app.runtime import runtime
from app.services import delivery

blueprint = Blueprint("api_jobs", __name__, url_prefix="/api/v1/device/jobs")
USUAL = 20
"""Jobs on a page when nobody says how many."""
_ID = re.compile(r"0x[0-9a-f]{64}")


@blueprint.get("")
@access.device
def index() -> Response:
    """A page of jobs. Which copies are left is to be read from the chain."""
    limit = parse_number(request.args.get("limit", str(USUAL)))
    if limit is None or not 1 <= limit <= delivery.MOST_JOBS:
        raise Malformed(f"`limit` is a number from 1 to {delivery.MOST_JOBS}.")
    after = request.args.get("after")
    if after is not None and not _ID.fullmatch(after):
        raise Malformed("`after` is the `next` of another page.")
    try:
        page = delivery.jobs_page(db.session, access.the_device().wallet, after, limit)
    except delivery.CursorUnknown as error:
        raise Problem(400, "cursor_unknown", str(error)) from error
    left = delivery.remaining(db.session, page.licenses)
    found = answer(
        {"jobs": [_job(license, left.get(license.id)) for license in page.licenses], "next": page.next}
    )
    found.set_etag(hashlib.sha256(found.get_data()).hexdigest()[:32])
    found.headers["Cache-Control"] = "private, no-cache"
    found.make_conditional(request)
    return found


@blueprint.get("/<hash:id>/file")
@access.device
def file(id: str) -> Response:
    """The sealed file of a job, or a part of it."""
    license = delivery.license_for(db.session, access.the_device().wallet, id)
    if license is None:
        raise Problem(404, "job_unknown", "This printer has no such license here.")
    design = license.design
    if design.sealed_size is None or design.sealed_sha256 is None:
        raise Problem(503, "file_unavailable", "The owner has to seal this file before it can travel.")
    return ranges.sealed(runtime().files, design.storage_key, design.sealed_size, design.sealed_sha256)


def _job(license: License, remaining: int | None) -> dict[str, Any]:
    """Definition `job`."""
    design = license.design
    # Stored as canonical bytes; the same values in any spelling have the same canonical bytes.
    signed: bytes = license.signed_manifest or b""
    return {
        "id": license.id,
        "number": license.number,
        "owner": license.owner.name,
        "remaining": remaining,
        "filamentGrams": design.filament_g,
        "filamentMillimeters": design.filament_mm,
        "layerHeight": design.layer_height_mm,
        "manifest": json.loads(signed),
    }
