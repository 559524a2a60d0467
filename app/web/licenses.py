"""Pages of licenses: order one, watch it reach the chain, see its copies go."""

import hashlib
import time
from datetime import UTC, date, datetime
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from app.auth import access
from app.extensions import db
from app.ids import parse_number
from app.models import IntentState, License
from app.runtime import runtime
from app.services import accounts, designs, issuing, printers
from app.services.explorer import Entry
from app.web import sentences
from imprimatur.address_book import NotDeployed
from imprimatur.chain import print_license
from imprimatur.chain.outbox.records import SETTLED
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import InvalidLicenseNumber, parse_id

blueprint = Blueprint("licenses", __name__, url_prefix="/licenses")


@blueprint.get("")
@access.owner
def index() -> str:
    rows = issuing.licenses_of(db.session, access.the_owner())
    return render_template("licenses/index.html", licenses=[(row, _on_chain(row)) for row in rows])


@blueprint.get("/new")
@access.owner
def new() -> str:
    return _form()


@blueprint.post("")
@access.owner
def create() -> Any:
    owner = access.the_owner()
    try:
        terms = _terms()
        license = issuing.order_license(db.session, runtime().chain, owner, terms, _today())
    except (issuing.OrderRefused, InvalidLicenseNumber) as error:
        return _form(error), 422
    return redirect(url_for("licenses.show", id=license.id), 303)


@blueprint.get("/<id>")
@access.owner
def show(id: str) -> str:
    return render_template("licenses/show.html", **_facts(_mine(id)))


@blueprint.get("/<id>/state")
@access.owner
def state(id: str) -> Any:
    """The part of the page that changes, for htmx; nothing when the page has `seen` it."""
    facts = _facts(_mine(id))
    if request.args.get("seen") == facts["version"]:
        return "", 204  # nothing to swap: what the reader points at stays where it is
    return render_template("licenses/_state.html", **facts)


@blueprint.post("/<id>/again")
@access.owner
def again(id: str) -> Any:
    license = _mine(id)
    try:
        issuing.order_again(db.session, runtime().chain, access.the_owner(), license)
    except issuing.PortalNotAllowed as error:
        flash(sentences.refusal(error), "danger")
    return redirect(url_for("licenses.show", id=license.id), 303)


def _mine(id: str) -> License:
    license = issuing.license_of(db.session, access.the_owner(), id)
    if license is None:
        abort(404)
    return license


def _today() -> date:
    return datetime.now(UTC).date()


def _terms() -> issuing.Terms:
    """The posted order. Another owner's design or printer is as unknown as none."""
    owner, form = access.the_owner(), request.form
    design_id, printer_id = parse_number(form.get("design")), parse_number(form.get("printer"))
    design = designs.design_of(db.session, owner, design_id) if design_id else None
    printer = printers.printer_of(db.session, owner, printer_id) if printer_id else None
    if design is None or printer is None:
        abort(404)
    copies = form.get("copies", "").strip()
    day = form.get("last_day", "").strip()
    try:
        last_day = date.fromisoformat(day) if day else None
    except ValueError as error:
        raise issuing.DayOutOfRange(day) from error
    return issuing.Terms(
        number=form.get("number", ""),
        design=design,
        printer=printer,
        copies=int(copies) if copies.isascii() and copies.isdecimal() and len(copies) < 7 else 0,
        last_day=last_day,
    )


def _form(error: ImprimaturError | None = None) -> str:
    owner, given = access.the_owner(), request.values
    return render_template(
        "licenses/new.html",
        owner=owner,
        designs=designs.designs_of(db.session, owner),
        printers=printers.printers_of(db.session, owner),
        permission=accounts.permission_of(db.session, runtime().chain, owner),
        chosen_design=parse_number(given.get("design")),
        chosen_printer=parse_number(given.get("printer")),
        number=given.get("number") or issuing.suggest_number(db.session, owner, _today().year),
        copies=given.get("copies", "1")[:10],
        last_day=given.get("last_day", "")[:10],
        today=_today(),
        most=issuing.MAX_COPIES,
        last_possible=issuing.LAST_DAY,
        error=None if error is None else sentences.refusal(error),
        wrong=_field_of(error),
    )


def _field_of(error: ImprimaturError | None) -> str | None:
    match error:
        case InvalidLicenseNumber() | issuing.NumberTaken():
            return "number"
        case issuing.CopiesOutOfRange():
            return "copies"
        case issuing.DayOutOfRange():
            return "last_day"
    return None


def _on_chain(license: License) -> print_license.License | None:
    """The license as the chain has it; None when it isn't there or the node is down."""
    if license.intent.state is not IntentState.DONE:
        return None
    try:
        return runtime().chain.licenses().license_of(parse_id(license.id))
    except (NodeUnreachable, NodeRefused, NotDeployed):
        return None


def _facts(license: License) -> dict[str, Any]:
    """Everything on a license's page."""
    entries: list[Entry] | None = []
    if license.intent.state is IntentState.DONE:
        try:
            entries = runtime().explorer.of_license(
                db.session, runtime().chain.licenses(), parse_id(license.id)
            )
        except (NodeUnreachable, NodeRefused, NotDeployed):
            entries = None
    intent, on_chain = license.intent, _on_chain(license)
    seen = (intent.state, intent.reason, intent.transaction_hash, on_chain, entries and len(entries))
    return {
        "license": license,
        "intent": intent,
        "on_chain": on_chain,
        "entries": entries,
        "reason": sentences.reason(intent),
        "version": hashlib.sha256(repr(seen).encode()).hexdigest()[:16],
        "clock": time.time(),
        "pending": intent.state not in SETTLED,
    }
