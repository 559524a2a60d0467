"""Owners, and what the portal may do for them."""

import secrets
import time
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import User, WorkerStatus
from app.services.addresses import checked_address
from app.services.contracts import Contracts
from imprimatur.address_book import NotDeployed
from imprimatur.chain.print_license import Right
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from imprimatur.errors import ImprimaturError
from imprimatur.sealing import public_key_from_text

MAX_NAME = 80


class OwnerRefused(ImprimaturError):
    """This owner can't be added."""


class Standing(StrEnum):
    """Whether the portal may issue for an owner."""

    ALLOWED = "allowed"
    NOT_GIVEN = "not_given"
    ENDED = "ended"
    NO_OPERATOR = "no_operator"
    """No worker has ever run, so nobody knows the portal's account."""
    UNKNOWN = "unknown"
    """The node doesn't answer."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What the chain says about the portal's account. `until` is in Unix seconds."""

    standing: Standing
    operator: str | None
    rights: Right = Right.NONE
    until: int = 0

    @property
    def may_queue(self) -> bool:
        """With the node down nobody knows; the order waits, and the contract decides."""
        return self.standing in (Standing.ALLOWED, Standing.UNKNOWN)


def permission_of(session: Session, contracts: Contracts, owner: User) -> Permission:
    """Ask the chain what `owner` lets the portal do."""
    worker = session.scalar(sa.select(WorkerStatus))
    if worker is None:
        return Permission(Standing.NO_OPERATOR, None)
    try:
        entry = contracts.licenses().operator_of(owner.account, worker.operator)
    except (NodeUnreachable, NodeRefused, NotDeployed):
        return Permission(Standing.UNKNOWN, worker.operator)
    if entry.may(Right.ISSUE, time.time()):
        standing = Standing.ALLOWED
    elif Right.ISSUE in entry.rights:
        standing = Standing.ENDED
    else:
        standing = Standing.NOT_GIVEN
    return Permission(standing, worker.operator, entry.rights, entry.until)


def add_owner(
    session: Session, email: str, name: str, account: str, password_hash: str, log_key: str | None = None
) -> tuple[User, bool]:
    """Add an owner, or set name, password and account of the one with this e-mail address.

    `log_key`: as for `set_log_key`; without it, what is there stays.

    Returns:
        The owner, and whether she is new.

    Raises:
        OwnerRefused, InvalidAddress, InvalidKey: with the reason.
    """
    log_recipient = None if log_key is None else public_key_from_text(log_key.strip()).hex()
    email = unicodedata.normalize("NFKC", email).strip().lower()
    name = " ".join(name.split())
    if "@" not in email or len(email) > 255:
        raise OwnerRefused(f"{email!r} isn't an e-mail address.")
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise OwnerRefused(f"A name has 1 to {MAX_NAME} printable characters.")
    wallet = checked_address(account)
    other = session.scalar(sa.select(User).where(User.account == wallet, User.email != email))
    if other is not None:
        raise OwnerRefused(f"{wallet} is the account of {other.email}.")
    user = by_email(session, email)
    new = user is None
    if user is None:
        user = User(email=email, fs_uniquifier=secrets.token_hex(32), active=True)
        session.add(user)
    user.name, user.account, user.password = name, wallet, password_hash
    user.log_recipient = log_recipient or user.log_recipient
    session.commit()
    return user, new


def set_log_key(session: Session, owner: User, text: str) -> None:
    """Set the public key (`age1…`) that printers encrypt the serials of her parts to, from the next order on.

    Raises:
        InvalidKey: no such key, or one that protects nothing.
    """
    owner.log_recipient = public_key_from_text(text.strip()).hex()
    session.commit()


def by_email(session: Session, email: str) -> User | None:
    return session.scalar(sa.select(User).where(sa.func.lower(User.email) == email.strip().lower()))
