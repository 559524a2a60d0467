"""English and German."""

import re
from collections.abc import Iterator

import pytest
from babel.messages.pofile import read_po
from flask import Flask
from portal.stage import Party

from app.language import duration, file_size, millimetres, number, short
from support.node import ROOT

GERMAN = ROOT / "app" / "i18n" / "de" / "LC_MESSAGES" / "messages.po"


def test_the_german_catalogue_is_complete_and_current() -> None:
    import translations

    with GERMAN.open("rb") as file:
        catalog = read_po(file, locale="de")
    wanted = {message.id for message in translations.texts_of_portal() if message.id}
    known = {message.id: message for message in catalog if message.id}
    assert set(known) == wanted, "run: python tools/translations.py --collect"
    for message in known.values():
        assert not message.fuzzy, message.id
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(strings), message.id
        places = {place for id in ids for place in re.findall(r"%\((\w+)\)s", id)}
        for string in strings:
            assert set(re.findall(r"%\((\w+)\)s", string)) == places, message.id


def test_the_browser_chooses(app: Flask) -> None:
    german = app.test_client().get("/explorer", headers={"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"})
    assert '<html lang="de">' in german.get_data(as_text=True)
    assert "Von der Chain ist noch nichts gelesen" in german.get_data(as_text=True)
    other = app.test_client().get("/explorer", headers={"Accept-Language": "fr"})
    assert '<html lang="en">' in other.get_data(as_text=True)


def test_the_switch_wins(owner: Party) -> None:
    page = owner.client.get("/designs").get_data(as_text=True)
    assert 'href="/language/de?next=/designs"' in page
    answer = owner.client.get("/language/de?next=/designs")
    assert answer.location == "/designs"
    assert "Entwürfe" in owner.client.get("/designs", headers={"Accept-Language": "en"}).get_data(
        as_text=True
    )


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "evil.example",
        "javascript:alert(1)",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "/a\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        "/\n/evil.example",
        "/\r\nX:1",
        "/\x00/evil.example",
        "/\x7f/evil.example",
        "/\u2028/evil.example",
        "/\uff0f/evil.example",
        "",
    ],
)
def test_the_switch_leads_nowhere_else(app: Flask, target: str) -> None:
    answer = app.test_client().get("/language/xx", query_string={"next": target})
    assert answer.location == "/"
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "target", ["/", "/explorer?q=a%20b%C3%A4&page=2", "/licenses/new?design=1", "/%09/x"]
)
def test_the_switch_leads_back(app: Flask, target: str) -> None:
    answer = app.test_client().get("/language/de", query_string={"next": target})
    assert (answer.status_code, answer.location) == (302, target)


@pytest.fixture(params=["en", "de"])
def language(app: Flask, request: pytest.FixtureRequest) -> Iterator[str]:
    with app.test_request_context(headers={"Accept-Language": request.param}):
        yield request.param


def test_numbers(language: str) -> None:
    german = language == "de"
    assert number(1234567) == ("1.234.567" if german else "1,234,567")
    assert number(0.28, 3) == ("0,28" if german else "0.28")
    assert file_size(999) == "999 B"
    assert file_size(104_900) == ("104,9 kB" if german else "104.9 kB")
    assert file_size(10**9) == "1 GB"
    assert file_size(5 * 10**12) == ("5.000 GB" if german else "5,000 GB")
    assert duration(20) == ("1 Min." if german else "1 min")
    assert duration(3723) == ("1 Std. 2 Min." if german else "1 h 2 min")
    assert millimetres(400.09) == ("400,09 mm" if german else "400.09 mm")
    assert millimetres(1234.5) == ("1,23 m" if german else "1.23 m")
    assert short("0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf") == "0x7E5F…5Bdf"
