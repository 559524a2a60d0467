"""Carrying queued orders to the chain, each exactly once, through any crash.

A transaction is signed, and its bytes, nonce and hash are committed together with the intent's new state,
before the node sees it. From then on the same bytes are sent until their outcome is known; bytes with one
nonce can happen at most once. After a crash the next pass finds everything it needs in the database.
A chain that lost blocks gets the lost bytes again: they fill their nonces before anything new is signed.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, sessionmaker

from app.models import Attempt, Intent, IntentState, License
from app.services.issuing import order_for_contract
from imprimatur.chain import transactions
from imprimatur.chain.interface import ContractReverted, DecodedEvent
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused
from imprimatur.chain.signers import Signer
from imprimatur.license_id import parse_id

ORDER_LIFETIME = 3600
"""Seconds in which a signed order may be executed."""
MAX_OPEN = 16
"""Signed transactions under way at the same time."""
MAX_ATTEMPTS = 3
"""Transactions of one intent that the contract may revert before it fails for good."""

Checkpoint = Callable[[str], None]
"""Told at every point where a crash would leave another state behind; tests crash there."""

log = structlog.get_logger()


def _no_checkpoint(_name: str) -> None:
    return


class Outbox:
    """The queue of one operator account. Only one process at a time may run it."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        licenses: PrintLicense,
        signer: Signer,
        checkpoint: Checkpoint = _no_checkpoint,
    ) -> None:
        self._sessions = sessions
        self._licenses = licenses
        self._rpc = licenses.rpc
        self._signer = signer
        self._checkpoint = checkpoint

    def step(self) -> int:
        """One pass: look after what is under way, then sign what waits; how many times something changed.

        Raises:
            NodeUnreachable, NodeRefused: the rest waits for the next pass.
        """
        changed = 0
        with self._sessions() as session:
            for attempt in self._open_attempts(session):
                changed += self._follow(session, attempt)
            if self._open_attempts(session) or self._waiting(session, 1):
                changed += self._bring_back(session)
            for license in self._waiting(session, MAX_OPEN - len(self._open_attempts(session))):
                changed += self._start(session, license)
        return changed

    def _open_attempts(self, session: Session) -> list[Attempt]:
        return list(
            session.scalars(
                sa.select(Attempt)
                .where(Attempt.open, Attempt.sender == self._signer.address)
                .order_by(Attempt.nonce)
            )
        )

    def _waiting(self, session: Session, most: int) -> Sequence[License]:
        return session.scalars(
            sa.select(License)
            .join(License.intent)
            .where(Intent.state == IntentState.QUEUED)
            .order_by(Intent.id)
            .limit(max(0, most))
        ).all()

    def _bring_back(self, session: Session) -> int:
        """Send again what the chain had and lost; how many.

        A node that was killed, restored or reorganised may have forgotten blocks. Then it asks for a nonce
        whose transaction was mined once. Its bytes are the only ones that may have it: were they signed
        anew, a node that still knows them could carry out both.
        """
        for count in range(MAX_OPEN):
            nonce = transactions.next_nonce(self._rpc, self._signer.address)
            lost = session.scalar(
                sa.select(Attempt).where(
                    Attempt.sender == self._signer.address, Attempt.nonce == nonce, ~Attempt.open
                )
            )
            if lost is None or transactions.receipt(self._rpc, lost.hash) is not None:
                return count
            intent = lost.intent
            lost.open = True
            intent.state, intent.reason, intent.facts = IntentState.SENT, None, None
            intent.transaction_hash, intent.block_number = lost.hash, None
            self._checkpoint("lost")
            session.commit()
            log.warning("transaction_lost_by_chain", intent=intent.key, nonce=nonce, hash=lost.hash)
            self._checkpoint("reopened")
            self._send(session, intent, lost.raw)
        return MAX_OPEN

    def _start(self, session: Session, license: License) -> bool:
        """Sign an order, commit, send."""
        order = order_for_contract(license, int(time.time()) + ORDER_LIFETIME)
        data = self._licenses.issue_call(order, as_operator=True)
        try:
            signed = transactions.sign(
                self._rpc, self._signer, self._licenses.address, data, self._next_nonce(session)
            )
        except ContractReverted as refusal:
            return self._refused(session, license, refusal)
        except transactions.NotEnoughFunds:
            return self._wait(session, license.intent, "no_funds", operator=self._signer.address)
        except NodeRefused as refusal:
            return self._wait(session, license.intent, "node_refused", message=refusal.message[:200])
        self._checkpoint("signed")
        # Conditional: were a second worker running by mistake, only one of the two would go on.
        taken = session.execute(
            sa.update(Intent)
            .where(Intent.id == license.intent_id, Intent.state == IntentState.QUEUED)
            .values(state=IntentState.SENT, reason=None, facts=None, transaction_hash=signed.hash)
        )
        session.add(
            Attempt(
                intent_id=license.intent_id,
                sender=signed.sender,
                nonce=signed.nonce,
                raw=signed.raw,
                hash=signed.hash,
            )
        )
        if getattr(taken, "rowcount", 0) != 1:
            session.rollback()
            return False
        try:
            session.commit()
        except sa.exc.IntegrityError:
            session.rollback()
            return self._wait(session, license.intent, "nonce_known", nonce=signed.nonce)
        log.info("transaction_signed", license=license.id, nonce=signed.nonce, hash=signed.hash)
        self._checkpoint("committed")
        self._send(session, license.intent, signed.raw)
        self._checkpoint("sent")
        return True

    def _follow(self, session: Session, attempt: Attempt) -> bool:
        """Send the bytes once more, or note how it ended."""
        intent = attempt.intent
        # The count is asked first: a nonce that was used by then and has no receipt afterwards isn't ours.
        used = int(self._rpc.call("eth_getTransactionCount", [attempt.sender, "latest"]), 16) > attempt.nonce
        receipt = transactions.receipt(self._rpc, attempt.hash)
        if receipt is None and not used:
            return self._send(session, intent, attempt.raw)
        attempt.open = False
        if receipt is None:
            # Something else was sent with this key: these bytes can never happen. Sign anew.
            intent.state, intent.reason, intent.transaction_hash = IntentState.QUEUED, "nonce_taken", None
        elif event := self._issued(self._license(session, intent)):
            self._done(intent, event)  # also when these bytes reverted because others were first
        elif len(intent.attempts) < MAX_ATTEMPTS:
            # The next simulation will tell the reason, or succeed: a reverted order changed nothing.
            intent.state, intent.reason = IntentState.QUEUED, "reverted"
        else:
            intent.state, intent.reason = IntentState.FAILED, "reverted"
        self._checkpoint("mined")
        session.commit()
        log.info("transaction_closed", intent=intent.key, state=intent.state.value, hash=attempt.hash)
        self._checkpoint("closed")
        return True

    def _send(self, session: Session, intent: Intent, raw: bytes) -> bool:
        try:
            transactions.broadcast(self._rpc, raw)
        except NodeRefused as refusal:
            return self._wait(session, intent, "node_refused", message=refusal.message[:200])
        return self._wait(session, intent, None)

    def _refused(self, session: Session, license: License, refusal: ContractReverted) -> bool:
        """The contract would revert. A license that stands there exactly as ordered is what was wanted."""
        intent = license.intent
        if refusal.name == "LicenseExists":
            if event := self._issued(license):
                self._done(intent, event)
            else:
                intent.state, intent.reason = IntentState.FAILED, "number_taken"
        else:
            reasons = {"NotAllowed": "not_allowed", "InvalidValidity": "day_passed"}
            intent.state = IntentState.FAILED
            intent.reason = reasons.get(refusal.name, "contract_refused")
            intent.facts = {"error": refusal.name}
        session.commit()
        log.warning("order_refused", license=license.id, error=refusal.name, state=intent.state.value)
        self._checkpoint("refused")
        return True

    def _issued(self, license: License) -> DecodedEvent | None:
        """The event of a license that stands there exactly as ordered: it decides, not a receipt's status."""
        event = next(self._licenses.events("LicenseIssued", id=parse_id(license.id)), None)
        if event is None:
            return None
        issued = event.values
        there = (issued["printer"], f"{issued['fileHash']:064x}", issued["copies"], issued["validUntil"])
        ordered = (license.printer_address, license.file_hash, license.copies, license.valid_until)
        return event if there == ordered else None

    def _license(self, session: Session, intent: Intent) -> License:
        return session.scalars(sa.select(License).where(License.intent_id == intent.id)).one()

    def _done(self, intent: Intent, event: DecodedEvent) -> None:
        intent.state, intent.reason, intent.facts = IntentState.DONE, None, None
        intent.transaction_hash, intent.block_number = event.transaction_hash, event.block_number

    def _wait(self, session: Session, intent: Intent, reason: str | None, **facts: Any) -> bool:
        """Leave it where it is, with the reason for all to see."""
        if (intent.reason, intent.facts or {}) != (reason, facts):
            intent.reason, intent.facts = reason, facts or None
            session.commit()
            log.info("order_waits", intent=intent.key, reason=reason)
        return False

    def _next_nonce(self, session: Session) -> int:
        """After everything that the node knows and everything that was signed, sent or not."""
        highest = session.scalar(
            sa.select(sa.func.max(Attempt.nonce)).where(Attempt.open, Attempt.sender == self._signer.address)
        )
        known = transactions.next_nonce(self._rpc, self._signer.address)
        return known if highest is None else max(known, highest + 1)
