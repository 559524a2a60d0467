"""Every view says who may call it; what says nothing is refused.

The decorators only mark a view. One guard, run before every request, enforces the marks: a view without a
mark can't be reached, so a forgotten one shows at once.
"""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, abort, current_app, g, redirect, request, url_for
from flask_security import current_user

from app.api.problem import Problem
from app.extensions import db
from app.models import User
from app.runtime import runtime
from app.services import delivery, devices
from app.services.devices import DeviceDisabled, NotEnrolled, Replayed, Requester
from imprimatur.device_auth import SCHEME, DeviceRequest, NotAuthenticated, authenticate, origin_of

View = TypeVar("View", bound=Callable[..., Any])
MAX_BODY = 64 * 1024
"""Bytes that a device may send: all of them are read before anything is known of it."""
_MARK = "imprimatur_access"


class Access(StrEnum):
    """Who may call a view."""

    PUBLIC = "public"
    OWNER = "owner"
    DEVICE = "device"
    """A device that somebody let in; its request is signed and new."""
    CANDIDATE = "candidate"
    """Any device that signs its request. The view has to see that the request is new."""


_OF_LIBRARIES = {
    "static": Access.PUBLIC,
    "security.login": Access.PUBLIC,
    "security.logout": Access.PUBLIC,
}
"""Views that aren't ours to mark."""


class DeviceRefused(Problem):
    """A device's request isn't authentic; `str(error)` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(401, "not_authentic", detail, {"WWW-Authenticate": SCHEME})


def _marked(access: Access) -> Callable[[View], View]:
    def mark(view: View) -> View:
        setattr(view, _MARK, access)
        return view

    return mark


public = _marked(Access.PUBLIC)
owner = _marked(Access.OWNER)
device = _marked(Access.DEVICE)
candidate = _marked(Access.CANDIDATE)


def access_of(app: Flask, endpoint: str) -> Access | None:
    """What a view declared, or None."""
    return getattr(app.view_functions[endpoint], _MARK, None) or _OF_LIBRARIES.get(endpoint)


def init_app(app: Flask) -> None:
    """Must come after Flask-Security: only sessions sign in, and nobody reads a body before the guard."""
    # It would look for a token of its own in each request, and parse the JSON of strangers for that.
    app.extensions["security"].login_manager.request_loader(lambda _request: None)
    app.before_request(_guard)


def the_owner() -> User:
    """The signed-in owner, in a view for owners."""
    user: User = current_user._get_current_object()
    return user


def the_device() -> Requester:
    """The device that signed the request, in a view for devices."""
    found: Requester = g.device
    return found


def the_candidate() -> DeviceRequest:
    """The signed request, in a view for candidates."""
    found: DeviceRequest = g.device_request
    return found


def _guard() -> Any:
    if request.endpoint is None:
        return None  # no such route: Flask answers 404 or 405
    access = access_of(current_app, request.endpoint)
    if access is None:
        abort(403)
    if request.endpoint in _OF_LIBRARIES and request.is_json:
        abort(400)  # Nobody signs in with JSON.
    if access is Access.OWNER and not current_user.is_authenticated:
        return _to_login()
    if access is Access.DEVICE:
        g.device = _known_device(_signed_request())
    if access is Access.CANDIDATE:
        g.device_request = _signed_request()
    return None


def _to_login() -> Any:
    target = url_for("security.login", next=request.full_path.rstrip("?"))
    if request.headers.get("HX-Request"):
        # A refreshed part of a page: send the whole page to the login.
        return Response(status=401, headers={"HX-Redirect": url_for("security.login")})
    if request.method not in ("GET", "HEAD"):
        abort(401)
    return redirect(target)


def authentic(own_url: str, body: bytes) -> DeviceRequest:
    """The device that signed the request at hand.

    Args:
        own_url: where devices are told to reach this server; it may have a path, with which the request comes
            from a proxy or without.

    Raises:
        NotAuthenticated
    """
    # What the device signed is the request line, not what Flask made of it.
    target = request.environ.get("RAW_URI") or request.full_path.rstrip("?")
    target = urlsplit(own_url).path.rstrip("/") + target.removeprefix(request.root_path)
    header = request.headers.get("Authorization")
    return authenticate(header, request.method, origin_of(own_url), target, body)


def _signed_request() -> DeviceRequest:
    request.max_content_length = MAX_BODY
    try:
        return authentic(runtime().settings.public_url, request.get_data())
    except NotAuthenticated as error:
        raise DeviceRefused(str(error)) from error


def _known_device(signed: DeviceRequest) -> Requester:
    try:
        found = devices.requester(db.session, signed.address)
    except NotEnrolled as error:
        raise Problem(403, "not_enrolled", str(error)) from error
    except DeviceDisabled as error:
        raise Problem(403, "device_disabled", str(error)) from error
    if not delivery.is_first(db.session, signed, int(time.time())):
        raise DeviceRefused(str(Replayed()))
    return found
