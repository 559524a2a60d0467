"""How prints ended, for the owner's records. The chain decides about copies, not this."""

from flask import Blueprint, Response

from app.api.problem import Problem
from app.api.v1.documents import answer, received
from app.auth import access
from app.extensions import db
from app.services import delivery

blueprint = Blueprint("api_outcomes", __name__, url_prefix="/api/v1/device/outcomes")


@blueprint.post("")
@access.device
def create() -> Response:
    """Keep an outcome; the same again is answered again."""
    document, device = received("outcome"), access.the_device()
    try:
        kept = delivery.report_outcome(db.session, device.address, device.wallet, document)
    except delivery.OutcomeKnown as error:
        raise Problem(409, "outcome_known", str(error)) from error
    if kept is None:
        raise Problem(404, "job_unknown", "This printer has no such license here.")
    return answer(document, 201 if kept[1] else 200)
