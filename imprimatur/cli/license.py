"""`imprimatur license`: a license as it stands on the chain."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imprimatur.cli.options import LicenseId, book_option, json_option, node_option
from imprimatur.cli.result import Result, in_lines
from imprimatur.cli.times import utc
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import format_id, owner_of

if TYPE_CHECKING:
    from imprimatur.chain.print_license import License, PrintLicense


class LicenseUnknown(ImprimaturError):
    """No such license was issued."""

    def __init__(self, id: int) -> None:
        super().__init__(f"The license {format_id(id)} was never issued on this chain.")
        self.license = format_id(id)


@click.group()
def license() -> None:
    """Licenses on the chain."""


@license.command()
@click.argument("id", type=LicenseId())
@node_option(required=True)
@book_option
@json_option
def show(id: int, node: str, book: Path) -> Result:
    """Terms and state of a license, as the node tells. ID is 0x and 64 digits, or OWNER/NUMBER."""
    from imprimatur.chain.rpc import NodeUnreachable
    from imprimatur.cli.connection import connect

    connection = connect(node, book)
    # The contract is read at one block: the parts of the answer belong together.
    block = connection.rpc.call("eth_getBlockByNumber", ["latest", False])
    if block is None:
        raise NodeUnreachable("The chain node has no newest block. Ask another node.")
    at = str(block["hash"])
    found = connection.licenses.license_of(id, at)
    if found is None:
        raise LicenseUnknown(id)
    members = {
        "license": format_id(id),
        "chainId": connection.chain_id,
        "contract": connection.licenses.address,
        "block": {"number": int(block["number"], 16), "hash": at, "time": int(block["timestamp"], 16)},
        "owner": owner_of(id),
        "controller": connection.licenses.controller_of(owner_of(id), at),
        **_members(found),
        "issued": _issued(connection.licenses, id, int(block["number"], 16)),
    }
    return Result(members, _text(members))


def _members(license: "License") -> dict[str, Any]:
    from imprimatur.chain.orders import Terms

    return {
        "printer": license.printer,
        "fileHash": license.file_hash,
        "validUntil": license.valid_until,
        "expired": license.is_expired(time.time()),
        "transferable": license.has(Terms.TRANSFERABLE),
        "revocable": license.has(Terms.REVOCABLE),
        "trustedDevice": license.has(Terms.TRUSTED_DEVICE),
        "revoked": license.has(Terms.REVOKED),
        "remaining": license.remaining,
        "used": license.used,
        "failed": license.failed,
        "failuresAllowed": license.failures_allowed,
    }


def _issued(licenses: "PrintLicense", id: int, newest: int) -> dict[str, Any] | None:
    """What the log says of the issuing. It isn't asked as of a block, so whatever came later is left out."""
    events = licenses.events("LicenseIssued", id=id)
    event = next((event for event in events if event.block_number <= newest), None)
    if event is None:
        return None
    return {
        "block": event.block_number,
        "transaction": event.transaction_hash,
        "copies": event.values["copies"],
        "manifestHash": event.values["manifestHash"].hex(),
    }


def _text(members: dict[str, Any]) -> str:
    flags = [name for name in ("transferable", "revocable", "trustedDevice") if members[name]]
    state = "ended by its owner" if members["revoked"] else "expired" if members["expired"] else "valid"
    until = utc(members["validUntil"]) if members["validUntil"] else "for ever"
    lines = [
        f"license    {members['license']}",
        f"state      {state}",
        f"copies     {members['remaining']} left, {members['used']} consumed",
        f"failures   {members['failed']} of {members['failuresAllowed']} allowed",
        f"owner      {members['owner']}",
        f"printer    {members['printer']}",
        f"file       {members['fileHash']}",
        f"valid      {until}",
        f"terms      {', '.join(flags) or 'none'}",
    ]
    if members["controller"] != members["owner"]:
        lines.insert(5, f"controller {members['controller']}")
    if issued := members["issued"]:
        lines.append(f"issued     block {issued['block']}, {issued['copies']} copies")
        if int(issued["manifestHash"], 16):
            lines.append(f"manifest   {issued['manifestHash']}")
    block = members["block"]
    lines.append(
        f"As the node says, at block {block['number']} ({utc(block['time'])}) of chain {members['chainId']}."
    )
    return in_lines(lines)
