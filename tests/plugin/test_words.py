"""Every sentence an operator can see has a German translation with the same placeholders."""

import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

import octoprint_imprimatur
from octoprint_imprimatur.messages import TEXTS, Message, parse

PACKAGE = Path(octoprint_imprimatur.__file__).parent
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


def sentences() -> set[str]:
    found = set(TEXTS.values())
    for template in PACKAGE.glob("templates/*"):
        texts = re.findall(r"_\('((?:[^'\\]|\\.)*)'\)", template.read_text())
        found |= {text.replace("\\'", "'") for text in texts}
    for source in [PACKAGE / "static" / "js" / "imprimatur.js", PACKAGE / "__init__.py"]:
        found |= set(re.findall(r'gettext\(\s*"((?:[^"\\]|\\.)*)"', source.read_text()))
    return found


def test_german_is_complete() -> None:
    with (PACKAGE / "translations" / "de" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        german = {message.id: message.string for message in read_po(file) if message.id}
    assert german.keys() == sentences()
    for english, translated in german.items():
        assert translated
        assert sorted(PLACEHOLDER.findall(english)) == sorted(PLACEHOLDER.findall(translated)), english


@pytest.mark.parametrize("key", [key for key in TEXTS if not key.endswith("refused") or "portal" in key])
def test_failures_say_what_became_of_the_copy(key: str) -> None:
    if key in ("unknown_job", "no_entry", "other_file"):
        return
    assert re.search(r"cop(y|ies)|consume", TEXTS[key])


def test_messages_within_messages() -> None:
    message = Message(
        "waiting_download", {"copy": 2, "reason": Message("portal_down", {"reason": "Timeout"})}
    )
    assert "doesn't answer (Timeout)" in str(message)
    assert parse(message.as_json()) == message
    assert message.render(lambda text: "%(copy)s %(reason)s" if "fetched" in text else "weg") == "2 weg"
