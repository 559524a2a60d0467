"""Compiled catalogues: the same texts give the same bytes, at whatever minute."""

import gettext
from pathlib import Path

from tools.translations import compile_all

TEXTS = """
msgid ""
msgstr ""
"Language: de\\n"
"Content-Type: text/plain; charset=UTF-8\\n"

msgid "Printer"
msgstr "Drucker"
"""


def test_the_time_of_compiling_is_not_in_it(tmp_path: Path) -> None:
    source = tmp_path / "messages.po"
    source.write_text(TEXTS)
    (compiled,) = compile_all((tmp_path,))
    with compiled.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    assert catalogue.gettext("Printer") == "Drucker"
    assert catalogue.info()["pot-creation-date"] == "1980-01-01 00:00+0000"
    assert compile_all((tmp_path,)) == [], "what is current isn't compiled again"
