"""What a printer asks: its licenses, and their files. Every request is signed with the printer's own key."""

import base64
from typing import Any

from flask import Blueprint, Response, abort, jsonify, send_file

from app.auth import access
from app.extensions import db
from app.models import License
from app.runtime import runtime
from app.services import delivery

blueprint = Blueprint("device", __name__, url_prefix="/api/v1/device")


@blueprint.get("/licenses")
@access.device
def licenses() -> Response:
    """Licenses of the signing wallet that stand on the chain. Copies left are to be read there."""
    found = delivery.licenses_for(db.session, access.the_device())
    return jsonify(licenses=[_as_json(license) for license in found])


@blueprint.get("/licenses/<id>/file")
@access.device
def file(id: str) -> Response:
    """The licensed file's bytes."""
    license = delivery.license_for(db.session, access.the_device(), id)
    if license is None:
        abort(404)
    design = license.design
    return send_file(
        runtime().files.path(design.storage_key),
        mimetype="application/octet-stream",
        as_attachment=True,
        download_name=design.file_name,
        etag=design.sha256,
        last_modified=None,
        conditional=True,
    )


def _as_json(license: License) -> dict[str, Any]:
    design = license.design
    thumbnail = design.thumbnail_png
    return {
        "id": license.id,
        "number": license.number,
        "owner_name": license.owner.name,
        "file": {
            "name": design.file_name,
            "size": design.size,
            "sha256": design.sha256,
            "material": design.material,
            "print_time_s": design.print_time_s,
            "filament_mm": design.filament_mm,
            "filament_g": design.filament_g,
            "layer_height_mm": design.layer_height_mm,
            "thumbnail_png": base64.b64encode(thumbnail).decode() if thumbnail else None,
        },
    }
