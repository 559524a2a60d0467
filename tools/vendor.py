#!/usr/bin/env python3
"""Copy the front-end files that the portal serves from node_modules into app/static/vendor.

Standard library only. Run it after `npm ci`; a second run copies nothing.
"""

import filecmp
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "app" / "static" / "vendor"
FILES = (
    "@tabler/core/dist/css/tabler.min.css",
    "htmx.org/dist/htmx.min.js",
)


def vendor(modules: Path = ROOT / "node_modules", target: Path = TARGET) -> list[Path]:
    """Copy what is missing or differs; the files that were copied.

    Raises:
        FileNotFoundError: npm's packages aren't installed.
    """
    target.mkdir(parents=True, exist_ok=True)
    copied = []
    for name in FILES:
        source = modules / name
        if not source.exists():
            raise FileNotFoundError(f"{source} is missing; run: npm ci --ignore-scripts")
        copy = target / source.name
        if copy.exists() and filecmp.cmp(source, copy, shallow=False):
            continue
        draft = copy.with_suffix(".new")
        shutil.copyfile(source, draft)
        draft.replace(copy)
        copied.append(copy)
    return copied


if __name__ == "__main__":
    try:
        for path in vendor():
            print(path.relative_to(ROOT))
    except FileNotFoundError as error:
        sys.exit(str(error))
