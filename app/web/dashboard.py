"""The owner's first page: what there is, and what happened last."""

from flask import Blueprint, render_template

from app.auth import access
from app.extensions import db
from app.models import IntentState
from app.runtime import runtime
from app.services import accounts, designs, issuing, printers
from app.services.explorer import Activity
from imprimatur.address_book import NotDeployed
from imprimatur.chain.outbox.records import SETTLED
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable

LATEST = 8
blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/")
@access.owner
def home() -> str:
    owner = access.the_owner()
    licenses = issuing.licenses_of(db.session, owner)
    activity: Activity | None
    try:
        activity = runtime().explorer.of_owner(db.session, runtime().chain.licenses(), owner.account, LATEST)
    except (NodeUnreachable, NodeRefused, NotDeployed):
        activity = None
    return render_template(
        "dashboard.html",
        owner=owner,
        designs=designs.designs_of(db.session, owner),
        printers=printers.printers_of(db.session, owner),
        licenses=licenses,
        waiting=[x for x in licenses if x.intent.state not in SETTLED],
        failed=[x for x in licenses if x.intent.state is IntentState.FAILED],
        activity=activity,
        permission=accounts.permission_of(db.session, runtime().chain, owner),
    )
