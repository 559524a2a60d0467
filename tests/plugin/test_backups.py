"""What OctoPrint's backups leave out survives the restoring of one: key, journal, sealed files."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from octoprint_imprimatur import backups
from octoprint_imprimatur.keys import data_folder, open_or_create
from support.licensed_printer import give_key
from support.octoprint import ENVIRONMENT, OctoPrint

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


@pytest.mark.parametrize("restored", ["printer-key.json", "jobs.db"])
def test_a_backup_that_somebody_made_with_the_key_isnt_mixed_with_another(
    tmp_path: Path, restored: str
) -> None:
    base = tmp_path / "octoprint"
    write(data_folder(tmp_path / "octoprint.bck"), KEPT)
    write(data_folder(base), {restored: "from the backup"})
    assert not backups.bring_back(base)
    assert read(data_folder(base)) == {restored: "from the backup"}


def test_without_a_restored_backup_nothing_happens(tmp_path: Path) -> None:
    base = tmp_path / "octoprint"
    write(data_folder(base), {"telemetry/j1.json": "{}"})
    assert not backups.bring_back(base)
    assert read(data_folder(base)) == {"telemetry/j1.json": "{}"}
