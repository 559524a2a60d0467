"""Taking device-signed uses and failure reports in. The worker carries them to the chain.

Nothing here needs a key. A message that was taken in is only a promise to try: the contract decides, and
anybody else may submit the same signature.
"""

import time
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import RelayEntry, RelayKind, RelayState
from app.services import relay_messages, relay_rows, relay_simulation
from app.services.relay_limits import DEFAULTS, RelayLimits
from app.services.relay_messages import Message
from imprimatur.chain import node
from imprimatur.chain.interface import MalformedData
from imprimatur.chain.logs import AWAITED
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from imprimatur.errors import ImprimaturError

EARLIEST = 60
"""Seconds that a deadline must be away: the way to the chain takes some."""
LATEST = 7 * 86_400
"""Seconds that a deadline may be away: until then the portal, or anybody, can submit it."""


class RelayRefused(ImprimaturError):
    """The relay doesn't take this message in. `status` is that of HTTP; `retry_after` are seconds."""

    code: ClassVar[str]
    status: ClassVar[int]
    retry_after: int | None = None


class SignatureInvalid(RelayRefused):
    """Not signed by this device, or for another chain or contract."""

    code = "signature_invalid"
    status = 422


class DeadlineOutOfRange(RelayRefused):
    """Too soon to be carried, or so far away that the message would outlive everybody's interest."""

    code = "deadline_out_of_range"
    status = 422


class WouldBeRefused(RelayRefused):
    """The contract wouldn't accept it now; `reason` names its error."""

    code = "would_be_refused"
    status = 422

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The contract would refuse this message now: {reason}. Look at the license on the chain, then "
            "sign anew."
        )
        self.reason = reason


class TooManyWaiting(RelayRefused):
    """This device has enough on its way."""

    code = "too_many_waiting"
    status = 429
    retry_after = 5


class RelayBusy(RelayRefused):
    """Too much waits in all."""

    code = "busy"
    status = 503
    retry_after = 10


class ChainUnavailable(RelayRefused):
    """The node can't be asked. Nothing is taken in that nobody has simulated."""

    code = "chain_unavailable"
    status = 503
    retry_after = 10


def accept(
    session: Session,
    licenses: PrintLicense,
    device: str,
    kind: RelayKind,
    document: dict[str, Any],
    now: float,
    limits: RelayLimits = DEFAULTS,
) -> tuple[RelayEntry, bool]:
    """Take a message in that follows its schema. The same digest again is the same entry.

    One that was refused waits again when it is sent again and the contract would accept it now: a copy that
    another device took in a block that was replaced, a binding that came late.

    Args:
        device: who signed the request (checksum); must be who signed the message.
        now: Unix seconds.

    Returns:
        The entry, and whether it is new.

    Raises:
        RelayRefused: with code, status and, when it helps to come back, seconds.
    """
    message = read(licenses, kind, document, device)
    if not message.is_signed:
        raise SignatureInvalid(
            "The message isn't signed by the device that sent it, for this chain and contract. Sign it with "
            "the key of the request."
        )
    seen = relay_rows.look(session, message)
    known = relay_rows.by_digest(session, message.digest) if seen.is_known else None
    if known is not None:
        _check_sender(known, device)
        if known.state != RelayState.REFUSED or not _in_time(known.deadline, now):
            return known, False
    elif not _in_time(document["deadline"], now):
        raise DeadlineOutOfRange(
            f"A deadline must be {EARLIEST} seconds to {LATEST // 86_400} days away. Check the device's "
            "clock and sign anew."
        )
    _check_room(session, limits, seen)
    session.commit()  # No transaction stays open while the node thinks.
    reason = _reason(licenses, message)
    if known is not None:
        return _wait_again(session, message, limits) if reason is None else known, False
    if reason is not None:
        raise WouldBeRefused(reason)
    return _store(session, message, document, limits)


def entry_of(session: Session, device: str, kind: RelayKind, digest: str) -> RelayEntry | None:
    """What became of one of a device's own messages, or None when it sent none with this digest."""
    return session.scalar(
        sa.select(RelayEntry).where(
            RelayEntry.digest == digest, RelayEntry.device == device, RelayEntry.kind == kind
        )
    )


_CHAIN_IDS: "WeakKeyDictionary[PrintLicense, int]" = WeakKeyDictionary()


def read(licenses: PrintLicense, kind: RelayKind, document: dict[str, Any], device: str) -> Message:
    """The message behind a document, meant for this contract on the chain of its node.

    Raises:
        ChainUnavailable: nobody knows yet which chain that is.
    """
    if licenses not in _CHAIN_IDS:
        try:
            _CHAIN_IDS[licenses] = node.chain_id(licenses.rpc)
        except (NodeUnreachable, NodeRefused) as error:
            raise _unavailable() from error
    return relay_messages.read(kind, document, device, _CHAIN_IDS[licenses], licenses.address)


def _in_time(deadline: int, now: float) -> bool:
    return now + EARLIEST <= deadline <= now + LATEST


def _reason(licenses: PrintLicense, message: Message) -> str | None:
    """Why the contract wouldn't take it. What stands on the chain already is taken: the worker will see."""
    try:
        reason = relay_simulation.forecasts(licenses, [message])[0].reason
        if reason is not None:
            (place,) = relay_simulation.places(licenses, [message], time.monotonic() + AWAITED)
            if place is not None:
                return None
    except (NodeUnreachable, NodeRefused, MalformedData) as error:
        raise _unavailable() from error
    return reason


def _store(
    session: Session, message: Message, document: dict[str, Any], limits: RelayLimits
) -> tuple[RelayEntry, bool]:
    relay_rows.lock(session, writes_next=True)
    entry = RelayEntry(
        digest=message.digest,
        kind=message.kind,
        license_id=document["id"],
        copy=document["copy"],
        device=message.device,
        message=document,
        deadline=document["deadline"],
        state=RelayState.WAITING,
    )
    session.add(entry)
    try:
        session.flush()
    except sa.exc.IntegrityError:
        # The same message came twice at once.
        session.rollback()
        return _wait_again(session, message, limits), False
    _check_room(session, limits, relay_rows.look(session, message))
    session.commit()
    return entry, True


def _wait_again(session: Session, message: Message, limits: RelayLimits) -> RelayEntry:
    """A known message; one that was refused waits again."""
    relay_rows.lock(session)
    known = relay_rows.by_digest(session, message.digest)
    if known is None:
        raise LookupError(f"The message {message.digest} is gone.")
    _check_sender(known, message.device)
    if known.state == RelayState.REFUSED:
        _check_room(session, limits, relay_rows.look(session, message))
        known.state, known.reason, known.intent_id = RelayState.WAITING, None, None
    session.commit()
    return known


def _check_sender(known: RelayEntry, device: str) -> None:
    # Failures of one wallet's devices can be the same bytes: the contract takes one of them.
    if known.device != device:
        raise WouldBeRefused("CopyNotRefundable" if known.kind == RelayKind.FAILURE else "CopyOutOfOrder")


def _check_room(session: Session, limits: RelayLimits, seen: relay_rows.Seen) -> None:
    """Raises when somebody has to wait, and undoes what was written."""
    refused: RelayRefused
    if not seen.is_issued:
        refused = WouldBeRefused("LicenseNotFound")
    elif seen.same is not None:
        refused = TooManyWaiting(
            f"Another message of this device about the same copy is on its way, {seen.same}. Wait for it."
        )
    elif seen.on_their_way >= limits.per_device:
        refused = TooManyWaiting(
            f"{seen.on_their_way} messages of this device are on their way. Wait for one of them."
        )
    elif seen.waiting >= limits.waiting:
        refused = RelayBusy("Too many messages wait for the chain. Send this one again later.")
    else:
        return
    session.rollback()
    raise refused


def _unavailable() -> ChainUnavailable:
    return ChainUnavailable("The portal's chain node doesn't answer. Send the message again later.")
