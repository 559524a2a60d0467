"""The description of the API (OpenAPI 3.1), built from the schemas that the views check with.

`tools/openapi.py` writes it to `docs/openapi.v1.json`.
"""

import copy
from functools import cache
from typing import Any

from app.api.v1.documents import SCHEMA
from app.api.v1.openapi_parts import (
    Json,
    as_problem,
    device_problems,
    document,
    header,
    headers,
    json_answer,
    operation,
    problem,
    problems,
)
from app.services.delivery import MOST_JOBS
from imprimatur import schemas

_ID: Json = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The license's id.",
    "schema": {"$ref": "#/components/schemas/hash"},
}
_DIGEST: Json = {
    "name": "digest",
    "in": "path",
    "required": True,
    "description": "EIP-712 digest of the message.",
    "schema": {"$ref": "#/components/schemas/hash"},
}

_DESK: Json = {
    "url": "{deskUrl}",
    "description": "The key desk, a process of its own.",
    "variables": {"deskUrl": {"default": "http://127.0.0.1:5001", "description": "As `portal` says."}},
}


@cache
def description() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Imprimatur device API",
            "version": "1",
            "summary": "What a printer's device asks a portal and its key desk.",
            "description": (
                "Every request but the public ones is signed by the device's own key; see `device-api.md`. "
                "Errors are problem+json (RFC 9457) whose `type` is `urn:imprimatur:problem:` and a code."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/", "description": "The portal."}],
        "tags": [{"name": "portal"}, {"name": "device"}, {"name": "desk"}],
        "paths": _paths(),
        "components": {
            "schemas": _components(),
            "securitySchemes": {
                "device": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": (
                        "`Imprimatur address=0x…, time=…, nonce=…, signature=0x…`: an EIP-191 signature over "
                        "title, method and full address, time, nonce and SHA-256 of the body, one per line."
                    ),
                }
            },
        },
    }


def _components() -> Json:
    """The definitions, and the manifest, whose schema stands alone."""
    found: Json = copy.deepcopy(schemas.load(SCHEMA)["$defs"])
    return {name: _moved(schema) for name, schema in found.items()}


def _moved(schema: Any) -> Any:
    """A schema with its references to where OpenAPI keeps definitions."""
    if isinstance(schema, dict):
        return {key: _moved(value) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_moved(value) for value in schema]
    if isinstance(schema, str) and schema.startswith("#/$defs/"):
        return schema.replace("#/$defs/", "#/components/schemas/")
    return schema


def _paths() -> Json:
    return {
        "/api/v1/openapi.json": {
            "get": operation("portal", "This document", {200: json_answer({"type": "object"})}, signed=False)
        },
        "/api/v1/portal": {
            "get": operation(
                "portal",
                "The portal's contract and key desk",
                {200: document("portal"), **problems({503: ["chain_unavailable", "no_desk"]})},
                signed=False,
            )
        },
        "/api/v1/enrolments": {
            "post": operation(
                "device",
                "Enrol by an owner's invitation",
                {
                    201: document("enrolled", "The device is in."),
                    200: document("enrolled", "It was already, by this invitation."),
                    **problems(
                        {
                            400: ["malformed"],
                            401: ["not_authentic"],
                            403: ["device_disabled"],
                            404: ["invitation_unknown"],
                            409: ["invitation_used", "not_bound"],
                            410: ["invitation_expired"],
                            413: [],
                            503: ["chain_unavailable", "no_desk", "unavailable"],
                        }
                    ),
                },
                body="enrolment",
            )
        },
        "/api/v1/device/jobs": {"get": _jobs()},
        "/api/v1/device/jobs/{id}/file": {"parameters": [_ID], "get": _file(), "head": _file(head=True)},
        "/api/v1/device/uses": {"post": _relay("Send a signed use", "use")},
        "/api/v1/device/uses/{digest}": {"parameters": [_DIGEST], "get": _relayed("Where a use stands")},
        "/api/v1/device/failures": {"post": _relay("Report a failed print, signed", "failure")},
        "/api/v1/device/failures/{digest}": {
            "parameters": [_DIGEST],
            "get": _relayed("Where a failed print's report stands"),
        },
        "/api/v1/device/outcomes": {
            "post": operation(
                "device",
                "Tell how a print ended",
                {
                    201: document("outcome", "Kept."),
                    200: document("outcome", "Known."),
                    **problems(device_problems(400, 404, 413) | {409: ["outcome_known"]}),
                },
                body="outcome",
            )
        },
        "/api/v1/keys": {"servers": [_DESK], "post": _key()},
    }


def _jobs() -> Json:
    parameters = [
        {
            "name": "after",
            "in": "query",
            "description": "`next` of the page before.",
            "schema": {"$ref": "#/components/schemas/hash"},
        },
        {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": MOST_JOBS, "default": 20},
        },
    ]
    answers: dict[int, Json] = {
        200: document("jobs", with_headers={"ETag": "Of this page."}),
        304: {"description": "As it was when you got this ETag (`If-None-Match`)."},
        **problems(device_problems(400) | {400: ["malformed", "cursor_unknown"]}),
    }
    return operation("device", "Licenses of the device's printer, newest first", answers) | {
        "parameters": parameters
    }


def _file(head: bool = False) -> Json:
    told = {
        "ETag": "SHA-256 of the whole sealed file, in quotes.",
        "Accept-Ranges": "`bytes`",
        "Content-Length": "Bytes that follow.",
    }
    content: Json = {} if head else {"content": {"application/octet-stream": {}}}
    whole = {"description": "The whole sealed file (age v1).", "headers": headers(told)} | content
    part = {
        "description": "The range that was asked for.",
        "headers": headers(told | {"Content-Range": "Which bytes, of how many."}),
    } | content
    same = {"description": "You have this file (`If-None-Match`)."}
    refused = problems(device_problems(404) | {503: ["file_unavailable", "unavailable"]}, empty=head)
    if head:
        return operation("device", "Size and hash of a job's sealed file", {200: whole, 304: same, **refused})
    beyond = problem(["range_not_satisfiable"], "The file ends before this range.")
    beyond["headers"] = headers({"Content-Range": "The file's size."})
    answers: dict[int, Json] = {200: whole, 206: part, 304: same, 416: beyond, **refused}
    parameters = [
        header("Range", "One range in bytes; anything else is ignored."),
        header("If-Range", "ETag: everything comes when the file isn't that one."),
        header("If-None-Match", "ETags that you have."),
    ]
    return operation("device", "A job's sealed file", answers) | {"parameters": parameters}


def _relay(summary: str, part: str) -> Json:
    taken = {"Location": "Where to ask how it stands."}
    answers = {
        202: document("relayed", "Taken.", taken),
        200: document("relayed", "Known: the same message again.", taken),
        **problems(
            device_problems(400, 413)
            | {
                422: ["signature_invalid", "deadline_out_of_range", "would_be_refused"],
                429: ["too_many_waiting"],
                503: ["busy", "chain_unavailable", "unavailable"],
            }
        ),
    }
    return operation("device", summary, answers, body=part)


def _relayed(summary: str) -> Json:
    refused = problems(device_problems() | {404: ["message_unknown"]})
    return operation("device", summary, {200: document("relayed"), **refused})


def _key() -> Json:
    signed = {
        200: "The key, wrapped for the job key of the event.",
        403: "Refused for good.",
        425: "Not consumed, or not final yet; `Retry-After` says when to come back.",
        429: "Too many questions; `Retry-After` says when to come back.",
        503: "The desk can't look now, or can't even say so signed; `Retry-After` says when to come back.",
    }
    answers: dict[int, Json] = {
        status: document("keyAnswer", text, {} if status in (200, 403) else {"Retry-After": "Seconds."})
        for status, text in signed.items()
    }
    answers[503]["content"]["application/problem+json"] = as_problem()
    answers |= problems({400: ["malformed"], 401: ["not_authentic"], 413: []})
    described = operation("desk", "The file key of a consumed copy", answers, body="keyRequest")
    described["description"] = (
        "Once the request is authentic and well-formed, the answer is the canonical, signed `keyAnswer`, "
        "whatever it says."
    )
    return described
