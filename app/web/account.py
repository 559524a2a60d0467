"""The owner's account, and what the portal may do for it."""

import shlex
from urllib.parse import urlsplit

from flask import Blueprint, render_template

from app.auth import access
from app.extensions import db
from app.language import translated as _
from app.models import WorkerStatus
from app.models.base import now
from app.runtime import runtime
from app.services import accounts, worker_status
from app.settings import DEFAULT_DEPLOYMENTS, Settings
from app.web import sentences

_KEY_LENGTH = 20
"""Characters from which on a piece of a path is taken for a provider's key."""

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
        give=_command(runtime().settings, permission.operator, "authorize_portal"),
        take=_command(runtime().settings, permission.operator, "authorize_portal cut_off"),
        worker=db.session.get(WorkerStatus, 1),
        alive=worker_status.is_alive(db.session, now()),
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
