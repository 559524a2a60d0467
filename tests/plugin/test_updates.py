"""Updates are looked for where an administrator says, and nowhere else."""

import functools
import http.server
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from octoprint.plugins.softwareupdate.version_checks import jsondata

import octoprint_imprimatur
from octoprint_imprimatur import updates
from octoprint_imprimatur.connection import DEFAULTS


@pytest.fixture
def announced(tmp_path: Path) -> Iterator[str]:
    """Address of a document on 127.0.0.1 that announces version 0.3.0."""
    (tmp_path / "version.json").write_text(json.dumps({"version": "0.3.0"}))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/version.json"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("nothing", [None, "", "  ", DEFAULTS["update_url"]])
def test_by_default_nobody_is_asked(nothing: str | None, caplog: pytest.LogCaptureFixture) -> None:
    assert updates.checks(nothing, "0.2.0") == {}
    assert caplog.records == []


@pytest.mark.parametrize(
    "url",
    [
        "http://updates.example/version.json",
        "https://user:secret@updates.example/version.json",
        "https://updates.example/version.json?printer=7",
        "file:///etc/passwd",
        "version.json",
    ],
)
def test_an_address_that_cant_be_trusted_registers_nothing(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert updates.checks(url, "0.2.0") == {}
    assert "update_url" in caplog.text
    assert "secret" not in caplog.text


def test_the_wheel_lies_beside_its_announcement() -> None:
    (check,) = updates.checks("https://updates.example/{a}/version.json", "0.2.0").values()
    assert check["pip"].format(target_version="0.3.0", target="0.3.0") == (
        "https://updates.example/{a}/octoprint_imprimatur-0.3.0-py3-none-any.whl"
    )


@pytest.mark.parametrize(("installed", "is_current"), [("0.2.0", False), ("0.3.0", True)])
def test_octoprints_own_checker_sees_a_new_version(announced: str, installed: str, is_current: bool) -> None:
    check = updates.checks(announced, installed)["imprimatur"]
    information, current = jsondata.get_latest("imprimatur", check)
    assert (information["local"]["value"], information["remote"]["value"]) == (installed, "0.3.0")
    assert current is is_current


def test_the_plugin_offers_its_setting_to_octoprint(monkeypatch: pytest.MonkeyPatch) -> None:
    octoprint_imprimatur.__plugin_load__()
    plugin = octoprint_imprimatur.__plugin_implementation__
    look = octoprint_imprimatur.__plugin_hooks__["octoprint.plugin.softwareupdate.check_config"]
    settings = {"update_url": ""}

    class Settings:
        def get(self, path: list[str]) -> str:
            return settings[path[0]]

    monkeypatch.setattr(plugin, "_settings", Settings(), raising=False)
    monkeypatch.setattr(plugin, "_plugin_version", "0.2.0", raising=False)
    assert look() == {}
    settings["update_url"] = "https://updates.example/version.json"
    assert look()["imprimatur"]["current"] == "0.2.0"
