"""`imprimatur audit`: everything rebuilt from a node, checked, and compared."""

from pathlib import Path

import click

from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.failure import CommandFailed
from imprimatur.cli.options import (
    FOLDER,
    Hash,
    book_option,
    check_url,
    finality_option,
    json_option,
    node_option,
)
from imprimatur.cli.progress import progress
from imprimatur.cli.result import Result

BLOCK = click.IntRange(0, 2**63 - 1)
"""A block's number; clients count in 64 bits."""


@click.command(short_help="Rebuild everything from a node and look for contradictions.")
@node_option(required=True)
@book_option
@click.option(
    "--trusted-head",
    type=Hash(),
    help="Hash of a block that you trust. The audit ends there, and all headers are bound to it.",
)
@click.option(
    "--trusted-node",
    metavar="URL",
    callback=check_url,
    help="Second node that you trust: instead of --trusted-head, its newest --finality block.",
)
@click.option("--until", type=BLOCK, help="Last block; the node's newest --finality block by default.")
@click.option("--since", type=BLOCK, default=0, help="List only copies from this block on.")
@finality_option
@click.option("--unverified", is_flag=True, help="Believe the node's logs: faster, and proves nothing.")
@click.option(
    "--database",
    envvar="IMPRIMATUR_AUDIT_DATABASE",
    show_envvar=True,
    metavar="PATH|URL",
    help="A portal's database to compare with; read only.",
)
@click.option(
    "--files", "folder", type=FOLDER, help="Folder with print files and manifests to look for, by hash."
)
@json_option
def audit(
    node: str,
    book: Path,
    trusted_head: bytes | None,
    trusted_node: str | None,
    until: int | None,
    since: int,
    finality: str,
    unverified: bool,
    database: str | None,
    folder: Path | None,
) -> Result:
    """Rebuild all licenses and prints from a node alone and look for contradictions.

    Every event is proven against its block's header (unless --unverified), replayed by the contracts' rules,
    and compared with the contracts' own state. For each license: who owns it, is the data intact, who is
    liable, how many were printed, was the owner paid.

    The exit code is 0 when there are none and a block that you trust vouches for everything (--trusted-head,
    --trusted-node), and 3 when there are none but no such block was named. Contradictions give 1.
    """
    from imprimatur.audit import checks, files, portal
    from imprimatur.audit.rebuild import block_of_trusted, newest_block, rebuild, trusted_block
    from imprimatur.audit.report import Report
    from imprimatur.chain.node import chain_id
    from imprimatur.chain.rpc import HttpRpc
    from imprimatur.cli.audit_text import tell
    from imprimatur.cli.checked_node import CheckedRpc
    from imprimatur.cli.connection import connect

    if trusted_head and trusted_node:
        raise click.UsageError("--trusted-head and --trusted-node: one block is enough.")
    if unverified and (trusted_head or trusted_node):
        raise click.UsageError(
            "A trusted block binds headers that were computed, which --unverified doesn't."
        )
    connection = connect(node, book)
    licenses, devices = connection.licenses, connection.devices
    trusted = None
    if trusted_head:
        trusted = trusted_block(connection.rpc, "0x" + trusted_head.hex())
    elif trusted_node:
        second = CheckedRpc(HttpRpc(trusted_node))
        if (found := chain_id(second)) != connection.chain_id:
            raise CommandFailed(f"The trusted node is on chain {found}, the other on {connection.chain_id}.")
        trusted = block_of_trusted(second, finality)
    if until is None:
        until = trusted.number if trusted else newest_block(connection.rpc, finality)
    elif trusted and until > trusted.number:
        raise click.UsageError(f"--until is after block {trusted.number}, which is the trusted one.")
    first = min(licenses.since, devices.since)
    with progress("reading blocks", max(0, (trusted.number if trusted else until) - first + 1)) as done:
        rebuilt = rebuild(
            licenses,
            devices,
            until,
            verified=not unverified,
            trusted=trusted,
            ahead=True,
            tell=lambda number: done(number - first + 1),
        )
    looked_at = None
    if folder is not None:
        with progress("hashing files", len(files.files_in(folder))) as done:
            looked_at = files.compare(folder, rebuilt, licenses, done)
    report = Report(
        rebuilt,
        {contract.NAME: contract.address for contract in (licenses, devices)},
        checks.compare(licenses, devices, rebuilt),
        None if database is None else portal.compare(database, rebuilt),
        looked_at,
        since,
    )
    code = ExitCode.OK if report.anchored else ExitCode.NOT_ANCHORED
    if report.contradictions:
        code = ExitCode.NO
    return Result(report.members(), tell(report), code)
