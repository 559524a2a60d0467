"""`imprimatur verify`: whether a certificate proves what it says, and whether a part is what its tag says."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.options import (
    Account,
    Hash,
    LicenseId,
    book_option,
    finality_option,
    json_option,
    node_option,
)
from imprimatur.cli.result import Result, complain
from imprimatur.cli.tags import STDIN, is_tag, read_tag
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import format_id, owner_of

if TYPE_CHECKING:
    from imprimatur.certificate import Print, Verified
    from imprimatur.serials.tag import Tag


class OtherPart(ImprimaturError):
    """The certificate isn't about this part."""


@click.command(short_help="Check a certificate or a part.")
@click.argument("what", metavar="CERTIFICATE|TAG|SERIAL")
@click.option(
    "--block-hash", "hashes", type=Hash(), multiple=True, help="A block that you trust; can be repeated."
)
@click.option(
    "--chain",
    type=click.IntRange(min=1),
    help="Chain of these blocks; needed where the address book has the contract on several.",
)
@click.option("--license", "license_id", type=LicenseId(), help="With a SERIAL: its license.")
@click.option("--copy", type=click.IntRange(1, 65_535), help="With a SERIAL: its copy.")
@click.option("--tag-address", type=Account(), help="With a SERIAL: the account of its tag.")
@click.option(
    "--tag", "part", metavar="URL", help="With a CERTIFICATE: the tag of the part that it has to be about."
)
@click.option(
    "--language", type=click.Choice(("en", "de")), default="en", help="Of a certificate's explanation."
)
@finality_option
@node_option(required=False)
@book_option
@json_option
def verify(
    what: str,
    hashes: tuple[bytes, ...],
    chain: int | None,
    license_id: int | None,
    copy: int | None,
    tag_address: str | None,
    part: str | None,
    language: str,
    finality: str,
    node: str | None,
    book: Path,
) -> Result:
    """Check a certificate (a file), or a part by its tag.

    A certificate is checked without network; --block-hash or --node says which blocks you trust, else the
    answer is "consistent, not anchored" (exit code 3). A tag is a URL as scanned, - reads it from the
    standard input; a SERIAL needs --license, --copy and --tag-address, because the chain doesn't know
    serials. Both need --node, and the answer is what this node says.
    """
    about_serial = (license_id, copy, tag_address)
    is_url = what == STDIN or is_tag(what)
    if is_url and any(value is not None for value in about_serial):
        raise click.UsageError("A tag says itself what --license, --copy and --tag-address say of a serial.")
    if is_url or any(value is not None for value in about_serial):
        _refuse_for_part({"--block-hash": hashes, "--chain": chain, "--tag": part})
        tag = read_tag(what) if is_url else _tag_of(what, *about_serial)
    else:
        verified = _certificate(_read(what), hashes, chain, finality, node, book)
        return _told(verified if part is None else _of_part(verified, read_tag(part)), language)
    if node is None:
        raise click.UsageError(
            "A part is looked up on the chain: give a node by --node or in IMPRIMATUR_NODE."
        )
    from imprimatur.cli.part import look_up

    return look_up(tag, node, book, finality)


def _refuse_for_part(given: dict[str, Any]) -> None:
    """Raises click.UsageError: one of these options was given, and nothing would be made of it."""
    for option, value in given.items():
        if value not in (None, ()):
            raise click.UsageError(
                f"{option} is about a certificate. A part is looked up on --node, and that node is believed. "
                "To believe no node: `imprimatur certificate build`, then verify that file with --block-hash "
                "and --tag."
            )


def _tag_of(serial: str, id: int | None, copy: int | None, address: str | None) -> "Tag":
    from imprimatur.serials.tag import Tag

    if id is None or copy is None or address is None:
        raise click.UsageError("A serial is checked with all of --license, --copy and --tag-address.")
    return Tag(id, copy, serial, address)


def _read(name: str) -> bytes:
    from imprimatur.certificate.document import MAX_SIZE

    path = Path(name)
    if not path.exists() and "/" not in name and "." not in name:
        raise click.UsageError(
            f"There is no file {name}. If it is a serial: the chain holds only commitments, so give "
            "--license, --copy and --tag-address too, or the whole tag."
        )
    with path.open("rb") as file:
        return file.read(MAX_SIZE + 1)


def _certificate(
    data: bytes,
    hashes: tuple[bytes, ...],
    chain: int | None,
    finality: str,
    node: str | None,
    book: Path,
) -> "Verified":
    """What a certificate proves, anchored as far as the reader said what to trust."""
    from imprimatur import certificate as certificates
    from imprimatur.chain.rpc import HttpRpc
    from imprimatur.cli.anchoring import vouches
    from imprimatur.cli.checked_node import CheckedRpc
    from imprimatur.cli.connection import require_book

    require_book(book)
    verified = certificates.verify(data, book)
    if hashes:
        anchor = certificates.Anchor(chain or _only_chain(verified, book), frozenset(hashes))
        verified = certificates.verify(data, book, anchor)
    if node is None:
        return verified
    if vouches(CheckedRpc(HttpRpc(node)), verified.chain_id, verified.blocks, finality):
        return replace(verified, anchored=True)
    complain(f"The node doesn't call the certificate's newest block {finality} yet. Ask again later.")
    return verified


def _only_chain(verified: "Verified", book: Path) -> int:
    """The chain of the reader's hashes when the address book leaves no choice. The certificate has no say."""
    from imprimatur import address_book
    from imprimatur.chain.print_license import CONTRACT

    chains = address_book.chains_with(book, CONTRACT, checksummed(verified.contract))
    if len(chains) != 1:
        raise click.UsageError(
            f"The contract is ours on the chains {', '.join(map(str, chains))}, and a block's hash doesn't "
            "name its chain. Say by --chain on which one you found the hashes."
        )
    return chains[0]


def _of_part(verified: "Verified", tag: "Tag") -> "Verified":
    """The same, with the serial and tag of the part that it is about.

    Raises:
        OtherPart: it is about another part.
    """
    if tag.commitment != verified.print.commitment:
        raise OtherPart(
            f"The certificate is valid, but not for this part: it has another commitment than serial "
            f"{tag.serial}, copy {tag.copy} of the license {format_id(tag.id)}."
        )
    return replace(verified, tag=tag.public)


def _told(verified: "Verified", language: str) -> Result:
    """The answer about a certificate that is consistent."""
    from imprimatur.certificate import explain

    explanation = explain(verified, "de" if language == "de" else "en")
    return Result(
        members_of(verified)
        | {
            "explanation": {
                "language": language,
                "headline": explanation.headline,
                "proven": list(explanation.proven),
                "notProven": list(explanation.not_proven),
            }
        },
        str(explanation),
        ExitCode.OK if verified.anchored else ExitCode.NOT_ANCHORED,
    )


def members_of(verified: "Verified") -> dict[str, Any]:
    """What is proven, for programs."""
    members: dict[str, Any] = {
        "result": "proven" if verified.anchored else "not anchored",
        "chainId": verified.chain_id,
        "contract": checksummed(verified.contract),
        "print": _print(verified.print),
        "blocks": [
            {"number": block.number, "hash": "0x" + block.hash.hex(), "time": block.time}
            for block in verified.blocks
        ],
    }
    if verified.tag is not None:
        members["tag"] = {"serial": verified.tag.serial, "address": verified.tag.address}
    if verified.state is not None:
        state = verified.state.license
        members["state"] = {
            "block": verified.state.block.number,
            "outcome": verified.state.outcome.value,
            "printer": checksummed(state.printer),
            "validUntil": state.valid_until,
            "revoked": state.revoked,
            "remaining": state.remaining,
            "used": state.used,
            "failed": state.failed,
            "failuresAllowed": state.failures_allowed,
        }
    return members


def _print(print: "Print") -> dict[str, Any]:
    return {
        "license": format_id(print.id),
        "owner": owner_of(print.id),
        "copy": print.copy,
        "device": checksummed(print.device),
        "printer": checksummed(print.printer),
        "fileHash": print.file_hash.hex(),
        "commitment": print.commitment and "0x" + print.commitment.hex(),
    }


def checksummed(account: bytes) -> str:
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address(account))
