"""Pieces of an OpenAPI document: operations, answers, problems."""

from collections.abc import Iterable
from typing import Any

from app.auth.access import MAX_BODY
from imprimatur.device_auth import MAX_SKEW

Json = dict[str, Any]

_WHY = {
    400: "The request isn't what the API takes; `detail` names the place.",
    401: "Not signed by a device or for another server, changed on its way, sent before, or "
    f"{MAX_SKEW} s too early or late.",
    403: "The portal doesn't listen to this device.",
    404: "There is no such thing, or it's another printer's.",
    413: f"A body has at most {MAX_BODY} bytes.",
    503: "Something behind the portal doesn't answer; `Retry-After` says when to come back.",
}
_CODES = {
    400: ["malformed"],
    401: ["not_authentic"],
    403: ["not_enrolled", "device_disabled"],
    404: ["job_unknown"],
    503: ["unavailable"],
}
_SIGNED: list[Json] = [{"device": []}]


def device_problems(*more: int) -> dict[int, list[str]]:
    """Codes of what every request of an enrolled device may be told, and of `more`."""
    return {status: _CODES.get(status, []) for status in (401, 403, 503, *more)}


def operation(
    tag: str, summary: str, answers: dict[int, Json], signed: bool = True, body: str | None = None
) -> Json:
    """One method of a path. `body`: the definition that its body follows."""
    ordered = {str(status): answers[status] for status in sorted(answers)}
    described: Json = {
        "tags": [tag],
        "summary": summary,
        "security": _SIGNED if signed else [],
        "responses": ordered,
    }
    if body is not None:
        schema = {"$ref": f"#/components/schemas/{body}"}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def json_answer(schema: Json, text: str = "OK") -> Json:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def document(part: str, text: str = "OK", with_headers: dict[str, str] | None = None) -> Json:
    """An answer whose body is the definition `part`."""
    answer = json_answer({"$ref": f"#/components/schemas/{part}"}, text)
    return answer | ({"headers": headers(with_headers)} if with_headers else {})


def headers(texts: dict[str, str]) -> Json:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}


def header(name: str, text: str) -> Json:
    return {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}


def problems(codes: dict[int, list[str]], empty: bool = False) -> dict[int, Json]:
    """Answers by status with the codes of their problems. `empty`: without a body, as to HEAD."""
    found = {status: problem(names, _WHY.get(status)) for status, names in codes.items()}
    if empty:
        for answer in found.values():
            del answer["content"]
    return found


def problem(codes: Iterable[str], why: str | None = None) -> Json:
    named = ", ".join(f"`{code}`" for code in codes)
    text = " ".join(part for part in (why, f"Codes: {named}." if named else None) if part)
    return {"description": text, "content": {"application/problem+json": as_problem()}}


def as_problem() -> Json:
    return {"schema": {"$ref": "#/components/schemas/problem"}}
