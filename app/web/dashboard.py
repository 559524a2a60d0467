"""The owner's first page: what there is, and what happened last."""

from flask import Blueprint, render_template

from app.auth import access
from app.extensions import db
from app.models import IntentState
from app.models.base import now
from app.runtime import runtime
from app.services import accounts, designs, explorer, issuing, picture, printers
from app.services.picture import Freshness
from imprimatur.chain.outbox.records import SETTLED

LATEST = 8
blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/")
@access.owner
def home() -> str:
    owner = access.the_owner()
    licenses = issuing.licenses_of(db.session, owner)
    standing = picture.standing(db.session, now())
    known = standing.freshness is not Freshness.EMPTY
    return render_template(
        "dashboard.html",
        owner=owner,
        designs=designs.designs_of(db.session, owner),
        printers=printers.printers_of(db.session, owner),
        licenses=licenses,
        waiting=[x for x in licenses if x.intent.state not in SETTLED],
        failed=[x for x in licenses if x.intent.state is IntentState.FAILED],
        standing=standing,
        activity=explorer.of_owner(db.session, owner.account, LATEST) if known else None,
        permission=accounts.permission_of(db.session, runtime().chain, owner),
    )
