"""`imprimatur enrol` and `imprimatur jobs`: a device of a printer, and what a portal has for it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imprimatur.cli.failure import CommandFailed
from imprimatur.cli.new_files import PRIVATE, new_file, require_free
from imprimatur.cli.options import FILE, FOLDER, Account, Command, json_option
from imprimatur.cli.passwords import known_password, password_options
from imprimatur.cli.result import Result, in_lines
from imprimatur.license_id import format_id

if TYPE_CHECKING:
    from imprimatur.chain.signers import Signer
    from imprimatur.device.offers import Offer, Skipped
    from imprimatur.device.portal import Portal
    from imprimatur.device.profile import Profile

STDIN = Path("-")
LONGEST_INVITATION = 200
"""Characters read of an invitation."""


def profile_option(command: Command) -> Command:
    return click.option(
        "--profile", required=True, type=FOLDER, help="Folder that `imprimatur enrol` has filled."
    )(command)


@click.command(short_help="Accept a portal's invitation for a device.")
@click.option("--portal", "url", required=True, metavar="URL", help="Address of the portal.")
@click.option("--keystore", required=True, type=FILE, help="The device's key, made by `imprimatur keys new`.")
@click.option(
    "--profile",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to make, for what the portal answers. Only you can look into it.",
)
@click.option(
    "--invitation-file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="File whose first line is the invitation, - for the standard input; else it is typed in.",
)
@click.option(
    "--wallet", type=Account(), help="Wallet of the printer that has bound the device; the device by default."
)
@click.option(
    "--allow-http", is_flag=True, help="Ask another machine without TLS. For networks that you trust."
)
@password_options
@json_option
def enrol(
    url: str,
    keystore: Path,
    profile: Path,
    invitation_file: Path | None,
    wallet: str | None,
    allow_http: bool,
    password_file: Path | None,
    password_env: str | None,
) -> Result:
    """Accept the invitation of a license owner for this device, and keep what the portal answers in a folder.

    An invitation is a secret that works once, so no option takes it. If the answer gets lost, the same
    command again brings it.
    """
    from imprimatur.chain.signers import open_keystore
    from imprimatur.device.portal import Portal
    from imprimatur.device.profile import NAME, Profile

    profile.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_free(profile / NAME)
    invitation = _invitation(invitation_file)
    signer = open_keystore(keystore, known_password(password_file, password_env))
    portal = Portal(url, signer, allow_http)
    enrolment = portal.enrol(invitation, wallet or signer.address, _encryption_key(profile))
    with new_file(profile / NAME, PRIVATE) as file:
        file.write(Profile(portal.url, allow_http, keystore.absolute(), enrolment).to_bytes())
    about = enrolment.portal
    members = {
        "profile": str(profile),
        "device": enrolment.device,
        "wallet": enrolment.wallet,
        "printer": enrolment.printer,
        "owner": enrolment.owner,
        "chainId": about.chain_id,
        "contract": about.contract,
        "deskUrl": about.desk_url,
        "deskAddress": about.desk_address,
    }
    lines = [
        f"printer   {enrolment.printer}, invited by {enrolment.owner}",
        f"device    {enrolment.device}",
        f"wallet    {enrolment.wallet}",
        f"contract  {about.contract} on chain {about.chain_id}",
        f"key desk  {about.desk_address}",
        f"Enrolled. {profile} holds what the portal said.",
    ]
    return Result(members, in_lines(lines))


@click.command(short_help="Licenses that a portal has for a device.")
@profile_option
@password_options
@json_option
def jobs(profile: Path, password_file: Path | None, password_env: str | None) -> Result:
    """List the licenses of the device's wallet, as its portal tells.

    Nothing of it is compared with the chain: `imprimatur print --dry-run` does that.
    """
    _, portal, _ = enrolled(profile, password_file, password_env)
    skipped: list[Skipped] = []
    offers = list(portal.jobs(skipped.append))
    members = {
        "accordingTo": "portal",
        "jobs": [_members(offer) for offer in offers],
        "skipped": [{"license": _id(entry), "reason": entry.reason} for entry in skipped],
    }
    lines = [line for offer in offers for line in _lines(offer)]
    lines += [f"left out   {_id(entry) or 'an entry'}: {entry.reason}" for entry in skipped]
    return Result(members, in_lines(lines or ["The portal has no license for this device."]))


def enrolled(
    folder: Path, password_file: Path | None, password_env: str | None
) -> "tuple[Profile, Portal, Signer]":
    """An enrolled device's profile, its portal, and its key.

    Raises:
        ProfileUnusable, KeystoreUnusable
        CommandFailed: the key is another one than the one that was enrolled.
    """
    from imprimatur.chain.signers import keystore_address, open_keystore
    from imprimatur.device.portal import Portal
    from imprimatur.device.profile import load

    profile = load(folder)
    if keystore_address(profile.keystore) != profile.enrolment.device:
        raise CommandFailed(
            f"The key in {profile.keystore} isn't that of the device {profile.enrolment.device}. Put the "
            "right file there, or enrol this one into another folder."
        )
    signer = open_keystore(profile.keystore, known_password(password_file, password_env))
    return profile, Portal(profile.url, signer, profile.allow_http), signer


def _invitation(file: Path | None) -> str:
    """The one-time code, unseen."""
    if file is None:
        if not sys.stdin.isatty():
            raise click.UsageError("There is no terminal to ask for the invitation. Use --invitation-file.")
        text = str(click.prompt("Invitation", hide_input=True, err=True))
    elif file == STDIN:
        text = sys.stdin.readline(LONGEST_INVITATION)
    else:
        with file.open("rb") as stream:
            text = stream.readline(LONGEST_INVITATION).decode("ascii", "replace")
    code = text.strip()
    if not 16 <= len(code) <= 64 or not code.isascii() or not code.replace("-", "").isalnum():
        raise click.UsageError(
            "That isn't an invitation: it has 16 to 64 letters, digits and dashes. Copy it again from the "
            "portal."
        )
    return code


def _encryption_key(profile: Path) -> bytes:
    """The public half of the device's encryption key; made once, so that asking again says the same."""
    from imprimatur.cli.sealing import read_key
    from imprimatur.device.profile import ENCRYPTION_KEY
    from imprimatur.sealing import identity_text, new_key, public_key

    path = profile / ENCRYPTION_KEY
    if not path.exists():
        with new_file(path, PRIVATE) as file:
            file.write(identity_text(new_key()).encode() + b"\n")
    return public_key(read_key(path))


def _id(entry: "Skipped") -> str | None:
    return None if entry.id is None else format_id(entry.id)


def _members(offer: "Offer") -> dict[str, Any]:
    manifest, sealing = offer.manifest, offer.manifest.sealing
    return {
        "license": format_id(offer.id),
        "number": offer.number,
        "owner": offer.owner,
        "remaining": offer.remaining,
        "fileName": manifest.file_name,
        "size": manifest.file_size,
        "fileHash": manifest.file_hash,
        "sealedSize": sealing and sealing.size,
        "sealedHash": sealing and sealing.sha256,
        "material": manifest.material,
        "seconds": manifest.print_seconds,
        "layers": manifest.layers,
        "filamentGrams": offer.filament_grams,
    }


def _lines(offer: "Offer") -> list[str]:
    manifest = offer.manifest
    left = "copies unknown" if offer.remaining is None else f"{offer.remaining} left"
    facts = [left, f"{manifest.file_size} bytes"]
    facts += _known(manifest.material, "{}") + _known(manifest.print_seconds, "{} s")
    facts += _known(offer.filament_grams, "{} g")
    return [
        f"{format_id(offer.id)}  {offer.number or 'without a readable number'}",
        f"    {manifest.file_name}, of {offer.owner}: {', '.join(facts)}",
    ]


Fact = TypeVar("Fact", str, int, float)


def _known(fact: Fact | None, form: str) -> list[str]:
    return [] if fact is None else [form.format(fact)]
