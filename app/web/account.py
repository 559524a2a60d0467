"""The owner's account, and what the portal may do for it."""

from flask import Blueprint, render_template

from app.auth import access
from app.extensions import db
from app.models import WorkerStatus
from app.models.base import now
from app.runtime import runtime
from app.services import accounts, worker_status
from app.web import sentences

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
@access.owner
def show() -> str:
    owner = access.the_owner()
    permission = accounts.permission_of(db.session, runtime().chain, owner)
    return render_template(
        "account.html",
        owner=owner,
        permission=permission,
        sentence=sentences.standing(permission.standing),
        worker=db.session.get(WorkerStatus, 1),
        alive=worker_status.is_alive(db.session, now()),
    )
