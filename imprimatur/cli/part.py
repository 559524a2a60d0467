"""Whether a part is what its tag says: the lookup behind `imprimatur verify TAG`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.result import Result
from imprimatur.cli.times import utc
from imprimatur.license_id import format_id

if TYPE_CHECKING:
    from imprimatur.certificate import Verified
    from imprimatur.cli.connection import Connection
    from imprimatur.serials.tag import Tag

LIMITS = (
    "A printed tag can be copied: the same serial on several parts is a sign of that. That a copy was "
    "consumed doesn't prove that the part is good."
)


def look_up(tag: "Tag", node: str, book: Path, finality: str) -> Result:
    """Find the print that the tag was made for, check its receipt against its block, say what became of it.

    The states are `genuine`, `not final` (the print's block may still be replaced), `scrapped` (reported as a
    failed print) and `unknown` (never consumed, or with another serial or tag).
    """
    from imprimatur import certificate as certificates
    from imprimatur.certificate import PrintNotFound
    from imprimatur.cli.anchoring import anchored_by
    from imprimatur.cli.connection import connect

    connection = connect(node, book)
    if connection.licenses.license_of(tag.id) is None:
        return _unknown(tag, connection, f"The license {format_id(tag.id)} was never issued.")
    try:
        data = certificates.build(connection.licenses, tag.id, tag.copy)
    except PrintNotFound:
        return _unknown(tag, connection, f"Copy {tag.copy} of its license was never consumed.")
    verified = certificates.verify(data, book)
    if verified.print.commitment != tag.commitment:
        return _unknown(tag, connection, f"Copy {tag.copy} of its license has another serial or tag.")
    failed = next(_events_of_copy(tag, connection, "PrintFailed", "copy"), None)
    if failed is not None:
        note = f"The print was reported as failed in block {failed.block_number}."
        return _found(tag, verified, connection, "scrapped", ExitCode.NO, note)
    if anchored_by(connection.rpc, data, book, verified, finality) is None:
        note = f"The node doesn't call the print's block {finality} yet. Ask again later."
        return _found(tag, verified, connection, "not final", ExitCode.NOT_ANCHORED, note)
    note = ""
    if granted := next(_events_of_copy(tag, connection, "CopiesGranted", "forCopy"), None):
        note = f"The owner granted a replacement for this copy in block {granted.block_number}."
    return _found(tag, verified, connection, "genuine", ExitCode.OK, note)


def _events_of_copy(tag: "Tag", connection: "Connection", name: str, member: str) -> Any:
    events = connection.licenses.events(name, id=tag.id)
    return (event for event in events if event.values[member] == tag.copy)


def _about(tag: "Tag", connection: "Connection", state: str) -> dict[str, Any]:
    return {
        "result": state,
        "chainId": connection.chain_id,
        "contract": connection.licenses.address,
        "license": format_id(tag.id),
        "owner": tag.owner,
        "copy": tag.copy,
        "serial": tag.serial,
        "tagAddress": tag.address,
        "commitment": "0x" + tag.commitment.hex(),
    }


def _unknown(tag: "Tag", connection: "Connection", why: str) -> Result:
    members = _about(tag, connection, "unknown") | {"note": why}
    text = f"Unknown: the chain doesn't know a part with this tag. {why}\nAs the node says."
    return Result(members, text, ExitCode.NO)


def _found(
    tag: "Tag", verified: "Verified", connection: "Connection", state: str, exit_code: ExitCode, note: str
) -> Result:
    from imprimatur.cli.verify import checksummed

    print, block = verified.print, verified.block
    facts = {
        "device": checksummed(print.device),
        "printer": checksummed(print.printer),
        "fileHash": print.file_hash.hex(),
        "block": {"number": block.number, "hash": "0x" + block.hash.hex(), "time": block.time},
    }
    lines = [
        f"{state.capitalize()}: serial {tag.serial}, copy {tag.copy} of the license {format_id(tag.id)}.",
        *([note] if note else []),
        f"owner    {tag.owner}",
        f"printer  {facts['printer']}",
        f"device   {facts['device']}",
        f"file     {facts['fileHash']}",
        f"block    {block.number} of chain {verified.chain_id}, {utc(block.time)}",
        LIMITS,
    ]
    members = _about(tag, connection, state) | facts | {"note": note}
    return Result(members, "\n".join(lines), exit_code)
