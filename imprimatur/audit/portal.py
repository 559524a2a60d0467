"""Comparing the chain with what a portal shows its users: its database, opened for reading only."""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from imprimatur.audit.contradiction import Contradiction
from imprimatur.audit.history import LicenseHistory
from imprimatur.audit.rebuild import Rebuilt
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import InvalidLicenseNumber, license_id, number_from_text

DONE = "done"
"""State of an order that the portal calls carried out."""
LICENSES = (
    "SELECT license.id, license.number, license.printer_address, license.file_hash, license.copies,"
    ' license.valid_until, "user".account, intent.state, intent.block_number'
    ' FROM license JOIN "user" ON "user".id = license.owner_id JOIN intent ON intent.id = license.intent_id'
    " ORDER BY license.created_at, license.id"
)
_ID = re.compile("0x[0-9a-fA-F]{64}")
_ACCOUNT = re.compile("0x[0-9a-fA-F]{40}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
OWNERS = 'SELECT account FROM "user" ORDER BY account'


class PortalUnreadable(ImprimaturError):
    """The portal's database can't be read. The message never repeats its URL, which may hold a password."""


@dataclass(frozen=True, slots=True)
class PortalLicense:
    """A license as the portal has it. `block` is where the portal saw it, if it did."""

    id: str
    number: str
    printer: str
    file_hash: str
    copies: int
    valid_until: int
    account: str
    state: str
    block: int | None


@dataclass(frozen=True, slots=True)
class PortalComparison:
    """What the portal and the chain say differently.

    Attributes:
        licenses: how many the portal has.
        waiting: ids of orders that aren't carried out yet, or failed.
        not_in_portal: ids of licenses of the portal's owners that only the chain has. That is no
            contradiction: owners may issue licenses themselves.
    """

    licenses: int
    waiting: list[str]
    not_in_portal: list[str]
    contradictions: list[Contradiction]


def compare(database: str, rebuilt: Rebuilt) -> PortalComparison:
    """Compare a portal's licenses with the chain's.

    Args:
        database: path of an SQLite file, or a URL as the portal's (`sqlite:///…`, `postgresql://…`).

    Raises:
        PortalUnreadable: with the reason.
    """
    licenses, owners = _read(database)
    chain = rebuilt.replay.licenses
    found: list[Contradiction] = []
    waiting = []
    for license in licenses:
        history = chain.get(license.id.lower())
        if history is not None:
            found += _differences(license, history)
        elif license.state != DONE or (license.block or 0) > rebuilt.head.number:
            waiting.append(license.id)
        else:
            message = "the portal shows it as issued, and the chain doesn't have it"
            found.append(Contradiction("only-in-portal", message, license.id, license.block))
    known = {license.id.lower() for license in licenses}
    accounts = {account.lower() for account in owners}
    others = [id for id, history in chain.items() if history.owner.lower() in accounts and id not in known]
    return PortalComparison(len(licenses), waiting, others, found)


def _differences(license: PortalLicense, history: LicenseHistory) -> list[Contradiction]:
    """Terms as they were issued; what changed later, the portal doesn't store."""
    pairs: dict[str, tuple[Any, Any]] = {
        "printer": (license.printer.lower(), history.issued_to.lower()),
        "file hash": (license.file_hash.lower(), history.file_hash),
        "copies": (license.copies, history.issued_copies),
        "end of validity": (license.valid_until, history.valid_until),
        "owner": (license.account.lower(), history.owner.lower()),
    }
    found = [
        Contradiction(
            "portal-differs", f"{name} is {ours} in the portal and {theirs} on the chain", history.id
        )
        for name, (ours, theirs) in pairs.items()
        if ours != theirs
    ]
    try:
        id = license_id(license.account, number_from_text(license.number))
    except InvalidLicenseNumber:
        id = None
    if id != int(history.id, 16):
        message = f"the portal shows it under the number {license.number}, which has another id"
        found.append(Contradiction("portal-differs", message, history.id))
    return found


def _read(database: str) -> tuple[list[PortalLicense], list[str]]:
    scheme, separator, rest = database.partition("://")
    if not separator:
        licenses, owners = _read_sqlite(Path(database))
    elif scheme.startswith("sqlite"):
        # As SQLAlchemy writes it: three slashes before a relative path, four before an absolute one.
        licenses, owners = _read_sqlite(Path(unquote(rest.partition("?")[0].removeprefix("/"))))
    elif scheme.partition("+")[0] in ("postgresql", "postgres"):
        licenses, owners = _read_postgresql(f"postgresql://{rest}")
    else:
        raise PortalUnreadable(
            "A portal's database is an SQLite file's path, or a URL that begins with sqlite:// or postgresql://."
        )
    return [_license_in(row) for row in licenses], [_account_in(row) for row in owners]


def _license_in(row: Sequence[Any]) -> PortalLicense:
    license = PortalLicense(*row)
    texts = (license.number, license.printer, license.file_hash, license.state)
    numbers = (license.copies, license.valid_until, 0 if license.block is None else license.block)
    if (
        not (isinstance(license.id, str) and _ID.fullmatch(license.id))
        or not all(isinstance(text, str) for text in texts)
        or not all(type(number) is int and number >= 0 for number in numbers)
    ):
        raise _damaged("license")
    _account_in([license.account])
    return license


def _account_in(row: Sequence[Any]) -> str:
    account = row[0]
    if not isinstance(account, str) or not _ACCOUNT.fullmatch(account):
        raise _damaged("user")
    return account


def _damaged(table: str) -> PortalUnreadable:
    return PortalUnreadable(
        f"The portal's database can't be read: its table {table} holds values that a portal doesn't write. "
        "Restore it, or ask who runs the portal."
    )


def _shown(path: Path) -> str:
    """A file's path as an error may repeat it: not when it could be a URL with a slash missing."""
    text = str(path)
    return "the given path" if "@" in text or _SCHEME.match(text) else text


def _read_sqlite(path: Path) -> tuple[Sequence[Any], Sequence[Any]]:
    if not path.is_file():
        raise PortalUnreadable(f"There is no database at {_shown(path)}.")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            # One transaction: both tables as they were at one moment.
            connection.execute("BEGIN")
            return connection.execute(LICENSES).fetchall(), connection.execute(OWNERS).fetchall()
    except sqlite3.Error as error:
        raise PortalUnreadable(
            f"The file at {_shown(path)} can't be read as a portal's database: {error}."
        ) from error


def _read_postgresql(url: str) -> tuple[Sequence[Any], Sequence[Any]]:
    try:
        import psycopg
    except ModuleNotFoundError as error:
        raise PortalUnreadable("Reading PostgreSQL needs the package psycopg: pip install psycopg") from error
    try:
        with psycopg.connect(url, options="-c default_transaction_read_only=on") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            return connection.execute(LICENSES).fetchall(), connection.execute(OWNERS).fetchall()
    except psycopg.Error as error:
        trouble = type(error).__name__
    # Outside of the handler: the cause's text may hold parts of the URL.
    raise PortalUnreadable(f"The portal's PostgreSQL database can't be read ({trouble}).")
