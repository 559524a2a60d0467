"""Whether a manifest is the one that the chain names, stated by whom the owner let.

Rights are read from the contract's events, as they stood where the license was issued in the chain's order:
exact within a block too, and no archive of old states is needed. Only the signature of a contract account
is asked for as of that block, which means at its end: JSON-RPC can't ask in between, so what such an account
comes to agree to later in the same block counts too.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from imprimatur.chain.contract import EXECUTION_REVERTED, block_parameter
from imprimatur.chain.interface import DecodedEvent
from imprimatur.chain.node import chain_id, has_code
from imprimatur.chain.orders import Right
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import format_id, owner_of
from imprimatur.manifest.document import Manifest, ManifestInvalid
from imprimatur.manifest.signature import SignedManifest, digest

_MAGIC_1271 = "1626ba7e"
"""Selector of ERC-1271's isValidSignature, and its answer when a signature is valid."""
_FAILED_CALL = re.compile(
    r"revert|out ?of ?gas|invalid ?(fe)? ?(opcode|jump|operation)|opcode ?(not ?found|not ?defined)"
    r"|bad ?(instruction|jump)|stack ?(under|over|limit)|write protection|static ?(call|state)"
    r"|return data out of bounds|out ?of ?offset|gas uint64 overflow|vm ?(execution error|exception)",
    re.IGNORECASE,
)
"""How nodes name what ends a contract's code: geth, Erigon, Nethermind, Besu, Reth, Hardhat, anvil. A state
that a node has thrown away is none of it."""


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
        NodeRefused: such as a contract's signature at a block whose state the node has forgotten. Signatures
            of keys need no old state.
    """
    if isinstance(signed, bytes):
        signed = SignedManifest.from_bytes(signed)
    manifest = signed.manifest
    _check_place(manifest, licenses, id)
    event = _named_by(manifest, licenses)
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
    """The event with the manifest's hash beside that of its file. For a file approved later the last approval
    counts; an approval of another file with this hash was a mistake and hides nothing.

    Raises:
        ManifestOfAnotherFile: the hash stands beside another file only.
        ManifestNotOnChain: it doesn't stand there at all.
    """
    hash, file_hash = manifest.hash, int(manifest.file_hash, 16)
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
    approved = [event for event in last.values() if event.values["approved"]]
    named = [event for event in [issued, *approved] if event.values["manifestHash"] == hash]
    for event in named:
        if event.values["fileHash"] == file_hash:
            return event
    if named:
        raise ManifestOfAnotherFile(
            f"The chain names this manifest for the file {named[0].values['fileHash']:064x}, but it "
            f"describes the file {manifest.file_hash}. Ask the owner for a correct manifest."
        )
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
    """Whether the signer is a contract that takes the signature at the end of the event's block (ERC-1271).

    A call that fails, for whatever reason of the contract's, doesn't agree.
    """
    from eth_abi.abi import encode

    # A contract's code stays (EIP-6780), and every node has that of today: where there is none, there is
    # nothing to ask, and no old state is needed to say so.
    if not has_code(licenses.rpc, signed.signer):
        return False
    arguments = encode(["bytes32", "bytes"], [digest(signed.manifest), signed.signature]).hex()
    call = {"to": signed.signer, "data": f"0x{_MAGIC_1271}{arguments}"}
    try:
        answer = licenses.rpc.call("eth_call", [call, block_parameter(event.block_hash)])
    except NodeRefused as error:
        if error.code == EXECUTION_REVERTED or _FAILED_CALL.search(f"{error.message} {error.data}"):
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
