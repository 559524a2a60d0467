"""Documents of the API as they come and go: JSON by the schema `device-api.v1`."""

from collections.abc import Mapping
from typing import Any

from flask import Response, json, request

from app.api.problem import Problem
from imprimatur import schemas
from imprimatur.chain import json_depth
from imprimatur.plain_text import is_plain

SCHEMA = "device-api.v1"


class Malformed(Problem):
    """The request isn't what the API takes; the same again won't do."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, "malformed", detail)


def received(part: str) -> dict[str, Any]:
    """The request's body; as `parsed`."""
    return parsed(request.get_data(), part)


def parsed(body: bytes, part: str) -> dict[str, Any]:
    """The document in a body, which follows the definition `part`: an object without objects in it.

    Raises:
        Malformed: it doesn't.
    """
    try:
        document = json_depth.parse(body)
    except ValueError as error:
        raise Malformed("The body isn't JSON.") from error
    if problem := schemas.problem_in(document, SCHEMA, part):
        raise Malformed(f"The body isn't valid at {problem}")
    for name, value in document.items():
        # 1.0 is an integer to the schema, but to nobody else.
        if isinstance(value, float):
            raise Malformed(f"The body isn't valid at $.{name}: write the number without a point or exponent")
        if isinstance(value, str) and not is_plain(value):
            raise Malformed(f"The body isn't valid at $.{name}: it has characters that nobody can see")
    return dict(document)


def answer(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer."""
    return Response(json.dumps(document), status, dict(headers or {}), content_type="application/json")
