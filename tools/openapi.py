"""Writes the description of the API, `docs/openapi.v1.json`: `python -m tools.openapi`."""

import json
import sys
from pathlib import Path

from app.api.v1.openapi import description

PATH = Path(__file__).resolve().parents[1] / "docs" / "openapi.v1.json"


def text() -> str:
    """The file's content."""
    return json.dumps(description(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    PATH.write_text(text(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
