"""`imprimatur print`: what a print of a license would do, up to the step that would cost a copy."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imprimatur.cli.device import enrolled, profile_option
from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.failure import CommandFailed
from imprimatur.cli.options import LicenseId, book_option, finality_option, json_option, node_option
from imprimatur.cli.passwords import password_options
from imprimatur.cli.progress import progress
from imprimatur.cli.result import Result, in_lines
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import format_id, owner_of

if TYPE_CHECKING:
    from imprimatur.chain.print_license import License
    from imprimatur.cli.connection import Connection
    from imprimatur.device.offers import Offer
    from imprimatur.device.portal import Portal
    from imprimatur.device.profile import Profile
    from imprimatur.manifest.document import Sealing
    from imprimatur.manifest.verification import VerifiedManifest

HOST = (
    "Only a printer host can print: this command has no printer. examples/headless shows a small one, "
    "OctoPrint-Imprimatur is another. With --dry-run it checks all that costs nothing."
)


class NotOffered(ImprimaturError):
    """The portal has no such license for this device."""


class NothingSealed(ImprimaturError):
    """The license comes without a sealed file."""


class OtherSealedFile(ImprimaturError):
    """The portal delivers other bytes than its manifest says."""


@click.command("print", short_help="Check what a print would do (--dry-run).")
@click.argument("id", type=LicenseId(), metavar="LICENSE")
@profile_option
@click.option(
    "--dry-run", is_flag=True, help="Check everything, consume nothing. There is no other way here."
)
@finality_option
@node_option(required=True)
@book_option
@password_options
@json_option
def print_(
    id: int,
    profile: Path,
    dry_run: bool,
    finality: str,
    node: str,
    book: Path,
    password_file: Path | None,
    password_env: str | None,
) -> Result:
    """Do everything of a licensed print that costs nothing, and say what would come next.

    LICENSE is 0x and 64 digits, or OWNER/NUMBER. The sealed file is downloaded into the profile's folder and
    stays there, so that a print finds it; a broken download goes on where it was. Its hash, the signed
    manifest and the license are compared with the chain. No copy is consumed and nothing is signed.
    """
    if not dry_run:
        raise click.UsageError(HOST)
    from imprimatur.cli.connection import connect
    from imprimatur.cli.license import LicenseUnknown

    device, portal, _ = enrolled(profile, password_file, password_env)
    connection = connect(node, book)
    _require_same_contract(device, connection)
    license = connection.licenses.license_of(id)
    if license is None:
        raise LicenseUnknown(id)
    offer = _offer(portal, id)
    verified, is_final = _verified(offer, connection, finality)
    sealing = offer.manifest.sealing
    if sealing is None:
        raise NothingSealed(
            f"The license {format_id(id)} comes without a sealed file, so there is nothing to download. "
            "Compare your own file with it: imprimatur hash."
        )
    path = _download(portal, id, sealing, profile)
    return _told(device, connection, license, offer, verified, is_final, path)


def _require_same_contract(profile: "Profile", connection: "Connection") -> None:
    """Raises CommandFailed: the portal works with another contract than the one to trust."""
    about = profile.enrolment.portal
    if (about.chain_id, about.contract) != (connection.chain_id, connection.licenses.address):
        raise CommandFailed(
            f"The portal works with the contract {about.contract} on chain {about.chain_id}, and your "
            f"address book trusts {connection.licenses.address} on the node's chain {connection.chain_id}. "
            "Use the node of the right chain, or ask who runs the portal."
        )


def _offer(portal: "Portal", id: int) -> "Offer":
    offer = next((offer for offer in portal.jobs() if offer.id == id), None)
    if offer is None:
        raise NotOffered(
            f"The portal has no license {format_id(id)} for this device, or none that can be read: "
            "imprimatur jobs."
        )
    return offer


def _verified(offer: "Offer", connection: "Connection", finality: str) -> "tuple[VerifiedManifest, bool]":
    """The manifest that the chain agrees with, and whether the block that names it is final."""
    from imprimatur.manifest.verification import verify_manifest

    verified = verify_manifest(offer.signed, connection.licenses, offer.id)
    block = connection.rpc.call("eth_getBlockByNumber", [finality, False])
    return verified, block is not None and int(block["number"], 16) >= verified.event.block_number


def _download(portal: "Portal", id: int, sealing: "Sealing", profile: Path) -> Path:
    """Where the sealed file is, with the hash that its manifest says."""
    from imprimatur.device.profile import SEALED
    from imprimatur.device.sealed_cache import SealedCache

    cache = SealedCache(profile / SEALED)
    with progress("downloading", sealing.size) as done:
        cache.fetch(portal, id, sealing, lambda bytes, _all: done(bytes))
    if not cache.is_sound(sealing):
        raise OtherSealedFile(
            f"The portal delivers another file than the one with the SHA-256 {sealing.sha256}. It was "
            "removed. Try again; if that doesn't help, tell the owner."
        )
    return cache.path(sealing)


def _told(
    profile: "Profile",
    connection: "Connection",
    license: "License",
    offer: "Offer",
    verified: "VerifiedManifest",
    is_final: bool,
    path: Path,
) -> Result:
    """What a print would do now."""
    manifest, device = offer.manifest, profile.enrolment.device
    usability = connection.licenses.can_use(license.id, manifest.file_hash, device)
    wallet = connection.devices.wallet_of(device)
    members: dict[str, Any] = {
        "result": "ready" if usability else "refused",
        "reason": usability.reason,
        "accordingTo": "node",
        "consumed": False,
        "chainId": connection.chain_id,
        "contract": connection.licenses.address,
        "license": format_id(license.id),
        "number": offer.number,
        "owner": owner_of(license.id),
        "device": device,
        "wallet": wallet or device,
        "copy": license.used + 1 if usability else None,
        "remaining": license.remaining,
        "failuresLeft": max(0, license.failures_allowed - license.failed),
        "fileName": manifest.file_name,
        "size": manifest.file_size,
        "fileHash": manifest.file_hash,
        "sealedHash": manifest.sealing and manifest.sealing.sha256,
        "sealedFile": str(path),
        "manifestHash": manifest.hash.hex(),
        "manifestSigner": verified.signer,
        "manifestBlock": verified.event.block_number,
        "manifestIsFinal": is_final,
        "serialForOwner": manifest.log_recipient is not None,
        "deskUrl": profile.enrolment.portal.desk_url,
    }
    return Result(members, in_lines(_lines(members)), ExitCode.OK if usability else ExitCode.NO)


def _lines(members: dict[str, Any]) -> list[str]:
    if members["reason"] is None:
        first = f"Ready: a print would consume copy {members['copy']}; {members['remaining']} are left now."
    else:
        first = f"Refused: this device can't consume a copy ({members['reason']})."
    entry = (
        "readable by the owner" if members["serialForOwner"] else "readable by nobody: she gave no log key"
    )
    lines = [
        first,
        f"license   {members['license']}  {members['number']}",
        f"owner     {members['owner']}",
        f"device    {members['device']}, of the wallet {members['wallet']}",
        f"file      {members['fileName']}, {members['size']} bytes, SHA-256 {members['fileHash']}",
        f"sealed    {members['sealedFile']}, as its manifest says",
        f"manifest  signed by {members['manifestSigner']}, named in block {members['manifestBlock']}",
        f"failures  {members['failuresLeft']} more can be given back",
    ]
    if members["reason"] is None:
        lines += [
            f"A print would sign the use of this copy with a new job key and a new serial ({entry}),",
            f"wait until it is final on the chain, and ask the key desk {members['deskUrl']} for the key.",
        ]
    if not members["manifestIsFinal"]:
        lines.append("The block that names the manifest can still be replaced: ask again in a moment.")
    return [*lines, "Nothing was consumed, signed or sent. As this node says."]
