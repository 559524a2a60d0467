"""What OctoPrint's backups leave out of the plugin's data, and how that outlives the restoring of one.

A restored backup takes the place of OctoPrint's whole base folder. The former one is put aside, and deleted
at OctoPrint's next start: with the printer's only key, and the records of copies that are paid.
"""

import logging
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from octoprint_imprimatur import card_writing, keys, service

EXCLUDES = [*keys.BACKUP_EXCLUDES, *service.BACKUP_EXCLUDES, card_writing.MARKER]
"""Files and folders within the plugin's data."""
ARCHIVE = "basedir_before_restore.bck.zip"
"""In the base folder, where that can't be renamed."""
_log = logging.getLogger("octoprint.plugins.imprimatur.backups")


def is_aside(base: Path) -> bool:
    """Whether a backup was restored: the former base folder lies aside until OctoPrint is restarted."""
    return _aside(base).exists() or (base / ARCHIVE).exists()


def bring_back(base: Path) -> bool:
    """Take over what was put aside when a backup was restored; whether there was anything.

    A backup that holds key or jobs itself wasn't made by OctoPrint: what belongs together isn't mixed.
    What was interrupted goes on at the next call: the jobs come last, after the key.

    Args:
        base: OctoPrint's base folder, as it is after that.

    Raises:
        OSError, zipfile.BadZipFile: it still lies where OctoPrint has put it.
    """
    data, aside = keys.data_folder(base), _aside(base)
    if (data / service.JOURNAL).exists():
        return False
    try:
        found = _from_folder(keys.data_folder(aside), data) or _from_archive(base / ARCHIVE, base, data)
    except (OSError, zipfile.BadZipFile):
        _log.error(
            "The printer's key and its jobs couldn't be taken over into the restored folder. Save them from "
            "%s, or %s, before OctoPrint is restarted: it deletes them.",
            keys.data_folder(aside),
            base / ARCHIVE,
        )
        raise
    if found:
        _log.info("Taken over into the restored folder: %s.", ", ".join(sorted(found)))
    return bool(found)


def _aside(base: Path) -> Path:
    return base.with_name(f"{base.name}.bck")


def _from_folder(aside: Path, data: Path) -> set[str]:
    if (aside / keys.KEYSTORE).exists() and (data / keys.KEYSTORE).exists():
        return set()
    found = [name for name in EXCLUDES if (aside / name).exists() and not (data / name).exists()]
    for name in sorted(found, key=_turn):
        data.mkdir(parents=True, exist_ok=True)
        shutil.move(aside / name, data / name)
    return set(found)


def _from_archive(path: Path, base: Path, data: Path) -> set[str]:
    if not path.exists():
        return set()
    with zipfile.ZipFile(path) as archive:
        ours = dict(_ours(archive, base, data))
        key, place = ours.get(PurePosixPath(keys.KEYSTORE)), data / keys.KEYSTORE
        if key is not None and place.exists() and place.read_bytes() != archive.read(key):
            return set()
        found = [within for within in ours if not (data / within).exists()]
        for within in sorted(found, key=lambda within: _turn(within.parts[0])):
            _extract(archive, ours[within], data / within)
    return {within.parts[0] for within in found}


def _ours(
    archive: zipfile.ZipFile, base: Path, data: Path
) -> Iterator[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """Files to take over, by their place within the plugin's data."""
    for member in archive.infolist():
        name = PurePosixPath(member.filename)
        within = PurePosixPath(*name.parts[2:])
        ours = base / PurePosixPath(*name.parts[:2]) == data and within.parts[:1]
        if ours and not member.is_dir() and within.parts[0] in EXCLUDES and ".." not in within.parts:
            yield within, member


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Completely or not at all. An archive keeps no permissions, and these are secrets."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with archive.open(member) as source, os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)


def _turn(name: str) -> tuple[bool, bool]:
    """The key, and then the jobs, are last: where those are, everything is."""
    return name == service.JOURNAL, name == keys.KEYSTORE
