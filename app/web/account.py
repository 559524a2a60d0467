"""The owner's account, and what the portal may do for it."""

import shlex
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, render_template, request, url_for

from app.auth import access
from app.extensions import db
from app.language import translated as _
from app.models import WorkerStatus
from app.models.base import now
from app.runtime import runtime
from app.services import accounts, worker_status
from app.settings import DEFAULT_DEPLOYMENTS, Settings
from app.web import sentences
from imprimatur.sealing import InvalidKey, recipient_text

_KEY_LENGTH = 20
"""Characters from which on a piece of a path is taken for a provider's key."""

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
@access.owner
def show() -> str:
    return _page()


@blueprint.post("/account/log-key")
@access.owner
def set_log_key() -> Any:
    text = request.form.get("key", "")
    try:
        accounts.set_log_key(db.session, access.the_owner(), text)
    except InvalidKey as error:
        return _page(error, text[:100]), 422
    flash(_("Your key for serials was saved."), "success")
    return redirect(url_for("account.show"), 303)


def _page(error: InvalidKey | None = None, typed: str = "") -> str:
    owner = access.the_owner()
    permission = accounts.permission_of(db.session, runtime().chain, owner)
    return render_template(
        "account.html",
        owner=owner,
        permission=permission,
        sentence=sentences.standing(permission.standing),
        give=_command(runtime().settings, permission.operator, "authorize_portal"),
        take=_command(runtime().settings, permission.operator, "authorize_portal cut_off"),
        worker=db.session.get(WorkerStatus, 1),
        alive=worker_status.is_alive(db.session, now()),
        log_key=owner.log_recipient and recipient_text(bytes.fromhex(owner.log_recipient)),
        error=None if error is None else sentences.refusal(error),
        typed=typed,
    )


def _command(settings: Settings, operator: str | None, script: str) -> str | None:
    """What the owner types, with her own files; None as long as nobody knows the portal's account."""
    if operator is None:
        return None
    values = {
        "IMPRIMATUR_RPC_URL": _without_access(settings.chain_url),
        "IMPRIMATUR_OPERATOR": operator,
        "IMPRIMATUR_OWNER_KEYSTORE": _("/path/to/your/keystore.json"),
        "IMPRIMATUR_OWNER_PASSWORD_FILE": _("/path/to/your/password.txt"),
    }
    if settings.deployments != DEFAULT_DEPLOYMENTS:
        values["IMPRIMATUR_DEPLOYMENTS"] = str(settings.deployments)
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    return " \\\n".join([*lines, f"python3 run.py brownie run {script} --network imprimatur"])


def _without_access(url: str) -> str:
    """A node's address without what lets the portal in: user and password, query, keys in the path."""
    parts = urlsplit(url)
    path = "/".join("YOUR-KEY" if len(piece) >= _KEY_LENGTH else piece for piece in parts.path.split("/"))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], path=path, query="", fragment="").geturl()
