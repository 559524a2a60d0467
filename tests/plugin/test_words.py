"""Every sentence an operator can see has a German translation with the same placeholders."""

import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

import octoprint_imprimatur
from imprimatur.device import reasons
from imprimatur.key_answer import Refusal
from octoprint_imprimatur.messages import OWN, TEXTS, Message, message_of

PACKAGE = Path(octoprint_imprimatur.__file__).parent
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


def sentences() -> set[str]:
    found = set(TEXTS.values())
    for template in PACKAGE.glob("templates/**/*.jinja2"):
        texts = re.findall(r"_\('((?:[^'\\]|\\.)*)'\)", template.read_text())
        found |= {text.replace("\\'", "'") for text in texts}
    for source in [*PACKAGE.glob("static/js/*.js"), *PACKAGE.glob("*.py")]:
        found |= set(re.findall(r'gettext\(\s*"((?:[^"\\]|\\.)*)"', source.read_text()))
    return found


def test_german_is_complete() -> None:
    with (PACKAGE / "translations" / "de" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        german = {message.id: message.string for message in read_po(file) if message.id}
    assert german.keys() == sentences()
    for english, translated in german.items():
        assert translated
        assert sorted(PLACEHOLDER.findall(english)) == sorted(PLACEHOLDER.findall(translated)), english


@pytest.mark.parametrize("key", [key for key in OWN if not key.endswith("refused") or "portal" in key])
def test_failures_say_what_became_of_the_copy(key: str) -> None:
    if key in ("unknown_job", "no_entry", "other_description"):
        return
    assert re.search(r"cop(y|ies)|consume", OWN[key])


def test_nothing_is_said_in_two_ways() -> None:
    assert not OWN.keys() & reasons.TEXTS.keys()
    assert len(set(TEXTS.values())) == len(TEXTS)


def test_messages_within_messages() -> None:
    message = Message("not_begun", {"reason": Message("portal_unreachable", {"trouble": "Timeout"})})
    assert "doesn't answer (Timeout)" in str(message)
    inner = message.as_json()["values"]["reason"]
    assert (inner["text"], inner["values"]) == (TEXTS["portal_unreachable"], {"trouble": "Timeout"})
    assert message.render(lambda text: "%(reason)s!" if "begun" in text else "weg") == "weg!"


@pytest.mark.parametrize("refusal", [*Refusal, "wrong_key", "no_answer"])
def test_a_desks_refusal_is_told_in_words(refusal: str) -> None:
    for code in ("key_pending", "withheld", "withheld_dispute"):
        message = message_of(reasons.why(code, copy=1, refusal=str(refusal)))
        assert f"({TEXTS[f'refusal_{refusal}']})" in str(message)


def test_a_reason_of_a_later_version_is_shown_as_it_is() -> None:
    message = message_of(reasons.Reason("from_the_future", {"copy": 1}))
    assert message is not None
    assert (str(message), message.as_json()["text"]) == ("from_the_future", "from_the_future")
    assert message_of(None) is None
