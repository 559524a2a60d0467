"""What OctoPrint's backups leave out of the plugin's data, and how that outlives the restoring of one.

A restored backup takes the place of OctoPrint's whole base folder. The former one is put aside, and deleted
at OctoPrint's next start: with the printer's only key, and the records of copies that are paid.
"""

import logging
import os
import shutil
import zipfile
from pathlib import Path, PurePosixPath

from octoprint_imprimatur import card_writing, keys, service

EXCLUDES = [*keys.BACKUP_EXCLUDES, *service.BACKUP_EXCLUDES, card_writing.MARKER]
"""Files and folders within the plugin's data."""
ARCHIVE = "basedir_before_restore.bck.zip"
"""In the base folder, where that can't be renamed."""
_log = logging.getLogger("octoprint.plugins.imprimatur.backups")


def bring_back(base: Path) -> bool:
    """Take over what was put aside when a backup was restored; whether there was anything.

    A backup that holds key or jobs itself wasn't made by OctoPrint: what belongs together isn't mixed.

    Args:
        base: OctoPrint's base folder, as it is after that.

    Raises:
        OSError, zipfile.BadZipFile: it still lies where OctoPrint has put it.
    """
    data, aside = keys.data_folder(base), base.with_name(f"{base.name}.bck")
    if any((data / name).exists() for name in (keys.KEYSTORE, service.JOURNAL)):
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


def _from_folder(aside: Path, data: Path) -> set[str]:
    found = [name for name in EXCLUDES if (aside / name).exists() and not (data / name).exists()]
    for name in found:
        data.mkdir(parents=True, exist_ok=True)
        shutil.move(aside / name, data / name)
    return set(found)


def _from_archive(path: Path, base: Path, data: Path) -> set[str]:
    if not path.exists():
        return set()
    found = set()
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = PurePosixPath(member.filename)
            within = PurePosixPath(*name.parts[2:])
            ours = base / PurePosixPath(*name.parts[:2]) == data and within.parts[:1]
            if not ours or member.is_dir() or within.parts[0] not in EXCLUDES or ".." in within.parts:
                continue
            target = data / within
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            # An archive keeps no permissions, and these are secrets.
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with archive.open(member) as source, os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(source, file)
            found.add(within.parts[0])
    return found
