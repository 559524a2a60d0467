"""`imprimatur keys`: accounts in encrypted files (Web3 Secret Storage, version 3)."""

from pathlib import Path

import click

from imprimatur.cli.new_files import reserved
from imprimatur.cli.options import FILE, json_option
from imprimatur.cli.passwords import new_password, password_options
from imprimatur.cli.result import Result, in_lines


@click.group()
def keys() -> None:
    """Accounts in encrypted files."""


@keys.command()
@click.argument("path", type=FILE)
@password_options
@json_option
def new(path: Path, password_file: Path | None, password_env: str | None) -> Result:
    """Make a new account and keep its key, encrypted with a password, at PATH. Nothing is overwritten."""
    from imprimatur.chain.signers import create_keystore

    with reserved(path) as partial:
        address = create_keystore(partial, new_password(password_file, password_env)).address
    text = f"The key is in {path}. Keep a copy of it and the password: nobody can restore them."
    return Result({"address": address, "path": str(path)}, in_lines([address, text]))


@keys.command()
@click.argument("path", type=FILE)
@json_option
def show(path: Path) -> Result:
    """The address of the account in a key file. No password is needed."""
    from imprimatur.chain.signers import keystore_address

    address = keystore_address(path)
    return Result({"address": address, "path": str(path)}, address)
