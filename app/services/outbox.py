"""Carrying queued orders to the chain through the library's outbox, each exactly once."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload, sessionmaker, undefer

from app.models import Design, IntentState, License
from app.services import manifests, outbox_store
from app.services.addresses import checked_address
from app.services.issuing import order_for_contract
from app.services.purposes import Purposes
from app.services.relay_outbox import relay_calls
from imprimatur.chain.interface import ContractReverted, DecodedEvent
from imprimatur.chain.node import chain_id
from imprimatur.chain.outbox import Call, Finality, Intent, Outbox, PlainCalls, Rules, Verdict
from imprimatur.chain.outbox.ledger import Checkpoint, no_checkpoint
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused
from imprimatur.chain.signers import Signer
from imprimatur.license_id import parse_id

ORDER_LIFETIME = 3600
"""Seconds in which a signed order may be executed."""
MAX_TRIES = 3
"""Transactions of one order that the contract may revert before it fails for good."""

_REASONS = {"NotAllowed": "not_allowed", "InvalidValidity": "day_passed"}
"""Errors of the contract that an owner can do something about."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the platform operator sets instead of a chain's usual rules; None leaves them. Wei."""

    finality: Finality | None = None
    max_fee: int | None = None
    low_balance: int | None = None

    def applied_to(self, rules: Rules) -> Rules:
        """The rules with these limits."""
        max_fee = rules.max_fee if self.max_fee is None else self.max_fee
        low_balance = rules.low_balance if self.low_balance is None else self.low_balance
        return replace(rules, max_fee=max_fee, low_balance=low_balance)


DEFAULTS = Limits()


def order_outbox(
    sessions: sessionmaker[Session],
    licenses: PrintLicense,
    signer: Signer,
    limits: Limits = DEFAULTS,
    checkpoint: Checkpoint = no_checkpoint,
) -> Outbox:
    """The outbox of one operator account. Only one process at a time may run it.

    Raises:
        NodeUnreachable: the chain's rules can't be known.
    """
    chain = chain_id(licenses.rpc)
    return Outbox(
        licenses.rpc,
        signer,
        outbox_store.transactions(sessions),
        limits.applied_to(Rules.for_chain(chain, limits.finality)),
        Purposes({"issue": Orders(sessions, licenses, signer, chain), **relay_calls(sessions, licenses)}),
        checkpoint=checkpoint,
    )


class Orders(PlainCalls):
    """Intents are licenses to be issued by an operator, who states what their files are."""

    def __init__(
        self, sessions: sessionmaker[Session], licenses: PrintLicense, signer: Signer, chain_id: int
    ) -> None:
        self._sessions = sessions
        self._licenses = licenses
        self._signer = signer
        self._chain_id = chain_id
        self._contract = checked_address(licenses.address)

    def call(self, intent: Intent) -> Call:
        """Raises NotSealed, ManifestInvalid: the order waits. Otherwise its manifest is committed."""
        license = self._stated(self._license(intent))
        order = order_for_contract(license, int(time.time()) + ORDER_LIFETIME)
        return Call(self._licenses.address, self._licenses.issue_call(order, as_operator=True))

    def judge(self, intent: Intent, receipt: dict[str, Any]) -> Verdict:
        # The license decides, also when these bytes reverted because others were first.
        license = self._license(intent)
        if event := self._as_ordered(license, self._licenses.events_in(receipt, "LicenseIssued")):
            return Verdict(IntentState.DONE, event=event)
        if event := self._issued(license):
            return Verdict(IntentState.DONE, event=event)
        # The next simulation will tell the reason, or succeed: a reverted order changed nothing.
        again = intent.tries + 1 < MAX_TRIES
        return Verdict(IntentState.QUEUED if again else IntentState.FAILED, "reverted")

    def refused(self, intent: Intent, error: ContractReverted | NodeRefused, alone: bool) -> Verdict | None:
        """A license that stands there exactly as ordered is what was wanted."""
        del alone  # Orders don't depend on each other.
        if isinstance(error, NodeRefused):
            return None
        if error.name != "LicenseExists":
            reason = _REASONS.get(error.name, "contract_refused")
            return Verdict(IntentState.FAILED, reason, {"error": error.name})
        if event := self._issued(self._license(intent)):
            return Verdict(IntentState.DONE, event=event)
        return Verdict(IntentState.FAILED, "number_taken")

    def _issued(self, license: License) -> DecodedEvent | None:
        """The event of a license that stands there exactly as ordered."""
        return self._as_ordered(license, self._licenses.events("LicenseIssued", id=parse_id(license.id)))

    def _as_ordered(self, license: License, events: Iterable[DecodedEvent]) -> DecodedEvent | None:
        id = parse_id(license.id)
        event = next((event for event in events if event.values["id"] == id), None)
        if event is None:
            return None
        issued = event.values
        there = (
            issued["printer"],
            f"{issued['fileHash']:064x}",
            issued["copies"],
            issued["validUntil"],
            issued["failuresAllowed"],
            issued["manifestHash"],
        )
        ordered = (
            license.printer_address,
            license.file_hash,
            license.copies,
            license.valid_until,
            license.failures_allowed,
            bytes.fromhex(license.manifest_hash) if license.manifest_hash else bytes(32),
        )
        return event if there == ordered else None

    def _stated(self, license: License) -> License:
        """The license with a manifest of this signer, committed before anything that names its hash."""
        signed = manifests.signed_for(license, self._chain_id, self._contract, self._signer)
        # What stands on the chain was stated by whoever was allowed to issue then.
        if signed is None or (license.signed_manifest and self._issued(license)):
            return license
        before = License.manifest_hash.is_not_distinct_from(license.manifest_hash)
        values = {"signed_manifest": signed.to_bytes(), "manifest_hash": signed.manifest.hash.hex()}
        with self._sessions.begin() as session:
            session.execute(sa.update(License).where(License.id == license.id, before).values(values))
        return self._found(License.id == license.id)

    def _license(self, intent: Intent) -> License:
        return self._found(License.intent_id == intent.id)

    def _found(self, which: sa.ColumnElement[bool]) -> License:
        everything = (
            undefer(License.signed_manifest),
            joinedload(License.owner),
            joinedload(License.design).undefer(Design.thumbnail_png),
        )
        with self._sessions() as session:
            return session.scalars(sa.select(License).where(which).options(*everything)).one()
