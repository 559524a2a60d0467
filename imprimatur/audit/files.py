"""Comparing licenses with files at hand: print files, sealed files, and manifests."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from imprimatur.audit.contradiction import Contradiction
from imprimatur.audit.history import LicenseHistory
from imprimatur.audit.rebuild import Rebuilt
from imprimatur.audit.replayed_licenses import ReplayedLicenses
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused
from imprimatur.hashing import sha256_file
from imprimatur.license_id import format_id

Tell = Callable[[int], None]
"""Is told how many files are done."""


@dataclass(slots=True)
class FilesOfLicense:
    """What was found for one license; names are relative to the folder."""

    print_file: str | None = None
    sealed_file: str | None = None
    manifest: str | None = None
    signer: str | None = None
    """Who signed the manifest, when the signature counts."""


@dataclass(slots=True)
class FilesComparison:
    """What a folder holds of the licenses' files. `files` is how many were read."""

    files: int
    unreadable: list[str] = field(default_factory=list)
    """Files and folders that can't be read; files that begin as a manifest and aren't one, or no longer."""
    not_checkable: list[str] = field(default_factory=list)
    """Manifests whose signature the node wouldn't look up: a contract's, at a state that it has forgotten."""
    by_license: dict[str, FilesOfLicense] = field(default_factory=dict)
    contradictions: list[Contradiction] = field(default_factory=list)


def files_in(folder: Path, unreadable: list[str] | None = None) -> list[Path]:
    """All files of a folder and of those in it. What can't be looked at or into is put into `unreadable`."""
    paths: list[Path] = []
    missed = [] if unreadable is None else unreadable

    def miss(error: OSError) -> None:
        missed.append(os.path.relpath(error.filename, folder))

    for parent, _, names in os.walk(folder, onerror=miss):
        for path in (Path(parent, name) for name in names):
            try:
                if stat.S_ISREG(path.stat().st_mode):
                    paths.append(path)
            except FileNotFoundError:
                # A link to nothing, or gone since.
                continue
            except OSError as error:
                miss(error)
    return sorted(paths)


def compare(
    folder: Path, rebuilt: Rebuilt, licenses: PrintLicense, tell: Tell = lambda _done: None
) -> FilesComparison:
    """Look for the licenses' files in a folder, by hash; names don't matter.

    A manifest for one of the licenses has to be one that the chain names, signed by whom the owner let. What
    the chain says of it is taken from the events that were replayed, so it is as proven as they are, and as
    of the same block.

    Raises:
        NodeUnreachable: when a contract's signature is looked up.
    """
    result = FilesComparison(0)
    paths = files_in(folder, result.unreadable)
    hashes: dict[str, str] = {}
    manifests: list[tuple[str, bytes]] = []
    for done, path in enumerate(paths, 1):
        name = str(path.relative_to(folder))
        try:
            hashes[sha256_file(path)] = name
            data = _manifest_in(path)
        except OSError:
            # One such file doesn't end the audit of all others.
            result.unreadable.append(name)
        else:
            result.files += 1
            if data is not None:
                manifests.append((name, data))
        tell(done)
    for history in rebuilt.replay.licenses.values():
        found = FilesOfLicense(print_file=hashes.get(history.file_hash))
        result.by_license[history.id] = found
    replayed = ReplayedLicenses(licenses, rebuilt)
    for name, data in manifests:
        _check_manifest(name, data, rebuilt, replayed, hashes, result)
    result.unreadable.sort()
    return result


def _manifest_in(path: Path) -> bytes | None:
    """What a file holds, if it begins as a manifest."""
    from imprimatur.manifest.document import MAX_SIZE

    with path.open("rb") as file:
        data = file.read(MAX_SIZE + 1)
    return data if data.startswith(b'{"manifest":{') and len(data) <= MAX_SIZE else None


def _check_manifest(
    name: str,
    data: bytes,
    rebuilt: Rebuilt,
    licenses: ReplayedLicenses,
    hashes: dict[str, str],
    result: FilesComparison,
) -> None:
    from imprimatur.manifest.document import ManifestInvalid
    from imprimatur.manifest.signature import SignedManifest
    from imprimatur.manifest.verification import ManifestRefused, verify_manifest

    try:
        signed = SignedManifest.from_bytes(data)
    except ManifestInvalid:
        result.unreadable.append(name)
        return
    manifest = signed.manifest
    id = format_id(manifest.id)
    history = rebuilt.replay.licenses.get(id)
    ours = (manifest.chain_id, manifest.contract.lower()) == (rebuilt.chain_id, licenses.address.lower())
    if history is None or not ours:
        return
    try:
        verify_manifest(signed, licenses, manifest.id)
    except ManifestRefused as error:
        result.contradictions.append(Contradiction("manifest-refused", f"{name}: {error}", id))
        return
    except NodeRefused:
        # Neither good nor bad. One such file doesn't end the audit of all others.
        result.not_checkable.append(name)
        return
    _note(result.by_license[id], name, signed.signer, manifest.hash, history)
    if manifest.sealing is not None:
        result.by_license[id].sealed_file = hashes.get(manifest.sealing.sha256)


def _note(found: FilesOfLicense, name: str, signer: str, hash: bytes, history: LicenseHistory) -> None:
    # The manifest of the file that was licensed, before one of a file approved later.
    if found.manifest is None or hash.hex() == history.manifest_hash:
        found.manifest, found.signer = name, signer
