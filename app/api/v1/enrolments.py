"""A device comes in by an owner's invitation."""

from flask import Blueprint, Response

from app.api.problem import Problem
from app.api.v1.documents import Malformed, answer, received
from app.api.v1.portal import portal_document
from app.auth import access
from app.auth.access import DeviceRefused
from app.extensions import db
from app.models.base import now
from app.runtime import runtime
from app.services import devices
from app.services.addresses import InvalidAddress, checked_address
from imprimatur.errors import ImprimaturError
from imprimatur.sealing.keys import InvalidKey, check_public_key

blueprint = Blueprint("api_enrolments", __name__, url_prefix="/api/v1/enrolments")
_PROBLEMS: dict[type[ImprimaturError], tuple[int, str]] = {
    devices.InvitationUnknown: (404, "invitation_unknown"),
    devices.InvitationExpired: (410, "invitation_expired"),
    devices.InvitationUsed: (409, "invitation_used"),
    devices.NotBound: (409, "not_bound"),
    devices.DeviceDisabled: (403, "device_disabled"),
}


@blueprint.post("")
@access.candidate
def create() -> Response:
    """Let the device in that signed the request; the same again is answered again."""
    document = received("enrolment")
    try:
        wallet = checked_address(document["wallet"])
    except InvalidAddress as error:
        raise Malformed(f"The body isn't valid at $.wallet: {error}") from error
    try:
        check_public_key(bytes.fromhex(document["encryptionKey"]))
    except InvalidKey as error:
        raise Malformed(f"The body isn't valid at $.encryptionKey: {error}") from error
    # First: an enrolment that can't be answered isn't made.
    portal = portal_document()
    try:
        done = devices.enrol(
            db.session,
            runtime().chain,
            access.the_candidate(),
            document["invitation"],
            wallet,
            document["encryptionKey"],
            now(),
        )
    except devices.Replayed as error:
        raise DeviceRefused(str(error)) from error
    except tuple(_PROBLEMS) as error:
        raise Problem(*_PROBLEMS[type(error)], str(error)) from error
    return answer(
        {
            "device": done.device,
            "wallet": done.wallet,
            "printer": done.printer,
            "owner": done.owner,
            "portal": portal,
        },
        201 if done.new else 200,
    )
