"""JSON Schemas (draft 2020-12) of documents that travel between programs, one file per name and version."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

_MOST_SHOWN = 160


@cache
def load(name: str) -> dict[str, Any]:
    """The schema `name`, such as `manifest.v1`."""
    document: dict[str, Any] = json.loads((files(__name__) / f"{name}.json").read_text("utf-8"))
    return document


def problem_in(document: Any, name: str, part: str = "") -> str | None:
    """What is wrong with a document by the schema `name`, as "place: reason", or None.

    Args:
        part: name of the definition under `$defs` that describes the document; the whole schema when empty.
    """
    error = next(_validator(name, part).iter_errors(document), None)
    if error is None:
        return None
    return f"{error.json_path}: {error.message[:_MOST_SHOWN]}"


@cache
def _validator(name: str, part: str) -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    schema = load(name)
    if part:
        schema = {"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]}
    return Draft202012Validator(schema)
