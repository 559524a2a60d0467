"""Options and kinds of arguments that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

Command = TypeVar("Command", bound=Callable[..., Any])

BOOK = "IMPRIMATUR_DEPLOYMENTS"
NODE = "IMPRIMATUR_NODE"
FINALITIES = ("finalized", "safe", "latest")

FILE = click.Path(path_type=Path, allow_dash=False)
FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


class LicenseId(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A license: its id, or its owner's account and its number."""

    name = "license"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from imprimatur.license_id import (
            InvalidLicenseNumber,
            license_id,
            number_from_text,
            parse_id,
        )

        if isinstance(value, int):
            return value
        owner, slash, number = value.partition("/")
        try:
            if not slash:
                return parse_id(value)
            return license_id(Account().convert(owner, param, ctx), number_from_text(number))
        except InvalidLicenseNumber as error:
            self.fail(f"{error} OWNER/NUMBER is taken too, such as 0x…/4711-A4-58572.", param, ctx)


class Account(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """An Ethereum account; its checksum is checked when there is one."""

    name = "account"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from eth_utils.address import is_address, to_checksum_address

        if not isinstance(value, str) or not value.startswith("0x") or not is_address(value):
            self.fail(
                "An account is 0x and 40 hexadecimal digits, with its checksum or in one case.", param, ctx
            )
        return str(to_checksum_address(value))


class Hash(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """32 bytes as 64 hexadecimal digits, with or without 0x."""

    name = "hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        digits = value.lower().removeprefix("0x")
        if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
            self.fail("A hash has 64 hexadecimal digits.", param, ctx)
        return bytes.fromhex(digits)


def json_option(command: Command) -> Command:
    """`--json`, which `program` reads from the command line itself: errors need it too."""
    help = "Write one JSON object to stdout instead of text."
    return click.option("--json", is_flag=True, expose_value=False, help=help)(command)


def node_option(required: bool) -> Callable[[Command], Command]:
    """`--node`; a URL may hold credentials, so it is never printed."""
    return click.option(
        "--node",
        envvar=NODE,
        show_envvar=True,
        required=required,
        metavar="URL",
        callback=check_url,
        help="JSON-RPC address of a chain node.",
    )


def check_url(_context: click.Context, _parameter: click.Parameter, url: str | None) -> str | None:
    if url is None:
        return None
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("A node's address begins with http:// or https://.")
    try:
        parts = urlsplit(url)
        # The port is looked at only when it is asked for.
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise click.BadParameter("That isn't the address of a node: its host or port can't be one.")
    return url


def book_option(command: Command) -> Command:
    return click.option(
        "--address-book",
        "book",
        envvar=BOOK,
        show_envvar=True,
        default="deployments",
        show_default=True,
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Contracts that you trust: one JSON file for each chain id.",
    )(command)


def finality_option(command: Command) -> Command:
    return click.option(
        "--finality",
        type=click.Choice(FINALITIES),
        default="finalized",
        show_default=True,
        help="Newest block of the node that counts; `latest` on chains whose blocks are final at once.",
    )(command)
