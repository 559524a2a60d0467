"""What the key desk reads and writes in the portal's database: licenses, wrapped keys, nonces, its audit.

Statements are made once: a request waits for each of them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from app.models import Design, Device, DeviceNonce, KeyAudit, License, Printer
from app.services import stop_lock
from imprimatur.device_auth import MAX_SKEW, DeviceRequest
from imprimatur.errors import ImprimaturError
from imprimatur.key_answer import KeyAnswer, Refusal
from imprimatur.license_id import format_id

FORGET_EVERY = 8
"""Seconds: in one of so many, requests delete nonces whose time alone would refuse them."""
WINDOW = 60
"""Seconds in which a device's answers are counted."""

_DEVICE = sa.bindparam("device", type_=sa.String)
_NONCE = sa.bindparam("nonce", type_=sa.String)
_ID = sa.bindparam("license", type_=sa.String)
_RECENT = sa.and_(KeyAudit.device == _DEVICE, KeyAudit.at > sa.bindparam("since", type_=sa.DateTime))
_ONE = sa.select(sa.literal(1)).subquery()
# What is asked first, in one statement: one row, whether the license is known or not.
_LOOK = sa.select(
    sa.exists().where(DeviceNonce.address == _DEVICE, DeviceNonce.nonce == _NONCE),
    sa.or_(sa.exists().where(Device.address == _DEVICE), sa.exists().where(Printer.address == _DEVICE)),
    sa.select(sa.func.count()).select_from(KeyAudit).where(_RECENT).scalar_subquery(),
    sa.select(sa.func.min(KeyAudit.at)).where(_RECENT).scalar_subquery(),
    License.id,
    License.signed_manifest,
    Design.wrapped_key,
).select_from(_ONE.outerjoin(License, License.id == _ID).outerjoin(Design, License.design_id == Design.id))
# For everybody, or for a device that this license's owner has shut out. Of other owners' licenses she decides
# nothing.
_SHUT_OUT = sa.exists().where(
    Device.address == _DEVICE,
    Device.disabled_at.is_not(None),
    Device.printer_id == Printer.id,
    Printer.owner_id == License.owner_id,
)
_STOPPED = sa.select(License.id).where(License.id == _ID, sa.or_(License.stopped_at.is_not(None), _SHUT_OUT))
_FORGET = sa.delete(DeviceNonce).where(DeviceNonce.seen_at < sa.bindparam("limit", type_=sa.BigInteger))
# Both databases know it: the first insert wins, and the second says that it did nothing.
_REMEMBER = sa.text(
    "INSERT INTO device_nonce (address, nonce, seen_at) VALUES (:device, :nonce, :at) ON CONFLICT DO NOTHING"
)
_WRITE = sa.insert(KeyAudit.__table__)  # type: ignore[arg-type]  # mapped classes have tables


class Replayed(ImprimaturError):
    """The device has sent this very request before."""

    def __init__(self) -> None:
        super().__init__("This request was sent before; sign a new one.")


@dataclass(frozen=True, slots=True)
class Standing:
    """A device as the desk knows it.

    Attributes:
        known: whether it is enrolled, or was entered by an owner as a printer's wallet.
        answers: how many it got in the last `WINDOW` seconds.
        wait: seconds until the oldest of them no longer counts.
    """

    known: bool
    answers: int
    wait: int


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A license's file key as the portal keeps it. None: ordered before files were sealed.

    Attributes:
        signed_manifest: canonical bytes.
        wrapped: the file key, encrypted to the desk.
    """

    signed_manifest: bytes | None
    wrapped: bytes | None


def look(
    connection: sa.Connection, request: DeviceRequest, id: int, now: float
) -> tuple[Standing, SealedKey | None]:
    """How the desk knows the device behind a request, and the file key of a license; None when the license
    wasn't ordered through this portal.

    Raises:
        Replayed: the request's nonce is used up.
    """
    since = _time(now - WINDOW)
    asked = {"device": request.address, "nonce": request.nonce, "since": since, "license": format_id(id)}
    seen, known, count, oldest, license, *sealed = connection.execute(_LOOK, asked).one()
    if seen:
        raise Replayed
    left = 0.0 if oldest is None else (oldest - since).total_seconds()
    standing = Standing(bool(known), count, max(1, round(left)))
    return standing, None if license is None else SealedKey(*sealed)


def record(connection: sa.Connection, request: DeviceRequest, answer: KeyAnswer) -> KeyAnswer:
    """Write the request's nonce and the answer's audit row, for the caller to commit at once.

    The owner's stop, of the license or of the device, is looked at in the same transaction, so that no key
    leaves after a stop was committed.

    Returns:
        The answer that was written: `answer`, or the refusal that her stop made of it.

    Raises:
        Replayed: the request was answered in the meantime; the caller must not commit.
    """
    id = format_id(answer.question.id)
    # First of all a statement that writes: it waits until it may, and then nobody else does.
    nonce = {"device": request.address, "nonce": request.nonce, "at": answer.at}
    if not connection.execute(_REMEMBER, nonce).rowcount:
        raise Replayed
    if answer.at % FORGET_EVERY == 0:
        connection.execute(_FORGET, {"limit": answer.at - 3 * MAX_SKEW})
    if answer.refusal is None:
        stop_lock.hold_off(connection)
        if _is_stopped(connection, id, request.address):
            answer = KeyAnswer(answer.question, answer.at, refusal=Refusal.STOPPED)
    row = {
        "at": _time(answer.at),
        "license_id": id,
        "copy": answer.question.copy,
        "device": request.address,
        "key_recipient": answer.question.key_recipient.hex(),
        "released": answer.refusal is None,
        "reason": answer.refusal,
        "answer_hash": answer.hash.hex(),
    }
    connection.execute(_WRITE, row)
    return answer


def _is_stopped(connection: sa.Connection, license: str, device: str) -> bool:
    """Whether the owner lets no key of a license go to a device."""
    return connection.scalar(_STOPPED, {"license": license, "device": device}) is not None


def _time(seconds: float) -> datetime:
    """A point in time as the tables store it."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
