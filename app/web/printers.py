"""Pages of printers: who may print, which devices act for them, who is invited."""

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from app.auth import access
from app.extensions import db
from app.language import translated as _
from app.models import Device, Invitation
from app.models.base import now
from app.runtime import runtime
from app.services import devices, invitations, issuing, printers
from app.services.addresses import InvalidAddress
from app.web import sentences
from imprimatur.device.invitation import invitation_link
from imprimatur.errors import ImprimaturError

blueprint = Blueprint("printers", __name__, url_prefix="/printers")


@blueprint.get("")
@access.owner
def index() -> str:
    return _page()


@blueprint.post("")
@access.owner
def add() -> Any:
    name, address = request.form.get("name", ""), request.form.get("address", "")
    try:
        printer = printers.add_printer(db.session, access.the_owner(), name, address)
    except (printers.PrinterRefused, InvalidAddress) as error:
        return _page(error, name, address), 422
    flash(_("%(name)s was added.", name=printer.name), "success")
    return redirect(url_for("printers.index"))


@blueprint.post("/invitations")
@access.owner
def invite() -> Any:
    """Shows the code, this once: only its hash is kept, so there is no page to lead to."""
    name = request.form.get("printer", "")
    try:
        invitation, code = invitations.invite(db.session, access.the_owner(), name, now())
    except (printers.NameMissing, invitations.TooManyInvitations) as error:
        return _page(error, invited=name), 422
    return _invitation_page(invitation, code), 201


@blueprint.post("/invitations/<row:id>/withdraw")
@access.owner
def withdraw(id: int) -> Any:
    if invitations.withdraw(db.session, access.the_owner(), id):
        flash(_("The invitation was withdrawn; its code does nothing any more."), "success")
    else:
        flash(_("This invitation is gone already: it was used or withdrawn."), "warning")
    return redirect(url_for("printers.index"))


@blueprint.post("/devices/<address:address>/disable")
@access.owner
def disable(address: str) -> Any:
    device = _set_disabled(address, True)
    flash(_("The portal no longer listens to this device of %(name)s.", name=device.printer.name), "success")
    return redirect(url_for("printers.index"))


@blueprint.post("/devices/<address:address>/enable")
@access.owner
def enable(address: str) -> Any:
    device = _set_disabled(address, False)
    flash(_("The portal listens to this device of %(name)s again.", name=device.printer.name), "success")
    return redirect(url_for("printers.index"))


def _set_disabled(address: str, disabled: bool) -> Device:
    device = devices.set_disabled(db.session, access.the_owner(), address, disabled, now())
    if device is None:
        abort(404)
    return device


def _invitation_page(invitation: Invitation, code: str) -> str:
    import segno

    portal = runtime().settings.public_url
    code_picture = segno.make_qr(invitations.ticket(portal, code), error="M")
    picture = code_picture.svg_data_uri(border=4, dark="black", light="white", omitsize=True)
    return render_template(
        "invitation.html",
        invitation=invitation,
        link=invitation_link(portal, code),
        code=code,
        portal=portal,
        picture=picture,
    )


def _page(
    error: ImprimaturError | None = None, name: str = "", address: str = "", invited: str | None = None
) -> str:
    """The page; `invited`: the name in the form for invitations, when that form went wrong."""
    owner = access.the_owner()
    counts: dict[str, int] = {}
    for license in issuing.licenses_of(db.session, owner):
        counts[license.printer_address] = counts.get(license.printer_address, 0) + 1
    by_printer: dict[int, list[Device]] = {}
    for device in devices.devices_of(db.session, owner):
        by_printer.setdefault(device.printer_id, []).append(device)
    return render_template(
        "printers.html",
        printers=printers.printers_of(db.session, owner),
        counts=counts,
        devices=by_printer,
        invitations=invitations.open_invitations(db.session, owner, now()),
        name=name[:200],
        address=address[:200],
        invited=(invited or "")[:200],
        error=None if error is None else sentences.refusal(error),
        wrong=_form_of(error, invited),
    )


def _form_of(error: ImprimaturError | None, invited: str | None) -> str | None:
    """The field that is to blame."""
    if invited is not None:
        return "printer"
    return "name" if isinstance(error, printers.NameMissing) else "address"
