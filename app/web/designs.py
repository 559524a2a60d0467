"""Pages of print files."""

from typing import cast

import structlog
from flask import Blueprint, Response, abort, jsonify, render_template, request, url_for
from werkzeug.exceptions import RequestEntityTooLarge

from app.auth import access
from app.errors import problem
from app.extensions import db
from app.models import Design
from app.runtime import runtime
from app.services import designs, issuing
from app.services.sealing import Source
from app.services.storage import StorageFailed
from app.web import sentences

blueprint = Blueprint("designs", __name__, url_prefix="/designs")
log = structlog.get_logger()


@blueprint.get("")
@access.owner
def index() -> str:
    owner = access.the_owner()
    licenses = issuing.licenses_of(db.session, owner)
    counts: dict[int, int] = {}
    for license in licenses:
        counts[license.design_id] = counts.get(license.design_id, 0) + 1
    return render_template("designs/index.html", designs=designs.designs_of(db.session, owner), counts=counts)


@blueprint.get("/new")
@access.owner
def new() -> str:
    return render_template(
        "designs/new.html",
        limit=runtime().settings.max_upload,
        suffixes=",".join(designs.SUFFIXES),
        no_desk=None if runtime().settings.desk else sentences.refusal(designs.NoDesk()),
    )


@blueprint.put("/files")
@access.owner
def receive() -> tuple[Response, int] | Response:
    """Take the body as a print file named by the query, sealed while it comes in; constant memory."""
    limit = runtime().settings.max_upload
    try:
        design, is_new = designs.add_design(
            db.session,
            runtime().files,
            desk.recipient if (desk := runtime().settings.desk) else None,
            access.the_owner(),
            request.args.get("name", "")[:1000],
            cast(Source, request.stream),
            limit,
            request.content_length,
        )
    except RequestEntityTooLarge:
        return problem(413, sentences.refusal(designs.TooLarge(limit)))
    except designs.TooLarge as error:
        return problem(413, sentences.refusal(error))
    except designs.NoDesk as error:
        return problem(503, sentences.refusal(error))
    except designs.Interrupted as error:
        return problem(400, sentences.refusal(error))
    except (StorageFailed, OSError) as error:  # an object store that is away, a full disk
        log.error("storage_failed", error=str(error))
        return problem(503, sentences.refusal(StorageFailed(str(error))))
    except designs.UploadRefused as error:
        return problem(422, sentences.refusal(error))
    location = url_for("designs.show", id=design.id, known=None if is_new else 1)
    return jsonify(location=location, sha256=design.sha256), 201 if is_new else 200


@blueprint.get("/<row:id>")
@access.owner
def show(id: int) -> str:
    design = _mine(id)
    licenses = [x for x in issuing.licenses_of(db.session, access.the_owner()) if x.design_id == id]
    return render_template(
        "designs/show.html", design=design, licenses=licenses, known=request.args.get("known") == "1"
    )


@blueprint.get("/<row:id>/thumbnail.png")
@access.owner
def thumbnail(id: int) -> Response:
    png = _mine(id).thumbnail_png
    if png is None:
        abort(404)
    response = Response(png, content_type="image/png")
    response.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return response


def _mine(id: int) -> Design:
    design = designs.design_of(db.session, access.the_owner(), id)
    if design is None:
        abort(404)
    return design
