"""Printers' devices: who they are to the portal, and how they come in."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, contains_eager, joinedload

from app.models import Device, Invitation, Printer, User
from app.services import delivery, invitations, printers, stop_lock
from app.services.contracts import Contracts
from imprimatur.device_auth import DeviceRequest
from imprimatur.errors import ImprimaturError

log = structlog.get_logger()
_TRIES = 3
"""Commits that lose a race against another request before it counts as an error."""


class NotEnrolled(ImprimaturError):
    """Nobody let this device in."""

    def __init__(self, address: str) -> None:
        super().__init__(f"The portal doesn't know the device {address}. Ask the owner for an invitation.")


class DeviceDisabled(ImprimaturError):
    """An owner has shut this device out."""

    def __init__(self, address: str) -> None:
        super().__init__(f"The owner who invited the device {address} has disabled it.")


class InvitationUnknown(ImprimaturError):
    """No such code, or it was withdrawn."""

    def __init__(self) -> None:
        super().__init__("There is no such invitation. Check the code, or ask the owner for another.")


class InvitationExpired(ImprimaturError):
    """Too late."""

    def __init__(self) -> None:
        super().__init__("This invitation has expired. Ask the owner for another.")


class InvitationUsed(ImprimaturError):
    """A code lets one device in, and that with one wallet and encryption key."""

    def __init__(self) -> None:
        super().__init__("This invitation has been used. Ask the owner for another.")


class NotBound(ImprimaturError):
    """The wallet doesn't say that the device acts for it."""

    def __init__(self, device: str, wallet: str) -> None:
        super().__init__(
            f"The wallet {wallet} hasn't bound the device {device} on the chain. "
            "Bind it first, then enrol again."
        )


class Replayed(ImprimaturError):
    """The same signed bytes came before."""

    def __init__(self) -> None:
        super().__init__("This request was sent before; sign a new one.")


@dataclass(frozen=True, slots=True)
class Requester:
    """A device that may ask, and the printer's wallet that it acts for."""

    address: str
    wallet: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A device as it was let in; `new`: just now."""

    device: str
    wallet: str
    printer: str
    owner: str
    new: bool


def requester(session: Session, address: str) -> Requester:
    """Who a device is: one that enrolled, or a wallet that an owner has put into her list.

    Raises:
        NotEnrolled, DeviceDisabled: it may not ask.
    """
    found = session.execute(
        sa.select(Device.wallet, Device.disabled_at).where(Device.address == address)
    ).one_or_none()
    if found is not None:
        if found.disabled_at is not None:
            raise DeviceDisabled(address)
        return Requester(address, found.wallet)
    if session.scalar(sa.select(Printer.id).where(Printer.address == address).limit(1)) is None:
        raise NotEnrolled(address)
    return Requester(address, address)


def enrol(
    session: Session,
    contracts: Contracts,
    request: DeviceRequest,
    code: str,
    wallet: str,
    encryption_key: str,
    now: datetime,
) -> Enrolment:
    """Let a device in: its printer, the device and the used invitation in one commit.

    Args:
        request: the authentic request; its nonce is kept, but only when the invitation is good.
        wallet: of the printer (checksum).
        encryption_key: X25519 public key of the device, hexadecimal.

    Raises:
        InvitationUnknown, InvitationExpired, InvitationUsed, NotBound, DeviceDisabled, Replayed: with the
            reason; nothing was changed.
        NodeUnreachable, NotDeployed: the binding can't be looked up.
    """
    for _ in range(_TRIES):
        invitation = invitations.by_code(session, code)
        if invitation is None:
            raise InvitationUnknown
        if invitation.used_at is not None:
            return _again(session, invitation, request, wallet, encryption_key)
        if invitation.expires_at <= now:
            raise InvitationExpired
        _require_bound(contracts, request.address, wallet)
        try:
            done = _let_in(session, invitation, request, wallet, encryption_key, now)
        except sa.exc.IntegrityError:
            # The same printer or device came into the tables meanwhile, by another request.
            session.rollback()
            continue
        if done is not None:
            log.info("device_enrolled", device=done.device, wallet=done.wallet, owner=invitation.owner_id)
            return done
    raise InvitationUsed


def _again(
    session: Session,
    invitation: Invitation,
    request: DeviceRequest,
    wallet: str,
    encryption_key: str,
) -> Enrolment:
    """The answer that the device may not have got."""
    device = session.get(Device, request.address, populate_existing=True)
    if invitation.used_by != request.address or device is None:
        raise InvitationUsed
    if device.disabled_at is not None:
        raise DeviceDisabled(device.address)
    if (device.wallet, device.encryption_key) != (wallet, encryption_key):
        raise InvitationUsed
    _require_first(session, request)
    session.commit()
    printer = printers.by_address(session, invitation.owner, wallet)
    name = invitation.printer_name if printer is None else printer.name
    return Enrolment(device.address, wallet, name, invitation.owner.name, new=False)


def _let_in(
    session: Session,
    invitation: Invitation,
    request: DeviceRequest,
    wallet: str,
    encryption_key: str,
    now: datetime,
) -> Enrolment | None:
    """None: another device was faster; look again."""
    owner = invitation.owner
    device = session.get(Device, request.address, populate_existing=True)
    if device is not None and device.disabled_at is not None:
        raise DeviceDisabled(device.address)
    _require_first(session, request)
    if not invitations.take(session, invitation, request.address, now):
        session.rollback()
        return None
    printer = printers.by_address(session, owner, wallet)
    if printer is None:
        printer = Printer(owner_id=owner.id, name=invitation.printer_name, address=wallet)
        session.add(printer)
        session.flush()
    if device is None:
        device = Device(address=request.address, wallet=wallet, printer_id=printer.id, enrolled_at=now)
        session.add(device)
    elif device.wallet != wallet:
        device.wallet, device.printer_id, device.enrolled_at = wallet, printer.id, now
    device.encryption_key = encryption_key
    session.commit()
    return Enrolment(device.address, wallet, printer.name, owner.name, new=True)


def _require_first(session: Session, request: DeviceRequest) -> None:
    if not delivery.remember_nonce(session, request, int(time.time())):
        session.rollback()
        raise Replayed


def _require_bound(contracts: Contracts, device: str, wallet: str) -> None:
    if wallet == device:
        return
    if contracts.devices().wallet_of(device) != wallet:
        raise NotBound(device, wallet)


def devices_of(session: Session, owner: User) -> Sequence[Device]:
    """The devices that she invited, in the order in which they came."""
    return session.scalars(
        sa.select(Device)
        .join(Device.printer)
        .where(Printer.owner_id == owner.id)
        .options(contains_eager(Device.printer))
        .order_by(Device.enrolled_at, Device.address)
    ).all()


def set_disabled(session: Session, owner: User, address: str, disabled: bool, now: datetime) -> Device | None:
    """Shut a device out, or let it in again; None when it isn't hers. Twice is the same as once."""
    device = session.scalar(
        sa.select(Device)
        .join(Device.printer)
        .where(Device.address == address, Printer.owner_id == owner.id)
        .options(joinedload(Device.printer))
    )
    if device is None:
        return None
    if (device.disabled_at is not None) != disabled:
        if disabled:
            stop_lock.await_answers(session)
        device.disabled_at = now if disabled else None
        session.commit()
        log.info("device_disabled" if disabled else "device_enabled", device=address, owner=owner.id)
    return device
