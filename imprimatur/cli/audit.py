"""`imprimatur audit`: everything rebuilt from a node, checked, and compared."""

from pathlib import Path

import click

from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.options import (
    FOLDER,
    Hash,
    book_option,
    finality_option,
    json_option,
    node_option,
)
from imprimatur.cli.progress import progress
from imprimatur.cli.result import Result


@click.command(short_help="Rebuild everything from a node and look for contradictions.")
@node_option(required=True)
@book_option
@click.option(
    "--trusted-head",
    type=Hash(),
    help="Hash of a block that you trust. The audit ends there, and all headers are bound to it.",
)
@click.option(
    "--until", type=click.IntRange(min=0), help="Last block; the node's newest --finality block by default."
)
@click.option("--since", type=click.IntRange(min=0), default=0, help="List only copies from this block on.")
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
    """
    from imprimatur.audit import checks, files, portal
    from imprimatur.audit.rebuild import newest_block, rebuild, trusted_block
    from imprimatur.audit.report import Report
    from imprimatur.cli.audit_text import tell
    from imprimatur.cli.connection import connect

    if unverified and trusted_head:
        raise click.UsageError("--trusted-head binds headers that were computed, which --unverified doesn't.")
    connection = connect(node, book)
    licenses, devices = connection.licenses, connection.devices
    trusted = trusted_head and trusted_block(connection.rpc, "0x" + trusted_head.hex())
    if until is None:
        until = trusted.number if trusted else newest_block(connection.rpc, finality)
    elif trusted and until > trusted.number:
        raise click.UsageError(f"--until is after block {trusted.number}, which --trusted-head names.")
    first = min(licenses.since, devices.since)
    with progress("reading blocks", max(0, (trusted.number if trusted else until) - first + 1)) as done:
        rebuilt = rebuild(
            licenses,
            devices,
            until,
            verified=not unverified,
            trusted=trusted or None,
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
    contradictions = report.contradictions
    return Result(report.members(), tell(report), ExitCode.NO if contradictions else ExitCode.OK)
