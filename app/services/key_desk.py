"""The key desk: gives the file key of a consumed copy to the one job that consumed it.

    authentic request → limit of the device → own nodes: the use is final, by this device, for this recipient,
    and not given back → file key opened, compared with the manifest that the chain names, encrypted to the
    event's recipient → owner's stop, nonce and audit row in one commit → answer signed

Whatever fails in between is a refusal, signed as well. Permanent refusals say only what final blocks show.
"""

import threading
from dataclasses import dataclass, replace
from functools import lru_cache

import sqlalchemy as sa
import structlog

from app.services import desk_records
from app.services.consumption import ChainUnclear, Place, Sight, Witnesses
from app.services.desk_keys import DeskKeys
from app.services.desk_records import SealedKey, Standing
from imprimatur.device_auth import DeviceRequest
from imprimatur.key_answer import KeyAnswer, Question, Refusal
from imprimatur.license_id import format_id
from imprimatur.manifest.document import Manifest, ManifestInvalid
from imprimatur.manifest.signature import SignedManifest
from imprimatur.sealing import InvalidKey, SealedFileUnusable, key_commitment, unwrap_key, wrap_key

STRANGERS_PER_MINUTE = 600
"""Questions of all unknown devices together that one process looks up on the chain."""
SOON, SLOT, LATER = 2, 12, 5
"""Seconds until it's worth to ask again: for a new block, a slot of a chain with `finalized`, a fault."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """Which key a device asks for: of a copy of a license, for a public job key of 32 bytes."""

    id: int
    copy: int
    key_recipient: bytes


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """Canonical bytes of the signed answer; when refused, why, and in how many seconds to try again."""

    body: bytes
    refusal: Refusal | None = None
    retry_after: int | None = None


class _Refused(Exception):
    """Ends a request. `recorded`: whether it belongs into the audit."""

    def __init__(self, refusal: Refusal, retry_after: int | None = None, recorded: bool = True) -> None:
        self.refusal = refusal
        self.retry_after = retry_after
        self.recorded = recorded


class _Allowance:
    """So many a minute, in this process."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._minute, self._taken = 0, 0
        self._lock = threading.Lock()

    def take(self, now: float) -> bool:
        with self._lock:
            if int(now) // 60 != self._minute:
                self._minute, self._taken = int(now) // 60, 0
            self._taken += 1
            return self._taken <= self._per_minute


class KeyDesk:
    """One desk: its keys, its nodes, the portal's database, and a device's answers in a minute."""

    def __init__(self, keys: DeskKeys, witnesses: Witnesses, database: sa.Engine, per_minute: int) -> None:
        self._keys = keys
        self._witnesses = witnesses
        self._database = database
        self._per_minute = per_minute
        self._strangers = _Allowance(STRANGERS_PER_MINUTE)
        # A node that gives few events at once takes seconds: strangers could take all threads with that.
        self._stranger = threading.Lock()

    def answer(self, request: DeviceRequest, wanted: KeyRequest, now: float) -> SignedAnswer:
        """The signed answer to an authentic request.

        Raises:
            Replayed: this request was answered before.
            ChainUnclear: not even the contract is known in whose name an answer is signed.
        """
        place = self._witnesses.place()
        question = Question(place.chain_id, place.contract, wanted.id, wanted.copy, wanted.key_recipient)
        at, retry_after, recorded = int(now), None, True
        try:
            # Nothing stays open while nodes are asked: neither a transaction nor a connection.
            with self._database.connect() as connection:
                standing, sealed = desk_records.look(connection, request, question.id, now)
            # Devices with paid copies of a contract that was replaced ask about that one.
            question = replace(question, contract=_contract(sealed, place))
            try:
                key = self._released(request, question, standing, sealed, now)
                answer = KeyAnswer(question, at, key)
            except _Refused as refused:
                answer = KeyAnswer(question, at, refusal=refused.refusal)
                retry_after, recorded = refused.retry_after, refused.recorded
            if recorded:
                with self._database.begin() as connection:
                    answer = desk_records.record(connection, request, answer)
        except sa.exc.SQLAlchemyError as error:
            log.error("desk_database_unavailable", error=type(error).__name__)
            answer, retry_after = KeyAnswer(question, at, refusal=Refusal.UNAVAILABLE), LATER
        return SignedAnswer(answer.signed(self._keys.signer), answer.refusal, retry_after)

    def _released(
        self,
        request: DeviceRequest,
        question: Question,
        standing: Standing,
        sealed: SealedKey | None,
        now: float,
    ) -> bytes:
        """The file key, encrypted to the job that consumed the copy. Raises _Refused."""
        if standing.answers >= self._per_minute:
            raise _Refused(Refusal.TOO_MANY_REQUESTS, standing.wait, recorded=False)
        if sealed is None:
            raise _Refused(Refusal.UNKNOWN_LICENSE, recorded=standing.known)
        if not standing.known and not self._strangers.take(now):
            raise _Refused(Refusal.TOO_MANY_REQUESTS, desk_records.WINDOW, recorded=False)
        try:
            place = self._witnesses.place_of(question.contract)
            if place is None:
                log.error("desk_contract_not_in_book", contract=question.contract)
                raise _Refused(Refusal.NO_KEY, LATER, standing.known)
            sight = self._sight(place, question, standing.known)
        except ChainUnclear as error:
            log.warning("desk_chain_unclear", error=str(error))
            raise _Refused(Refusal.CHAIN_UNAVAILABLE, LATER, standing.known) from error
        # Of a device that nobody entered, only what the chain confirms is written down: it has cost a copy.
        own = sight.use is not None and sight.use.device == request.address
        pause = SLOT if self._witnesses.finality(place).tag else SOON
        if refused := _refusal(sight, request.address, question, pause):
            raise _Refused(*refused, recorded=standing.known or own)
        return self._wrapped(sight, question, sealed)

    def _sight(self, place: Place, question: Question, known: bool) -> Sight:
        """What the nodes say; to one unknown device at a time. Raises _Refused, ChainUnclear."""
        if known:
            return self._witnesses.see(place, question.id, question.copy)
        if not self._stranger.acquire(blocking=False):
            raise _Refused(Refusal.TOO_MANY_REQUESTS, SOON, recorded=False)
        try:
            return self._witnesses.see(place, question.id, question.copy)
        finally:
            self._stranger.release()

    def _wrapped(self, sight: Sight, question: Question, sealed: SealedKey) -> bytes:
        """The file key for the recipient in the event. Raises _Refused."""
        trouble = _Refused(Refusal.NO_KEY, LATER)
        assert sight.use is not None
        if sealed.signed_manifest is None or sealed.wrapped is None:
            log.error("desk_has_no_key", license=format_id(question.id))
            raise trouble
        try:
            manifest, hash = _manifest(sealed.signed_manifest)
            key = unwrap_key(sealed.wrapped, self._keys.vault)
            # The chain names the manifest and the manifest the key: another row can't put another key here.
            wanted = (question.chain_id, question.contract, question.id, sight.use.file_hash)
            found = (manifest.chain_id, manifest.contract, manifest.id, manifest.file_hash)
            commitment = manifest.sealing and manifest.sealing.key_commitment
            if (sight.manifest_hash, wanted, key_commitment(key)) == (hash, found, commitment):
                return _wrapped_to(key, sight.use.key_recipient)
            log.error("desk_key_is_another", license=format_id(question.id))
        except (ManifestInvalid, SealedFileUnusable, InvalidKey) as error:
            log.error("desk_key_unusable", license=format_id(question.id), error=type(error).__name__)
        raise trouble


def _refusal(sight: Sight, device: str, question: Question, pause: int) -> tuple[Refusal, int | None] | None:
    """What the chain has against it, and in how many seconds that may be otherwise."""
    if sight.use is None:
        return Refusal.NOT_CONSUMED, pause
    if not sight.final:
        return Refusal.NOT_FINAL, pause
    if sight.use.device != device:
        return Refusal.OTHER_DEVICE, None
    if sight.use.key_recipient != question.key_recipient:
        return Refusal.OTHER_RECIPIENT, None
    if sight.given_back:
        return Refusal.FAILED, None
    return None


def _wrapped_to(key: bytes, recipient: bytes) -> bytes:
    """The key for a job. Raises _Refused for a recipient that anybody could read for: zero, for example."""
    try:
        return wrap_key(key, recipient)
    except InvalidKey as error:
        raise _Refused(Refusal.OTHER_RECIPIENT) from error


def _contract(sealed: SealedKey | None, place: Place) -> str:
    """The contract that a license was issued on: that of its manifest, or of the desk when there is none."""
    if sealed is None or sealed.signed_manifest is None:
        return place.contract
    try:
        manifest, _ = _manifest(sealed.signed_manifest)
    except ManifestInvalid:
        return place.contract  # told when its key is looked for
    return manifest.contract if manifest.chain_id == place.chain_id else place.contract


@lru_cache(maxsize=256)
def _manifest(signed: bytes) -> tuple[Manifest, bytes]:
    """A manifest and its hash. Reading it checks much more than a request should wait for each time."""
    manifest = SignedManifest.from_bytes(signed).manifest
    return manifest, manifest.hash
