"""Comparing licenses with files at hand: print files, sealed files, and manifests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from imprimatur.audit.contradiction import Contradiction
from imprimatur.audit.history import LicenseHistory
from imprimatur.audit.rebuild import Rebuilt
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
    """What a folder holds of the licenses' files."""

    files: int
    unreadable: list[str] = field(default_factory=list)
    """Files that begin as a manifest and aren't one, or no longer."""
    not_checkable: list[str] = field(default_factory=list)
    """Manifests whose signature the node wouldn't look up: a contract's, at a state that it has forgotten."""
    by_license: dict[str, FilesOfLicense] = field(default_factory=dict)
    contradictions: list[Contradiction] = field(default_factory=list)


def files_in(folder: Path) -> list[Path]:
    """All files of a folder and of those in it."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def compare(
    folder: Path, rebuilt: Rebuilt, licenses: PrintLicense, tell: Tell = lambda _done: None
) -> FilesComparison:
    """Look for the licenses' files in a folder, by hash; names don't matter.

    A manifest for one of the licenses has to be one that the chain names, signed by whom the owner let.

    Raises:
        OSError: a file can't be read.
        NodeUnreachable: when a manifest's signature is looked up.
    """
    paths = files_in(folder)
    result = FilesComparison(len(paths))
    hashes: dict[str, str] = {}
    for done, path in enumerate(paths, 1):
        hashes[sha256_file(path)] = str(path.relative_to(folder))
        tell(done)
    for history in rebuilt.replay.licenses.values():
        found = FilesOfLicense(print_file=hashes.get(history.file_hash))
        result.by_license[history.id] = found
    for path in paths:
        _look_for_manifest(path, str(path.relative_to(folder)), rebuilt, licenses, hashes, result)
    return result


def _look_for_manifest(
    path: Path,
    name: str,
    rebuilt: Rebuilt,
    licenses: PrintLicense,
    hashes: dict[str, str],
    result: FilesComparison,
) -> None:
    from imprimatur.manifest.document import MAX_SIZE, ManifestInvalid
    from imprimatur.manifest.signature import SignedManifest
    from imprimatur.manifest.verification import ManifestRefused, verify_manifest

    if path.stat().st_size > MAX_SIZE:
        return
    data = path.read_bytes()
    if not data.startswith(b'{"manifest":{'):
        return
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
