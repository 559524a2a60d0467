"""`imprimatur certificate`: the file that proves one print offline."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imprimatur.cli.new_files import new_file, require_free
from imprimatur.cli.options import FILE, LicenseId, book_option, json_option, node_option
from imprimatur.cli.result import Result, in_lines
from imprimatur.license_id import format_id

if TYPE_CHECKING:
    from imprimatur.serials.tag import Tag


MOST_DIGITS = 19
"""Of a block's number: it has 64 bits at nodes."""


class BlockName(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A block's number, or what a node calls it."""

    name = "block"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value.isascii() and value.isdigit():
            if len(value) > MOST_DIGITS:
                self.fail("No chain has so many blocks.", param, ctx)
            return int(value)
        if value not in ("latest", "safe", "finalized"):
            self.fail("A block is a number, latest, safe or finalized.", param, ctx)
        return value


@click.group()
def certificate() -> None:
    """Files that prove one print without network."""


@certificate.command()
@click.argument("id", type=LicenseId())
@click.argument("copy", type=click.IntRange(1, 65_535))
@click.option("-o", "--output", required=True, type=FILE, help="The certificate to write.")
@click.option(
    "--state-at",
    type=BlockName(),
    help="Prove the license's state too, as of this block: number, latest, finalized.",
)
@click.option(
    "--tag", metavar="URL", help="The part's tag: the certificate then shows its serial. - reads it."
)
@node_option(required=True)
@book_option
@json_option
def build(
    id: int, copy: int, output: Path, state_at: int | str | None, tag: str | None, node: str, book: Path
) -> Result:
    """Ask a node for all that proves that copy number COPY of a license was consumed."""
    from imprimatur import certificate as certificates
    from imprimatur.cli.connection import connect

    require_free(output)
    opening = tag and _opening(tag, id, copy)
    connection = connect(node, book)
    data = certificates.build(connection.licenses, id, copy, state_at, opening or None)
    with new_file(output) as file:
        file.write(data)
    members = {"output": str(output), "license": format_id(id), "copy": copy, "size": len(data)}
    text = f"Written to {output} ({len(data)} bytes). Check it with: imprimatur verify {output}"
    return Result(members, in_lines([text]))


def _opening(text: str, id: int, copy: int) -> "Tag":
    from imprimatur.cli.tags import read_tag

    tag = read_tag(text)
    if (tag.id, tag.copy) != (id, copy):
        raise click.UsageError(f"The tag is that of copy {tag.copy} of the license {format_id(tag.id)}.")
    return tag
