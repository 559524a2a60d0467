"""Pages of printers."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for

from app.auth import access
from app.extensions import db
from app.language import translated as _
from app.services import issuing, printers
from app.services.addresses import InvalidAddress
from app.web import sentences
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


def _page(error: ImprimaturError | None = None, name: str = "", address: str = "") -> str:
    owner = access.the_owner()
    counts: dict[str, int] = {}
    for license in issuing.licenses_of(db.session, owner):
        counts[license.printer_address] = counts.get(license.printer_address, 0) + 1
    return render_template(
        "printers.html",
        printers=printers.printers_of(db.session, owner),
        counts=counts,
        name=name[:200],
        address=address[:200],
        error=None if error is None else sentences.refusal(error),
        wrong="name" if isinstance(error, printers.NameMissing) else "address",
    )
