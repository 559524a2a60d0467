"""The wheel that operators install: what is in it, and a fresh OctoPrint that gets and updates it."""

import functools
import http.server
import json
import os
import subprocess
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from support.node import ROOT
from support.octoprint import OctoPrint, wait_for
from support.octoprint_environment import OURS, make_environment, site_packages
from tools import wheel as tool

NEXT = "99.0.0"
"""A version that is announced."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tool.build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def contents(wheel: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(wheel) as archive:
        yield archive


@pytest.fixture(scope="module")
def described(contents: zipfile.ZipFile) -> Message:
    name = next(name for name in contents.namelist() if name.endswith(".dist-info/METADATA"))
    return BytesParser().parsebytes(contents.read(name))


def test_the_same_sources_give_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        again = tool.build(tmp_path / "again")
        later = tool.build(tmp_path / "later", epoch="1700000000")
    finally:
        os.umask(old)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()
    assert later.read_bytes() != wheel.read_bytes(), "the time is part of it"


def test_every_file_of_both_packages_is_in_it(contents: zipfile.ZipFile) -> None:
    def wanted(package: Path) -> set[str]:
        files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        kept = [path for path in files if not path.name.startswith(".") and path.suffix != ".pyc"]
        return {str(path.relative_to(package.parent)) for path in kept}

    names = set(contents.namelist())
    missing = (wanted(ROOT / "imprimatur") | wanted(tool.PLUGIN / "octoprint_imprimatur")) - names
    assert missing == set()
    assert "octoprint_imprimatur/translations/de/LC_MESSAGES/messages.mo" in names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(OURS)


def test_it_carries_both_licenses(contents: zipfile.ZipFile, described: Message) -> None:
    assert described["License-Expression"] == "AGPL-3.0-or-later AND Apache-2.0"
    folder = next(name for name in contents.namelist() if name.endswith("METADATA")).rpartition("/")[0]
    for name, source in {
        "AGPL-3.0-or-later.txt": tool.PLUGIN / "LICENSE",
        "Apache-2.0.txt": ROOT / "LICENSE",
    }.items():
        assert contents.read(f"{folder}/licenses/LICENSES/{name}") == source.read_bytes()


def test_it_requires_what_the_library_requires_and_not_the_library(described: Message) -> None:
    library = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {Requirement(text).name for text in library["optional-dependencies"]["pkcs11"]}
    required = {r.name: r for r in map(Requirement, described.get_all("Requires-Dist", []))}
    assert required.keys() == {Requirement(text).name for text in library["dependencies"]} | extra
    for wanted in map(Requirement, library["dependencies"]):
        bounds = {(bound.operator, bound.version) for bound in required[wanted.name].specifier}
        assert {(bound.operator, bound.version) for bound in wanted.specifier} < bounds, wanted.name
        assert any(operator == "<" for operator, _ in bounds), f"{wanted.name} may become anything"


# A fresh OctoPrint -----------------------------------------------------------------------------------------


class Announcer:
    """Serves a folder on 127.0.0.1 and remembers what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_arguments: object) -> None:
                asked.append(self.path)

        handler = functools.partial(Handler, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def as_version(wheel: Path, version: str, folder: Path) -> None:
    """Write the same wheel as that of another version."""
    old = wheel.name.split("-")[1]
    with (
        zipfile.ZipFile(wheel) as source,
        zipfile.ZipFile(folder / wheel.name.replace(old, version), "w") as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            if name.endswith((".dist-info/METADATA", ".dist-info/RECORD")):
                data = data.replace(f"Version: {old}".encode(), f"Version: {version}".encode())
                data = data.replace(f"-{old}.dist".encode(), f"-{version}.dist".encode())
            target.writestr(name.replace(f"-{old}.dist", f"-{version}.dist"), data)


@pytest.fixture
def announcer(tmp_path: Path, wheel: Path) -> Iterator[Announcer]:
    folder = tmp_path / "announced"
    folder.mkdir()
    (folder / "version.json").write_text(json.dumps({"version": NEXT}))
    as_version(wheel, NEXT, folder)
    announcer = Announcer(folder)
    yield announcer
    announcer.close()


@pytest.fixture
def octoprint(tmp_path: Path, announcer: Announcer, monkeypatch: pytest.MonkeyPatch) -> Iterator[OctoPrint]:
    """Without the plugin. Everything that would leave this machine ends at a closed port."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    octoprint = OctoPrint(tmp_path / "base", {"update_url": f"{announcer.url}/version.json"})
    octoprint.environment = make_environment(tmp_path / "environment", pip=True)
    octoprint.prepare()
    let_it_look_for_updates(octoprint.basedir / "config.yaml")
    try:
        octoprint.start()
        yield octoprint
    finally:
        octoprint.stop()


def let_it_look_for_updates(config: Path) -> None:
    """Of the plugin. Its own, and those of pip, are always current."""
    settings = yaml.safe_load(config.read_text())
    settings["plugins"]["_disabled"].remove("softwareupdate")
    current = {"type": "always_current"}
    settings["plugins"]["softwareupdate"] = {"checks": {"octoprint": current, "pip": current}}
    config.write_text(yaml.safe_dump(settings))


def upload(octoprint: OctoPrint, wheel: Path) -> None:
    """Through the Plugin Manager, as its dialog does it; until it has reported how that went."""
    with wheel.open("rb") as file:
        answer = octoprint.request(
            "POST", "/plugin/pluginmanager/upload_file", files={"file": (wheel.name, file)}
        )
    assert answer.json() == {"in_progress": True}, answer.text
    wait_for(
        "It is installed",
        lambda: "The plugin was installed successfully" in octoprint.log(),
        timeout=90,
        poll=0.2,
    )


def version_in(environment: Path) -> str:
    """Version of the plugin that is installed there, "" without it."""
    folders = site_packages(environment).glob("octoprint_imprimatur-*.dist-info")
    found = [path.name.split("-")[1] for path in folders]
    return found[0].removesuffix(".dist") if len(found) == 1 else ""


def test_uploaded_to_a_fresh_octoprint_it_runs_and_leaves(
    octoprint: OctoPrint, wheel: Path, announcer: Announcer
) -> None:
    assert octoprint.request("GET", "/plugin/imprimatur/licenses").status_code == 404
    upload(octoprint, wheel)
    octoprint.stop()
    octoprint.start()

    plugins = {p["key"]: p for p in octoprint.get("/plugin/pluginmanager/plugins")["plugins"]}
    plugin = plugins["imprimatur"]
    assert (plugin["enabled"], plugin["version"]) == (True, wheel.name.split("-")[1])
    assert plugin["license"] == "AGPL-3.0-or-later AND Apache-2.0"
    for route in ("licenses", "jobs", "setup"):
        assert octoprint.request("GET", f"/plugin/imprimatur/{route}").status_code == 200, route
    page = octoprint.request("GET", "/").text
    assert "tab_plugin_imprimatur" in page
    static = tool.PLUGIN / "octoprint_imprimatur" / "static"
    assets = [path for path in static.rglob("*") if path.is_file()]
    assert {path.suffix for path in assets} >= {".js", ".css"}
    for asset in assets:
        served = octoprint.request("GET", f"/plugin/imprimatur/static/{asset.relative_to(static)}")
        assert (served.status_code, served.content) == (200, asset.read_bytes()), asset
    assert octoprint.post("/api/files/local/x.gcode", command="select", print=True).status_code == 409

    told = octoprint.get("/plugin/softwareupdate/check?force=true")["information"]["imprimatur"]
    assert (told["updateAvailable"], told["updatePossible"], told["error"]) == (True, True, None)
    assert told["information"]["remote"]["value"] == NEXT
    assert set(announcer.asked) == {"/version.json"}
    started = octoprint.post("/plugin/softwareupdate/update", targets=["imprimatur"])
    assert started.status_code == 200, started.text
    done = f"Update of imprimatur to {NEXT} successful"
    wait_for("It is updated", lambda: done in octoprint.log(), timeout=90, poll=0.2)
    assert version_in(octoprint.environment) == NEXT

    data = octoprint.basedir / "data" / "imprimatur"
    key = wait_for("There is a key", lambda: data / "printer-key.json" if data.exists() else None)
    wait_for("It is written", key.exists)
    kept = key.read_bytes()
    gone = octoprint.post("/api/plugin/pluginmanager", command="uninstall", plugin="imprimatur")
    assert (gone.status_code, gone.json()["result"]) == (200, True), gone.text
    python = octoprint.environment / "bin" / "python"
    for module in OURS:
        done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, cwd=octoprint.basedir)
        assert b"ModuleNotFoundError" in done.stderr
    assert key.read_bytes() == kept
