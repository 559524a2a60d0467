"""English and German: which one, and how numbers and times are written in it."""

from datetime import UTC, date, datetime
from urllib.parse import urlsplit

from babel.dates import format_timedelta
from babel.numbers import format_decimal
from flask import Blueprint, Flask, Response, current_app, redirect, request
from flask_babel import format_date, format_datetime, get_locale, gettext
from markupsafe import Markup

from app.auth import access
from app.extensions import babel

LANGUAGES = {"en": "English", "de": "Deutsch"}
COOKIE = "imprimatur_language"
_YEAR = 31_536_000

blueprint = Blueprint("language", __name__)


@blueprint.get("/language/<code>")
@access.public
def switch(code: str) -> Response:
    """Remember a language in a cookie of its own: pages without login set no session."""
    target = request.args.get("next", "/")
    response = redirect(target if _is_own_path(target) else "/")
    if code in LANGUAGES:
        response.set_cookie(
            COOKIE,
            code,
            max_age=_YEAR,
            httponly=True,
            samesite="Lax",
            secure=current_app.config["SESSION_COOKIE_SECURE"],
        )
    assert isinstance(response, Response)
    return response


def _is_own_path(target: str) -> bool:
    """Whether a browser stays on this portal. It takes `\\` for `/` and drops tabs and line ends."""
    if not target.startswith("/") or target.startswith("//") or "\\" in target:
        return False
    if not (target.isascii() and target.isprintable()):
        return False
    parts = urlsplit(target)
    return not parts.scheme and not parts.netloc


def init_app(app: Flask) -> None:
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = "i18n"
    babel.init_app(app, locale_selector=_chosen)
    app.jinja_env.filters.update(
        number=number,
        bytes=file_size,
        duration=duration,
        moment=moment,
        ago=ago,
        day=day,
        short=short,
        millimetres=millimetres,
    )
    app.context_processor(lambda: {"languages": LANGUAGES, "language": _chosen()})


def _chosen() -> str:
    cookie = request.cookies.get(COOKIE)
    return cookie if cookie in LANGUAGES else request.accept_languages.best_match(LANGUAGES) or "en"


def translated(text: str, **values: object) -> str:
    """A text in the reader's language. Imported as `_`, so that texts can be collected."""
    return str(gettext(text, **values))


_ = translated


def number(value: float, digits: int = 0) -> str:
    """A number in the reader's notation, with at most `digits` decimals."""
    return format_decimal(value, format="#,##0." + "#" * digits if digits else "#,##0", locale=get_locale())


def file_size(size: int) -> str:
    """Bytes in the unit that fits, in powers of 1000."""
    if size < 1000:
        return f"{number(size)} B"
    power = min(3, (len(str(size)) - 1) // 3)
    return f"{number(size / 1000**power, 1)} {' kMG'[power]}B"


def duration(seconds: int) -> str:
    """Hours and minutes of a print."""
    minutes = max(1, round(seconds / 60))
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return _("%(minutes)s min", minutes=minutes)
    return _("%(hours)s h %(minutes)s min", hours=number(hours), minutes=minutes)


def millimetres(length: float) -> str:
    """A length in metres once it has some."""
    return f"{number(length / 1000, 2)} m" if length >= 1000 else f"{number(length, 2)} mm"


def moment(time: int | datetime) -> Markup:
    """A point in time (Unix seconds, or UTC as the tables store it), exact for programs."""
    at = datetime.fromtimestamp(time, UTC) if isinstance(time, int) else time.replace(tzinfo=UTC)
    text = format_datetime(at, "medium")
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(at.isoformat(), text, text)


def ago(time: int) -> Markup:
    """How long ago, with the exact time to hover over."""
    at = datetime.fromtimestamp(time, UTC)
    text = format_timedelta(at - datetime.now(UTC), add_direction=True, locale=get_locale())
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        at.isoformat(), format_datetime(at, "medium"), text
    )


def day(time: int | date) -> str:
    """A day in UTC."""
    return str(
        format_date(datetime.fromtimestamp(time, UTC).date() if isinstance(time, int) else time, "medium")
    )


def short(text: str) -> str:
    """The ends of an address or hash."""
    return f"{text[:6]}…{text[-4:]}" if len(text) > 14 else text
