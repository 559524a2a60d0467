"""Passwords: typed unseen, or from a file or an environment variable. Never from the command line, where
others on the machine see them."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

MIN_LENGTH = 8
"""Characters of a new password."""
LARGEST_FILE = 4096
"""Bytes."""


def password_options(command: Command) -> Command:
    command = click.option(
        "--password-env", metavar="NAME", help="Environment variable that holds the password."
    )(command)
    return click.option(
        "--password-file",
        type=click.Path(path_type=Path),
        help="File whose first line is the password.",
    )(command)


def new_password(file: Path | None, variable: str | None) -> str:
    """A password for something new.

    Raises:
        click.UsageError: too short, or none can be had.
    """
    password = _given(file, variable)
    if password is None:
        if not sys.stdin.isatty():
            raise click.UsageError("There is no terminal to ask for a password. Use --password-file.")
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    if len(password) < MIN_LENGTH:
        raise click.UsageError(f"A password has at least {MIN_LENGTH} characters.")
    return password


def known_password(file: Path | None, variable: str | None) -> str:
    """The password of something that is there.

    Raises:
        click.UsageError: none can be had.
    """
    password = _given(file, variable)
    if password is not None:
        return password
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask for the password. Use --password-file.")
    return str(click.prompt("Password", hide_input=True, err=True))


def _given(file: Path | None, variable: str | None) -> str | None:
    if file is not None and variable is not None:
        raise click.UsageError("Give the password by file or by environment variable, not by both.")
    if variable is not None:
        if variable not in os.environ:
            raise click.UsageError(f"There is no environment variable {variable}.")
        return _text(os.fsencode(os.environ[variable]), f"The environment variable {variable}")
    if file is None:
        return None
    with file.open("rb") as stream:
        data = stream.read(LARGEST_FILE)
    return _text(data, str(file)).partition("\n")[0].rstrip("\r")


def _text(data: bytes, place: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{place} doesn't hold text (UTF-8).") from error
