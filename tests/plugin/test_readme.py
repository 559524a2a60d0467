"""The plugin's README: every message is explained, every link and setting in it exists."""

import re

from octoprint_imprimatur import keys, service, settings
from octoprint_imprimatur.messages import REFUSALS, TEXTS
from tools import plugin_messages
from tools.plugin_messages import README, table


def test_the_table_of_messages_is_of_today() -> None:
    assert plugin_messages.main([]) == 0, "renew it: python -m tools.plugin_messages --write"


def test_each_message_has_a_row_that_says_what_to_do() -> None:
    rows = [line.strip("|").split("|") for line in table().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(TEXTS.keys() - REFUSALS.keys())
    assert [row for row in rows if not row[-1].strip()] == []
    assert set(plugin_messages.texts()) == TEXTS.keys() - REFUSALS.keys()
    assert plugin_messages.ADVICE.keys() <= TEXTS.keys(), "advice for a message that is gone"


def test_a_new_message_makes_it_stale(monkeypatch) -> None:
    texts = plugin_messages.texts()
    new = texts | {"new": "The moon is full. No copy was used. Wait a day."}
    monkeypatch.setattr(plugin_messages, "texts", lambda: new)
    assert "| The moon is full. | No copy was used. Wait a day. |" in table()
    assert plugin_messages.main([]) == 1


def test_its_links_lead_somewhere() -> None:
    text = README.read_text()
    headings = {
        re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-")
        for h in re.findall(r"^#+ (.+)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:].rstrip("-") in {heading.rstrip("-") for heading in headings}, target
        elif not target.startswith("https://"):
            assert (README.parent / target).exists(), target


def test_every_file_that_it_names_is_one_and_no_secret_is_left_out() -> None:
    told = README.read_text().partition("## What lies where")[2].partition("\n## ")[0]
    for name in (*keys.BACKUP_EXCLUDES, service.JOURNAL, service.SEALED):
        assert f"`{name}" in told, name


def test_the_settings_that_it_names_exist() -> None:
    assert {"update_url", "policy", "timelapse", "allow_http", "trusted_hooks"} <= settings.DEFAULTS.keys()
