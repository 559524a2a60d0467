"""A relay on a fresh database and a real chain: licenses, devices and what they sign."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from app.models import Design, Intent, IntentState, License, RelayEntry, RelayKind, User
from app.services import relay, relay_rows
from app.services.outbox import Limits, order_outbox
from app.services.relay_batches import RelayBatches
from app.services.relay_limits import RelayLimits
from imprimatur.chain.outbox import Outbox
from imprimatur.chain.outbox.ledger import Checkpoint, no_checkpoint
from imprimatur.chain.signers import KeySigner, Signer
from imprimatur.chain.typed_data import Failure, Signed, Use, sign_failure, sign_use
from imprimatur.license_id import format_id
from support.node import Chain

FILE = "ab" * 32
DAY = 86_400

Document = dict[str, Any]


def document(signed: Signed[Use] | Signed[Failure]) -> Document:
    """A signed message as devices send it."""
    message, signature = signed.message, signed.signature
    common = {
        "id": format_id(message.id),
        "copy": message.copy,
        "deadline": message.deadline,
        "signature": "0x" + (signature.r + signature.vs).hex(),
    }
    if isinstance(message, Failure):
        return {**common, "evidence": message.evidence.hex()}
    words = {
        "keyRecipient": message.key_recipient.hex(),
        "encryptedSerial": message.encrypted_serial.hex(),
        "commitment": message.commitment.hex(),
    }
    return {**common, "fileHash": message.file_hash, **words}


@dataclass
class RelayStage:
    """Everything around a relay."""

    chain: Chain
    sessions: sessionmaker[Session]
    owner: KeySigner
    operator: KeySigner
    options: RelayLimits = field(default_factory=lambda: RelayLimits(gather=0))
    limits: Limits = field(default_factory=Limits)
    checkpoint: Checkpoint = no_checkpoint

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A worker that remembers nothing."""
        self.outbox: Outbox = order_outbox(
            self.sessions, self.chain.licenses, self.operator, self.limits, self.checkpoint
        )
        self.batches = RelayBatches(self.sessions, self.chain.licenses, self.options, self.limits.finality)

    def license(self, printer: str, copies: int = 4, **terms: Any) -> int:
        """A license on the chain, and in the portal's tables as issued."""
        number = secrets.token_hex(8)
        id = self.chain.issue(self.owner, printer, FILE, copies, number, **terms)
        self.known(id, number, printer, copies)
        return id

    def known(
        self, id: int, number: str, printer: str, copies: int, state: IntentState = IntentState.DONE
    ) -> None:
        """The portal's rows of an order."""
        with self.sessions.begin() as session:
            design = session.scalar(sa.select(Design))
            if design is None:
                user = User(email="a@example.com", fs_uniquifier="u", name="A", account=self.owner.address)
                design = Design(owner=user, file_name="a.gcode", storage_key="0" * 32, size=1, sha256=FILE)
            session.add(
                License(
                    id=format_id(id),
                    owner=design.owner,
                    design=design,
                    intent=Intent(key=f"issue:{format_id(id)}", state=state),
                    number=number,
                    printer_name="P",
                    printer_address=printer,
                    file_hash=FILE,
                    copies=copies,
                )
            )

    def use(self, device: Signer, id: int, copy: int = 1, **values: Any) -> Signed[Use]:
        """A use of its own, signed."""
        words = [secrets.token_bytes(32) for _ in range(3)]
        fields = {"file_hash": FILE, "deadline": int(time.time()) + DAY, **values}
        file_hash, deadline = fields["file_hash"], fields["deadline"]
        return sign_use(device, self.chain.license_domain, Use(id, file_hash, copy, *words, deadline))

    def failure(
        self, device: Signer, id: int, copy: int = 1, evidence: bytes | None = None
    ) -> Signed[Failure]:
        deadline = int(time.time()) + DAY
        evidence = secrets.token_bytes(32) if evidence is None else evidence
        return sign_failure(device, self.chain.license_domain, Failure(id, copy, evidence, deadline))

    def send(
        self, device: Signer, signed: Signed[Use] | Signed[Failure], now: float | None = None
    ) -> tuple[RelayEntry, bool]:
        """Hand a message in as the view does."""
        kind = RelayKind.USE if isinstance(signed.message, Use) else RelayKind.FAILURE
        moment = time.time() if now is None else now
        with self.sessions() as session:
            return relay.accept(
                session, self.chain.licenses, device.address, kind, document(signed), moment, self.options
            )

    def slip_in(self, device: Signer, signed: Signed[Use] | Signed[Failure]) -> int:
        """A row as no check would have let it in."""
        with self.sessions.begin() as session:
            entry = RelayEntry(
                digest="0x" + secrets.token_hex(32),
                kind=RelayKind.USE if isinstance(signed.message, Use) else RelayKind.FAILURE,
                license_id=format_id(signed.message.id),
                copy=signed.message.copy,
                device=device.address,
                message=document(signed),
                deadline=signed.message.deadline,
            )
            session.add(entry)
            session.flush()
            return entry.id

    def settle(self) -> None:
        """Work until everything has come to rest."""
        quiet = 0
        for _ in range(400):
            quiet = 0 if self.batches.step() + self.outbox.step() else quiet + 1
            if quiet == 4 and not self.unfinished():
                return
            time.sleep(0.03 if quiet else 0)
        raise AssertionError(f"the relay never comes to rest: {self.states()}")

    def unfinished(self) -> int:
        with self.sessions() as session:
            return session.query(RelayEntry).filter(RelayEntry.state.in_(relay_rows.OPEN)).count()

    def entry(self, id: int) -> RelayEntry:
        with self.sessions() as session:
            found = session.get(RelayEntry, id)
            assert found is not None
            return found

    def states(self) -> list[tuple[str, str | None]]:
        """State and reason of every entry, in the order in which they came."""
        with self.sessions() as session:
            rows = session.scalars(sa.select(RelayEntry).order_by(RelayEntry.id)).all()
            return [(str(row.state), row.reason) for row in rows]

    def intents(self) -> list[Intent]:
        """Those of the relay."""
        with self.sessions() as session:
            keyed = Intent.key.startswith("uses:") | Intent.key.startswith("failures:")
            return list(session.scalars(sa.select(Intent).where(keyed).order_by(Intent.id)))

    def uses_of(self, id: int) -> list[tuple[int, str]]:
        """Copies and devices of a license's consumptions on the chain."""
        events = self.chain.licenses.events("LicenseUsed", id=id)
        return [(event.values["copy"], event.values["device"]) for event in events]
