"""The API tells programs what it is."""

from flask import Blueprint, Response

from app.api.v1 import openapi
from app.api.v1.documents import answer
from app.auth import access

blueprint = Blueprint("api_description", __name__, url_prefix="/api/v1")


@blueprint.get("/openapi.json")
@access.public
def show() -> Response:
    """This API as OpenAPI 3.1."""
    return answer(openapi.description())
