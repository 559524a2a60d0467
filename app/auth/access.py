"""Every view says who may call it; what says nothing is refused.

The decorators only mark a view. One guard, run before every request, enforces the marks: a view without a
mark can't be reached, so a forgotten one shows at once.
"""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from flask import Flask, Response, abort, current_app, g, redirect, request, url_for
from flask_security import current_user

from app.extensions import db
from app.models import User
from app.services import delivery
from imprimatur.device_auth import NotAuthenticated, authenticate

View = TypeVar("View", bound=Callable[..., Any])
_MARK = "imprimatur_access"


class Access(StrEnum):
    """Who may call a view."""

    PUBLIC = "public"
    OWNER = "owner"
    DEVICE = "device"


_OF_LIBRARIES = {
    "static": Access.PUBLIC,
    "security.login": Access.PUBLIC,
    "security.logout": Access.PUBLIC,
}
"""Views that aren't ours to mark."""


class DeviceRefused(Exception):
    """A device's request isn't authentic; `str(error)` says why."""


def _marked(access: Access) -> Callable[[View], View]:
    def mark(view: View) -> View:
        setattr(view, _MARK, access)
        return view

    return mark


public = _marked(Access.PUBLIC)
owner = _marked(Access.OWNER)
device = _marked(Access.DEVICE)


def access_of(app: Flask, endpoint: str) -> Access | None:
    """What a view declared, or None."""
    return getattr(app.view_functions[endpoint], _MARK, None) or _OF_LIBRARIES.get(endpoint)


def init_app(app: Flask) -> None:
    app.before_request(_guard)


def the_owner() -> User:
    """The signed-in owner, in a view for owners."""
    user: User = current_user._get_current_object()
    return user


def the_device() -> str:
    """Address of the printer wallet that signed the request, in a view for devices."""
    return str(g.device)


def _guard() -> Any:
    if request.endpoint is None:
        return None  # no such route: Flask answers 404 or 405
    access = access_of(current_app, request.endpoint)
    if access is None:
        abort(403)
    if access is Access.OWNER and not current_user.is_authenticated:
        return _to_login()
    if access is Access.DEVICE:
        g.device = _authentic_device()
    return None


def _to_login() -> Any:
    target = url_for("security.login", next=request.full_path.rstrip("?"))
    if request.headers.get("HX-Request"):
        # A refreshed part of a page: send the whole page to the login.
        return Response(status=401, headers={"HX-Redirect": url_for("security.login")})
    if request.method not in ("GET", "HEAD"):
        abort(401)
    return redirect(target)


def _authentic_device() -> str:
    # What the device signed is the request line, not what Flask made of it.
    target = request.environ.get("RAW_URI") or request.full_path.rstrip("?")
    try:
        signed = authenticate(
            request.headers.get("Authorization"), request.method, target, request.get_data()
        )
    except NotAuthenticated as error:
        raise DeviceRefused(str(error)) from error
    if not delivery.is_first(db.session, signed, int(time.time())):
        raise DeviceRefused("This request was sent before; sign a new one.")
    return signed.address
