"""Whether a part is what its tag says: the lookup behind `imprimatur verify TAG`.

The node could make up a chain of its own, so the answer is the node's word. What it can't do is to leave
something out: that a copy didn't fail is read from the license's word in the contract's storage, which is
proven against a block's header, and the log has to fit it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.result import Result, in_lines
from imprimatur.cli.times import utc
from imprimatur.license_id import format_id

if TYPE_CHECKING:
    from imprimatur.certificate import Block, ProvenState, Verified
    from imprimatur.chain.interface import DecodedEvent
    from imprimatur.cli.connection import Connection
    from imprimatur.serials.tag import Tag

LIMITS = (
    "A printed tag can be copied: the same serial on several parts is a sign of that. That a copy was "
    "consumed doesn't prove that the part is good."
)
NODES_WORD = (
    "As this node says. To believe no node, verify a certificate with hashes of blocks that you trust, or "
    "run an audit with --trusted-head."
)


def look_up(tag: "Tag", node: str, book: Path, finality: str) -> Result:
    """Find the print that the tag was made for, check its receipt against its block, say what became of it.

    The states are `genuine`, `not final` (the print's block may still be replaced), `scrapped` (reported as a
    failed print) and `unknown` (never consumed, or with another serial or tag).

    Raises:
        NodeInconsistent: the node's log doesn't fit the contract's storage; beside the errors of `connect`
            and `certificate.build`.
    """
    from imprimatur import certificate as certificates
    from imprimatur.certificate import CertificateInvalid, NodeInconsistent, PrintNotFound
    from imprimatur.cli.anchoring import vouches
    from imprimatur.cli.connection import connect

    connection = connect(node, book)
    if connection.licenses.license_of(tag.id) is None:
        return _unknown(tag, connection, f"The license {format_id(tag.id)} was never issued.")
    try:
        data = certificates.build(connection.licenses, tag.id, tag.copy, "latest")
    except PrintNotFound:
        return _unknown(tag, connection, f"Copy {tag.copy} of its license was never consumed.")
    except CertificateInvalid as error:
        # Behind one address there can be several nodes, and one of them is late.
        raise NodeInconsistent("The node's newest block is older than the print. Ask again.") from error
    verified = certificates.verify(data, book)
    if verified.print.commitment != tag.commitment:
        return _unknown(tag, connection, f"Copy {tag.copy} of its license has another serial or tag.")
    failed, granted = _became(tag, verified, connection)
    if failed is not None:
        note = f"The print was reported as failed in block {failed.block_number}."
        return _found(tag, verified, connection, "scrapped", ExitCode.NO, note)
    if not vouches(connection.rpc, verified.chain_id, [verified.block], finality):
        note = f"The node doesn't call the print's block {finality} yet. Ask again later."
        return _found(tag, verified, connection, "not final", ExitCode.NOT_ANCHORED, note)
    note = ""
    if granted is not None:
        note = f"The owner granted a replacement for this copy in block {granted.block_number}."
    return _found(tag, verified, connection, "genuine", ExitCode.OK, note)


def _became(
    tag: "Tag", verified: "Verified", connection: "Connection"
) -> "tuple[DecodedEvent | None, DecodedEvent | None]":
    """The events of this copy's failure and replacement, after the log was compared with the storage.

    Raises:
        NodeInconsistent: something is missing in the log, or is too much.
    """
    from imprimatur.certificate import NodeInconsistent, Outcome

    names = ("PrintFailed", "CopiesGranted", "LicenseTransferred")
    events = list(connection.licenses.events(*names, id=tag.id))
    failures = [event for event in events if event.name == "PrintFailed"]
    failed = next((event for event in failures if event.values["copy"] == tag.copy), None)
    grants = (event for event in events if event.name == "CopiesGranted")
    granted = next((event for event in grants if event.values["forCopy"] == tag.copy), None)
    state = _state(verified)
    # Each failure is counted in storage. Those of later blocks aren't in it yet.
    counted = sum(event.block_number <= state.block.number for event in failures)
    # Nothing but these closes a copy.
    moved = any(
        event.name == "LicenseTransferred" and event.block_number >= verified.block.number for event in events
    )
    unexplained = state.outcome is Outcome.CLOSED and not (failed or granted or moved)
    if counted != state.license.failed or unexplained:
        raise NodeInconsistent(
            f"The contract counts {state.license.failed} failed prints of this license at block "
            f"{state.block.number}, and the node's log, which shows {counted}, doesn't fit that. Whether "
            "this part was scrapped isn't known: ask another node."
        )
    return failed, granted


def _state(verified: "Verified") -> "ProvenState":
    if verified.state is None:
        raise ValueError("the certificate was built without a state")
    return verified.state


def _about(tag: "Tag", connection: "Connection", state: str) -> dict[str, Any]:
    return {
        "result": state,
        "accordingTo": "node",
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
    lines = [f"Unknown: the chain doesn't know a part with this tag. {why}", NODES_WORD]
    return Result(members, in_lines(lines), ExitCode.NO)


def _found(
    tag: "Tag", verified: "Verified", connection: "Connection", state: str, exit_code: ExitCode, note: str
) -> Result:
    from imprimatur.cli.verify import checksummed

    print, block, newest = verified.print, verified.block, _state(verified).block
    facts = {
        "device": checksummed(print.device),
        "printer": checksummed(print.printer),
        "fileHash": print.file_hash.hex(),
        "block": _block(block),
        "asOf": _block(newest),
    }
    lines = [
        f"{state.capitalize()}: serial {tag.serial}, copy {tag.copy} of the license {format_id(tag.id)}.",
        *([note] if note else []),
        f"owner    {tag.owner}",
        f"printer  {facts['printer']}",
        f"device   {facts['device']}",
        f"file     {facts['fileHash']}",
        f"block    {block.number} of chain {verified.chain_id}, {utc(block.time)}",
        f"as of    block {newest.number}, {utc(newest.time)}",
        LIMITS,
        NODES_WORD,
    ]
    members = _about(tag, connection, state) | facts | {"note": note}
    return Result(members, in_lines(lines), exit_code)


def _block(block: "Block") -> dict[str, Any]:
    return {"number": block.number, "hash": "0x" + block.hash.hex(), "time": block.time}
