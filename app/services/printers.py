"""Printer wallets under names."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import Printer, User
from app.services.addresses import checked_address
from imprimatur.errors import ImprimaturError

MAX_NAME = 80


class PrinterRefused(ImprimaturError):
    """This printer can't be added."""


class PrinterKnown(PrinterRefused):
    """There is one with this wallet."""

    def __init__(self, name: str) -> None:
        super().__init__(f"This wallet is already in your list as {name!r}.")
        self.name = name


class NameMissing(PrinterRefused):
    """It needs a name of 1 to 80 printable characters."""


def checked_name(name: str) -> str:
    """The name without needless spaces. Raises NameMissing."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise NameMissing(f"A printer needs a name of at most {MAX_NAME} characters.")
    return name


def add_printer(session: Session, owner: User, name: str, address: str) -> Printer:
    """Add a printer to an owner's list.

    Raises:
        PrinterRefused, InvalidAddress: with the reason.
    """
    name = checked_name(name)
    wallet = checked_address(address)
    known = by_address(session, owner, wallet)
    if known is not None:
        raise PrinterKnown(known.name)
    printer = Printer(owner_id=owner.id, name=name, address=wallet)
    session.add(printer)
    try:
        session.commit()
    except sa.exc.IntegrityError as error:  # a double click: the other request was first
        session.rollback()
        raise PrinterKnown(name) from error
    return printer


def by_address(session: Session, owner: User, address: str) -> Printer | None:
    return session.scalar(sa.select(Printer).where(Printer.owner_id == owner.id, Printer.address == address))


def printers_of(session: Session, owner: User) -> Sequence[Printer]:
    """An owner's printers by name."""
    return session.scalars(
        sa.select(Printer)
        .where(Printer.owner_id == owner.id)
        .order_by(sa.func.lower(Printer.name), Printer.id)
    ).all()


def printer_of(session: Session, owner: User, printer_id: int) -> Printer | None:
    """One of her printers, or None when there is none or it isn't hers."""
    return session.scalar(sa.select(Printer).where(Printer.id == printer_id, Printer.owner_id == owner.id))
