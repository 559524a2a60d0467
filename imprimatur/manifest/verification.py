"""Whether a manifest is the one that the chain names, stated by whom the owner let.

Rights are read from the contract's events, as they stood where the license was issued in the chain's order:
exact within a block too, and no archive of old states is needed. Only the signature of a contract account
is asked for at that block.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from imprimatur.chain.contract import EXECUTION_REVERTED, block_parameter
from imprimatur.chain.interface import DecodedEvent
from imprimatur.chain.node import chain_id
from imprimatur.chain.orders import Right
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import format_id, owner_of
from imprimatur.manifest.document import Manifest, ManifestInvalid
from imprimatur.manifest.signature import SignedManifest, digest

_MAGIC_1271 = "1626ba7e"
"""Selector of ERC-1271's isValidSignature, and its answer when a signature is valid."""


class ManifestRefused(ImprimaturError):
    """The manifest can't be trusted; don't use the file."""


class ManifestOfAnotherLicense(ManifestRefused):
    """The manifest names another license, contract or chain."""


class ManifestNotOnChain(ManifestRefused):
    """The chain doesn't hold this manifest's hash for the license, or no longer."""


class ManifestOfAnotherFile(ManifestRefused):
    """The chain holds the hash of the manifest beside that of another file."""


class SignerNotAllowed(ManifestRefused):
    """The signer didn't act for the owner when the hash was put on the chain."""


class SignatureRefused(ManifestRefused):
    """The signature isn't the signer's."""


@dataclass(frozen=True, slots=True)
class VerifiedManifest:
    """A manifest that the chain agrees with.

    `event` is the `LicenseIssued` or the `FileApproved` that names it: it counts when its block is final.
    `right` is what an operator used, and NONE when the owner or who acts for her signed.
    """

    manifest: Manifest
    signer: str
    right: Right
    event: DecodedEvent


def verify_manifest(signed: SignedManifest | bytes, licenses: PrintLicense, id: int) -> VerifiedManifest:
    """Check a manifest against the chain, before anything is paid.

    Args:
        signed: as read, or its bytes.
        licenses: the contract to trust; it must be searched from the block of its deployment.
        id: license that the file is to be printed under.

    Raises:
        ManifestInvalid: no canonical manifest.
        ManifestRefused: one of its subclasses, with the reason.
        NodeRefused: such as a contract's signature at a block whose state the node has forgotten.
    """
    if isinstance(signed, bytes):
        signed = SignedManifest.from_bytes(signed)
    manifest = signed.manifest
    _check_place(manifest, licenses, id)
    event = _named_by(manifest, licenses)
    if event.values["fileHash"] != int(manifest.file_hash, 16):
        raise ManifestOfAnotherFile(
            f"The chain names this manifest for the file {event.values['fileHash']:064x}, but it describes "
            f"the file {manifest.file_hash}. Ask the owner for a correct manifest."
        )
    needed = Right.ISSUE if event.name == "LicenseIssued" else Right.APPROVE_FILE
    right = _right_used(signed.signer, licenses, event, needed)
    if not signed.has_key_signature() and not _contract_agreed(signed, licenses, event):
        raise SignatureRefused(
            f"The manifest's signature isn't that of {signed.signer}. Download it again; if that doesn't "
            "help, ask who sent it."
        )
    return VerifiedManifest(manifest, signed.signer, right, event)


def _check_place(manifest: Manifest, licenses: PrintLicense, id: int) -> None:
    if manifest.id != id:
        raise ManifestOfAnotherLicense(
            f"This is the manifest of license {format_id(manifest.id)}, not of {format_id(id)}."
        )
    if manifest.contract.lower() != licenses.address.lower():
        raise ManifestOfAnotherLicense(
            f"This is a manifest for the contract {manifest.contract}, not for {licenses.address}."
        )
    if manifest.chain_id != (found := chain_id(licenses.rpc)):
        raise ManifestOfAnotherLicense(
            f"This is a manifest for chain {manifest.chain_id}, but the node belongs to chain {found}."
        )


def _named_by(manifest: Manifest, licenses: PrintLicense) -> DecodedEvent:
    """The event with the manifest's hash. For a file approved later the last approval counts."""
    hash = manifest.hash
    last: dict[int, DecodedEvent] = {}
    issued = None
    for event in licenses.events("LicenseIssued", "FileApproved", id=manifest.id):
        if event.name == "LicenseIssued":
            issued = event
        else:
            last[event.values["fileHash"]] = event
    if issued is None:
        raise ManifestNotOnChain(
            f"The license {format_id(manifest.id)} isn't on the chain. Is the contract searched from "
            "its first block?"
        )
    if issued.values["manifestHash"] == hash:
        return issued
    for event in last.values():
        if event.values["manifestHash"] == hash and event.values["approved"]:
            return event
    raise ManifestNotOnChain(
        f"The chain doesn't name this manifest for license {format_id(manifest.id)}, or its file is no "
        "longer approved. Download it again; if that doesn't help, ask the owner."
    )


def _right_used(signer: str, licenses: PrintLicense, event: DecodedEvent, needed: Right) -> Right:
    """By which right `signer` stood for the owner where `event` is; NONE: as herself.

    Raises:
        SignerNotAllowed: by none.
    """
    owner = owner_of(event.values["id"])
    controller = owner
    for handover in _before(event, licenses.events("ControlTransferred", id=int(owner, 16))):
        controller = handover.values["to"]
    if signer == controller:
        return Right.NONE
    rights, until = Right.NONE, 0
    for given in _before(event, licenses.events("OperatorSet", id=int(owner, 16), account=signer)):
        rights, until = Right(given.values["rights"]), given.values["until"]
    if needed in rights and _time_of(licenses, event) <= until:
        return needed
    raise SignerNotAllowed(
        f"The manifest was signed by {signer}, who wasn't allowed to act for the owner {owner} when its hash "
        "was put on the chain."
    )


def _before(event: DecodedEvent, others: Iterator[DecodedEvent]) -> Iterator[DecodedEvent]:
    place = (event.block_number, event.log_index)
    return (other for other in others if (other.block_number, other.log_index) < place)


def _time_of(licenses: PrintLicense, event: DecodedEvent) -> int:
    """Unix second of an event's block."""
    block = licenses.rpc.call("eth_getBlockByHash", [event.block_hash, False])
    if block is None:
        raise ManifestNotOnChain("The chain was reorganised just now. Try again.")
    return int(block["timestamp"], 16)


def _contract_agreed(signed: SignedManifest, licenses: PrintLicense, event: DecodedEvent) -> bool:
    """Whether the signer is a contract that took the signature at the event's block (ERC-1271)."""
    from eth_abi.abi import encode

    arguments = encode(["bytes32", "bytes"], [digest(signed.manifest), signed.signature]).hex()
    call = {"to": signed.signer, "data": f"0x{_MAGIC_1271}{arguments}"}
    try:
        answer = licenses.rpc.call("eth_call", [call, block_parameter(event.block_hash)])
    except NodeRefused as error:
        if error.code == EXECUTION_REVERTED or "revert" in error.message.lower():
            return False
        raise
    return str(answer) == "0x" + _MAGIC_1271.ljust(64, "0")


__all__ = [
    "ManifestInvalid",
    "ManifestNotOnChain",
    "ManifestOfAnotherFile",
    "ManifestOfAnotherLicense",
    "ManifestRefused",
    "SignatureRefused",
    "SignerNotAllowed",
    "VerifiedManifest",
    "verify_manifest",
]
