"""Pages of licenses: order one, watch it reach the chain, see its copies go."""

import hashlib
import time
from datetime import UTC, date, datetime
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from app.auth import access
from app.extensions import db
from app.ids import parse_number
from app.language import translated as _
from app.models import IntentState, License
from app.models.base import now
from app.runtime import runtime
from app.services import accounts, delivery_stop, designs, explorer, issuing, picture, printers
from app.web import sentences
from imprimatur.chain.outbox.records import SETTLED
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import InvalidLicenseNumber

TIMELINE = 200
"""Events on a license's page; the explorer has all of them."""
USUAL_FAILURES = 1
"""Failed prints given back unless the owner says otherwise: a sealed file costs a copy before it is seen."""

blueprint = Blueprint("licenses", __name__, url_prefix="/licenses")


@blueprint.get("")
@access.owner
def index() -> str:
    rows = issuing.licenses_of(db.session, access.the_owner())
    issued = [row.id for row in rows if row.intent.state is IntentState.DONE]
    found = picture.licenses(db.session, issued)
    return render_template(
        "licenses/index.html",
        licenses=[(row, found.get(row.id)) for row in rows],
        standing=picture.standing(db.session, now()),
    )


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


@blueprint.get("/<hash:id>")
@access.owner
def show(id: str) -> str:
    license = _mine(id)
    owed = delivery_stop.owed_copies(db.session, license)
    return render_template("licenses/show.html", owed=owed, **_facts(license))


@blueprint.get("/<hash:id>/state")
@access.owner
def state(id: str) -> Any:
    """The part of the page that changes, for htmx; nothing when the page has `seen` it."""
    facts = _facts(_mine(id))
    if request.args.get("seen") == facts["version"]:
        return "", 204  # nothing to swap: what the reader points at stays where it is
    if "waiting" in request.args and facts["intent"].state is IntentState.DONE:
        # Issued just now: what can be done with it stands on the whole page.
        return "", 200, {"HX-Refresh": "true"}
    return render_template("licenses/_state.html", **facts)


@blueprint.post("/<hash:id>/again")
@access.owner
def again(id: str) -> Any:
    license = _mine(id)
    try:
        issuing.order_again(db.session, runtime().chain, access.the_owner(), license)
    except issuing.OrderRefused as error:
        flash(sentences.refusal(error), "danger")
    return redirect(url_for("licenses.show", id=license.id), 303)


@blueprint.post("/<hash:id>/stop")
@access.owner
def stop(id: str) -> Any:
    """Let the key desk give no key of this license out."""
    license = _mine(id)
    delivery_stop.stop(db.session, license, now())
    flash(_("No printer gets a key of this license any more."), "success")
    return redirect(url_for("licenses.show", id=license.id, _anchor="delivery"), 303)


@blueprint.post("/<hash:id>/resume")
@access.owner
def resume(id: str) -> Any:
    license = _mine(id)
    delivery_stop.resume(db.session, license)
    flash(_("Printers get the keys of their copies again."), "success")
    return redirect(url_for("licenses.show", id=license.id, _anchor="delivery"), 303)


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
    day = form.get("last_day", "").strip()
    try:
        last_day = date.fromisoformat(day) if day else None
    except ValueError as error:
        raise issuing.DayOutOfRange(day) from error
    return issuing.Terms(
        number=form.get("number", ""),
        design=design,
        printer=printer,
        copies=_count(form.get("copies", ""), none=0),
        last_day=last_day,
        failures_allowed=_count(form.get("failures", str(USUAL_FAILURES)), none=-1),
    )


def _count(posted: str, none: int) -> int:
    """A small number as it was posted; `none`, which no order takes, for anything else."""
    text = posted.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else none


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
        failures=given.get("failures", str(USUAL_FAILURES))[:10],
        last_day=given.get("last_day", "")[:10],
        today=_today(),
        most=issuing.MAX_COPIES,
        most_failures=issuing.MAX_FAILURES,
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
        case issuing.FailuresOutOfRange():
            return "failures"
        case issuing.DesignNotSealed():
            return "design"
        case issuing.DayOutOfRange():
            return "last_day"
    return None


def _facts(license: License) -> dict[str, Any]:
    """Everything on a license's page. `on_chain` is None until the chain has it and the picture too."""
    intent, standing = license.intent, picture.standing(db.session, now())
    issued = intent.state is IntentState.DONE
    on_chain = picture.license(db.session, license.id) if issued else None
    entries = explorer.of_license(db.session, license.id, TIMELINE) if on_chain else []
    newest = entries[-1].transaction if entries else None
    left = on_chain and (on_chain.remaining, on_chain.used)
    seen = (intent.state, intent.reason, intent.transaction_hash, left, newest, standing.freshness)
    return {
        "license": license,
        "intent": intent,
        "on_chain": on_chain,
        "entries": entries,
        "timeline_is_full": TIMELINE,
        "standing": standing,
        "reason": sentences.reason(intent),
        "version": hashlib.sha256(repr(seen).encode()).hexdigest()[:16],
        "clock": time.time(),
        "pending": intent.state not in SETTLED,
    }
