"""Headers of every answer, and the configuration that keeps sessions and sign-in safe."""

import secrets
from datetime import timedelta
from typing import Any

from flask import Flask, Response, abort, current_app, g, request

from app.settings import Settings

MAX_FORM_BYTES = 256 * 1024
"""Everything but an upload is small."""
UPLOAD_ENDPOINT = "designs.receive"
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
"""Bodies that are taken apart before a view sees them: a file in one would lie on the disk meanwhile."""


def configuration(settings: Settings) -> dict[str, Any]:
    """Flask's and its extensions' settings that have to do with security."""
    return {
        "SECRET_KEY": settings.secret_key,
        "MAX_CONTENT_LENGTH": MAX_FORM_BYTES,
        # Cookies of one host are shared by all ports; OctoPrint may sit on the next one.
        "SESSION_COOKIE_NAME": "imprimatur_session",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.https,
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=12),
        "REMEMBER_COOKIE_DURATION": timedelta(0),
        "WTF_CSRF_TIME_LIMIT": None,  # as long as the session
        "SECURITY_PASSWORD_HASH": "argon2",
        # argon2 salts each hash itself; a second hash with a salt of ours would tie passwords to a key.
        "SECURITY_PASSWORD_SINGLE_HASH": ["argon2"],
        "SECURITY_PASSWORD_SCHEMES": ["argon2"],
        "SECURITY_DEPRECATED_PASSWORD_SCHEMES": [],
        "SECURITY_REGISTERABLE": False,
        # No views that we don't show: re-authentication comes with the first action that asks for it.
        "SECURITY_FRESHNESS": timedelta(seconds=-1),
        "SECURITY_STATIC_FOLDER": None,
        "SECURITY_RETURN_GENERIC_RESPONSES": True,
        "SECURITY_FLASH_MESSAGES": False,
        "SECURITY_API_ENABLED_METHODS": ["session"],
        "SECURITY_EMAIL_VALIDATOR_ARGS": {"globally_deliverable": False},
        "SECURITY_LOGIN_USER_TEMPLATE": "login.html",
        "SECURITY_POST_LOGOUT_VIEW": "/login",
        "SECURITY_LOGOUT_METHODS": ["POST"],
        "SECURITY_CLI_USERS_NAME": False,
        "SECURITY_CLI_ROLES_NAME": False,
    }


def init_app(app: Flask) -> None:
    """Must come before the extensions that read forms: it sets how much of a body may be read."""
    app.before_request(_limit_body)
    app.after_request(_headers)
    app.context_processor(lambda: {"csp_nonce": csp_nonce})


def csp_nonce() -> str:
    """The nonce that allows this answer's own scripts."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    return str(g.csp_nonce)


def _limit_body() -> None:
    if request.endpoint == UPLOAD_ENDPOINT:
        settings: Settings = current_app.extensions["imprimatur"].settings
        request.max_content_length = settings.max_upload
        if request.mimetype in _FORMS:
            abort(415)


def _headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{csp_nonce()}'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    if current_app.config["SESSION_COOKIE_SECURE"]:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response
