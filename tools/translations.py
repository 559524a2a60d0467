#!/usr/bin/env python3
"""Compile the translations (.po → .mo), or collect the portal's texts into its catalogues first.

python tools/translations.py             compile what is out of date
python tools/translations.py --collect   take new texts from the sources into app/i18n, then compile
"""

import argparse
import io
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[1]
PORTAL = ROOT / "app"
FOLDERS = (PORTAL / "i18n", ROOT / "octoprint_plugin" / "octoprint_imprimatur" / "translations")
_METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
_NOISE = (
    b'"Report-Msgid',
    b'"POT-Creation',
    b'"PO-Revision',
    b'"Last-Trans',
    b'"Language-Team',
    b'"Generated-By',
)
"""Header lines that say nothing, or change with every run."""
_NO_DATE = datetime(1980, 1, 1, tzinfo=UTC)
"""In place of the minute of compiling, which Babel would write: the same texts give the same bytes."""
_KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}


def compile_all(folders: tuple[Path, ...] = FOLDERS) -> list[Path]:
    """Compile every catalogue that is newer than its compiled file; those that were written."""
    written = []
    for source in sorted(path for folder in folders for path in folder.rglob("*.po")):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        with source.open("rb") as file:
            catalog = read_po(file)
        catalog.creation_date = _NO_DATE
        draft = target.with_suffix(".new")
        with draft.open("wb") as file:
            write_mo(file, catalog)
        draft.replace(target)
        written.append(target)
    return written


def texts_of_portal() -> Catalog:
    """Every text of the portal's sources and templates."""
    catalog = Catalog(project="Imprimatur portal", charset="utf-8")
    for name, line, message, comments, context in extract_from_dir(PORTAL, _METHODS, keywords=_KEYWORDS):
        catalog.add(message, None, [(f"app/{name}", line)], auto_comments=comments, context=context)
    return catalog


def collect() -> None:
    """Update the portal's catalogues with the texts of its sources; texts that are gone leave."""
    template = texts_of_portal()
    for path in sorted((PORTAL / "i18n").rglob("*.po")):
        with path.open("rb") as file:
            catalog = read_po(file, locale=path.parts[-3])
        catalog.update(template, no_fuzzy_matching=True)
        catalog.obsolete.clear()
        text = io.BytesIO()
        write_po(text, catalog, width=110, no_location=True, sort_output=True)
        path.write_bytes(
            b"".join(line for line in text.getvalue().splitlines(True) if not line.startswith(_NOISE))
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--collect", action="store_true", help="take new texts from the sources first")
    if parser.parse_args().collect:
        collect()
    for path in compile_all():
        print(path.relative_to(ROOT), file=sys.stderr)
