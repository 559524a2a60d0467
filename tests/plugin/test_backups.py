"""What OctoPrint's backups leave out survives the restoring of one: key, journal, sealed files."""

import os
import shutil
import subprocess
import zipfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import octoprint.settings
import pytest
import yaml

from octoprint_imprimatur import ImprimaturPlugin, backups
from octoprint_imprimatur.keys import data_folder, open_or_create
from support.licensed_printer import give_key
from support.octoprint import ENVIRONMENT, OctoPrint, wait_for

KEPT = {"printer-key.json": "key", "jobs.db": "jobs", "jobs.db-wal": "newest", "sealed/ab12": "cipher"}


def command(basedir: Path, *arguments: str) -> str:
    done = subprocess.run(
        [ENVIRONMENT / "bin" / "octoprint", "--basedir", basedir, "plugins", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TMPDIR": str(basedir.parent)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_restored_backup_takes_neither_key_nor_paid_copies(tmp_path: Path) -> None:
    """As OctoPrint does it, which deletes what it had put aside when it starts again."""
    basedir = tmp_path / "octoprint"
    octoprint = OctoPrint(basedir, {})
    octoprint.prepare()
    config = yaml.safe_load((basedir / "config.yaml").read_text())
    # Nothing is asked for in the network.
    config["plugins"]["pluginmanager"] = {"repository": "http://127.0.0.1:9/"}
    (basedir / "config.yaml").write_text(yaml.safe_dump(config))
    address, data = give_key(basedir), data_folder(basedir)
    write(data, {"telemetry/j1.json": "{}"})
    command(basedir, "backup:backup")
    (backup,) = (basedir / "data" / "backup").glob("*.zip")
    with zipfile.ZipFile(backup) as archive:
        ours = [name for name in archive.namelist() if "data/imprimatur/" in name]
    assert ours == ["basedir/data/imprimatur/telemetry/j1.json"]
    restored = shutil.copy(backup, tmp_path / "restored.zip")
    write(data, {"jobs.db": "a paid copy", "sealed/ab12": "cipher", "telemetry/j2.json": "{}"})

    command(basedir, "backup:restore", str(restored))
    assert (tmp_path / "octoprint.bck").exists()
    shutil.rmtree(tmp_path / "octoprint.bck")
    assert open_or_create(data).address == address
    found = read(data)
    assert (found["jobs.db"], found["sealed/ab12"]) == ("a paid copy", "cipher")
    assert "telemetry/j2.json" not in found
    assert (data / "printer-key.password").stat().st_mode & 0o077 == 0


def test_where_the_folder_cant_be_renamed(tmp_path: Path) -> None:
    """OctoPrint keeps an archive within the folder then."""
    base = tmp_path / "octoprint"
    write(base, {"config.yaml": "new"})
    with zipfile.ZipFile(base / "basedir_before_restore.bck.zip", "w") as archive:
        for name, text in KEPT.items():
            archive.writestr(f"data/imprimatur/{name}", text)
        archive.writestr("data/imprimatur/telemetry/j1.json", "{}")
        archive.writestr("data/imprimatur/sealed/../../../config.yaml", "old")
        archive.writestr("config.yaml", "old")
        archive.writestr("data/imprimatur/card-written", "old")
    # Written since then.
    write(data_folder(base), {"card-written": ""})
    (data_folder(base) / "card-written").chmod(0o600)
    assert backups.bring_back(base)
    assert read(data_folder(base)) == {**KEPT, "card-written": ""}
    assert {path.stat().st_mode & 0o077 for path in data_folder(base).rglob("*") if path.is_file()} == {0}
    assert (base / "config.yaml").read_text() == "new"


@pytest.mark.parametrize("at", range(len(KEPT)))
@pytest.mark.parametrize("archived", [False, True])
def test_interrupted_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archived: bool, at: int
) -> None:
    base, calls = tmp_path / "octoprint", iter(range(10))
    write(base, {"config.yaml": "new"})
    if archived:
        with zipfile.ZipFile(base / backups.ARCHIVE, "w") as archive:
            for name, text in KEPT.items():
                archive.writestr(f"data/imprimatur/{name}", text)
    else:
        write(data_folder(tmp_path / "octoprint.bck"), KEPT)
    move, copy = shutil.move, shutil.copyfileobj

    def cut_move(source: Path, target: Path) -> None:
        if next(calls) == at:
            raise OSError("cut")
        move(source, target)

    def cut_copy(source: IO[bytes], target: IO[bytes]) -> None:
        if next(calls) == at:
            target.write(source.read(2))
            raise OSError("cut")
        copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "move", cut_move)
        patch.setattr(shutil, "copyfileobj", cut_copy)
        with pytest.raises(OSError, match="cut"):
            backups.bring_back(base)
    assert backups.bring_back(base)
    assert read(data_folder(base)) == KEPT
    assert not backups.bring_back(base)


def test_killed_before_it_was_taken_over_it_is_at_the_next_start(tmp_path: Path) -> None:
    """OctoPrint deletes what it has put aside when it has started."""
    octoprint, aside = OctoPrint(tmp_path / "octoprint", {}), tmp_path / "octoprint.bck"
    octoprint.prepare()
    address, data = give_key(octoprint.basedir), data_folder(octoprint.basedir)
    write(data, {"sealed/ab12": "cipher"})
    data_folder(aside).parent.mkdir(parents=True)
    data.rename(data_folder(aside))
    try:
        octoprint.start()
        found = wait_for(
            "The key is open", lambda: octoprint.get("/plugin/imprimatur/setup")["key"]["address"], 30
        )
        assert found == address
        wait_for("OctoPrint has deleted the rest", lambda: not aside.exists(), 30)
    finally:
        octoprint.kill()


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("restored", ["printer-key.json", "jobs.db"])
def test_a_backup_that_somebody_made_with_the_key_isnt_mixed_with_another(
    tmp_path: Path, restored: str, archived: bool
) -> None:
    base = tmp_path / "octoprint"
    write(data_folder(tmp_path / "octoprint.bck"), KEPT)
    if archived:
        base.mkdir()
        shutil.make_archive(
            str(base / backups.ARCHIVE.removesuffix(".zip")), "zip", tmp_path / "octoprint.bck"
        )
        shutil.rmtree(tmp_path / "octoprint.bck")
    write(data_folder(base), {restored: "from the backup"})
    assert not backups.bring_back(base)
    assert read(data_folder(base)) == {restored: "from the backup"}


@pytest.mark.parametrize("how", ["taken over", "with its own jobs", "unreadable", "nothing restored"])
def test_nothing_is_printed_before_the_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    base, stopped = tmp_path / "octoprint", []
    write(base, {"config.yaml": "new"})
    if how in ("taken over", "with its own jobs"):
        write(data_folder(tmp_path / "octoprint.bck"), KEPT)
    if how == "with its own jobs":
        write(data_folder(base), {"jobs.db": "from the backup"})
    if how == "unreadable":
        write(base, {backups.ARCHIVE: "no archive"})
    folders = SimpleNamespace(getBaseFolder=lambda _: str(base))
    monkeypatch.setattr(octoprint.settings, "settings", lambda: folders)
    plugin = ImprimaturPlugin()
    plugin.service = SimpleNamespace(stop=lambda: stopped.append(True))
    with suppress(zipfile.BadZipFile):
        plugin.on_restored(error=False)
    assert bool(stopped) is (how != "nothing restored")


def test_without_a_restored_backup_nothing_happens(tmp_path: Path) -> None:
    base = tmp_path / "octoprint"
    write(data_folder(base), {"telemetry/j1.json": "{}"})
    assert not backups.bring_back(base)
    assert read(data_folder(base)) == {"telemetry/j1.json": "{}"}
