"""A key desk on a fresh database and a real chain, with an owner, her sealed files, and devices."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, sessionmaker

from app.desk import create_app
from app.models import Design, Intent, KeyAudit, License, Printer, User
from app.services.desk_keys import DeskKeys
from app.settings import DeskSettings, Settings
from imprimatur import sealing
from imprimatur.chain.events.layout import checksummed
from imprimatur.chain.outbox.rules import Finality
from imprimatur.chain.rpc import Rpc
from imprimatur.chain.signers import KeySigner, Signer
from imprimatur.device_auth import authorization
from imprimatur.key_answer import KeyAnswer, Question, read_answer
from imprimatur.license_id import format_id
from imprimatur.manifest.document import Manifest, Sealing
from imprimatur.manifest.signature import sign_manifest
from support.node import Chain

KEYS = DeskKeys(KeySigner(bytes(31) + b"d"), bytes(31) + b"v")
URL = "/api/v1/keys"
ORIGIN = "http://127.0.0.1:5001"
"""Where the desk of these settings is."""


@dataclass(frozen=True)
class Asked:
    """What the desk answered: HTTP status, headers, and the answer, whose signature was checked."""

    status: int
    headers: Any
    answer: KeyAnswer | None
    problem: Any = None

    @property
    def outcome(self) -> tuple[int, str]:
        if self.answer is None:
            return self.status, self.problem["detail"]
        return self.status, "released" if self.answer.refusal is None else self.answer.refusal.value

    def file_key(self, job_key: bytes) -> bytes:
        assert self.answer is not None
        assert self.answer.wrapped_key is not None
        return sealing.unwrap_key(self.answer.wrapped_key, job_key)


@dataclass
class DeskStage:
    """Everything around a desk."""

    chain: Chain
    folder: Path
    sessions: sessionmaker[Session]
    options: Settings
    app: Flask
    owner: KeySigner
    user_id: int
    job_keys: dict[tuple[int, int], bytes] = field(default_factory=dict)
    file_keys: dict[int, bytes] = field(default_factory=dict)
    others: list[Flask] = field(default_factory=list)

    @property
    def contract(self) -> str:
        return checksummed(self.chain.licenses.address[2:].lower())

    def desk(
        self, *nodes: Rpc, per_minute: int = 60, finality: Finality | None = None, **options: Any
    ) -> Flask:
        """Another desk on the same database."""
        app = desk_app(self.options, nodes or (self.chain.rpc,), per_minute, finality, **options)
        self.others.append(app)
        return app

    def close(self) -> None:
        """Every connection to the database."""
        self.sessions.kw["bind"].dispose()
        for app in (self.app, *self.others):
            close(app)

    def license(self, printer: str, number: str = "", copies: int = 4, **terms: Any) -> int:
        """A license on the chain and in the portal's tables, of a sealed file of its own."""
        number = number or secrets.token_hex(8)
        content, file_key = number.encode(), sealing.new_key()
        file_hash = hashlib.sha256(content).hexdigest()
        order = self.chain.order(self.owner.address, printer, file_hash, copies, number, **terms)
        commitment = sealing.key_commitment(file_key)
        sealed = Sealing(hashlib.sha256(b"sealed" + content).hexdigest(), 500, commitment)
        manifest = Manifest(
            self.chain.chain_id, self.contract, order.id, "a.gcode", len(content), file_hash, sealed
        )
        terms = {"manifest_hash": manifest.hash, **terms}
        order = self.chain.order(self.owner.address, printer, file_hash, copies, number, **terms)
        self.chain.send(self.owner, self.chain.licenses.issue_call(order))
        id = format_id(order.id)
        with self.sessions() as session:
            design = Design(
                owner_id=self.user_id,
                file_name="a.gcode",
                storage_key=secrets.token_hex(16),
                size=len(content),
                sha256=file_hash,
                sealed_size=sealed.size,
                sealed_sha256=sealed.sha256,
                key_commitment=commitment,
                wrapped_key=sealing.wrap_key(file_key, KEYS.identity.recipient),
                wrapped_for=KEYS.identity.recipient.hex(),
            )
            license = License(
                id=id,
                owner_id=self.user_id,
                design=design,
                intent=Intent(key=f"issue:{id}"),
                number=number,
                printer_name="P",
                printer_address=printer,
                file_hash=file_hash,
                copies=copies,
                manifest_hash=manifest.hash.hex(),
                signed_manifest=sign_manifest(manifest, self.owner).to_bytes(),
            )
            session.add(license)
            session.commit()
        self.file_keys[order.id] = file_key
        return order.id

    def know(self, device: Signer) -> None:
        """Put a wallet into the owner's list by hand."""
        with self.sessions() as session:
            session.add(Printer(owner_id=self.user_id, name=device.address[:12], address=device.address))
            session.commit()

    def consume(self, device: Signer, id: int, copy: int = 1, recipient: bytes | None = None) -> None:
        """Use one copy on the chain, with a job key of its own."""
        job_key = sealing.new_key()
        self.job_keys[id, copy] = job_key
        self.chain.send(device, self.use_call(id, copy, recipient or sealing.public_key(job_key)))

    def use_call(self, id: int, copy: int, recipient: bytes) -> str:
        license = self.chain.licenses.license_of(id)
        assert license is not None
        return self.chain.licenses.use_license_and_log_call(
            id, license.file_hash, copy, recipient, secrets.token_bytes(32), secrets.token_bytes(32)
        )

    def fail(self, device: Signer, id: int, copy: int = 1) -> None:
        self.chain.send(device, self.chain.licenses.report_failure_call(id, copy, bytes(32)))

    def recipient(self, id: int, copy: int = 1) -> bytes:
        return sealing.public_key(self.job_keys[id, copy])

    def ask(
        self,
        device: Signer,
        id: int,
        copy: int = 1,
        recipient: bytes | None = None,
        desk: Flask | None = None,
        header: str | None = None,
    ) -> Asked:
        """Ask for the key of a copy; every answer must carry the desk's signature over this question."""
        recipient = recipient or self.recipient(id, copy)
        body = json.dumps({"id": format_id(id), "copy": copy, "keyRecipient": recipient.hex()}).encode()
        header = header or authorization(device, "POST", ORIGIN, URL, body)
        done = (desk or self.app).test_client().post(URL, data=body, headers={"Authorization": header})
        if done.content_type == "application/problem+json":
            return Asked(done.status_code, done.headers, None, done.get_json())
        question = Question(self.chain.chain_id, self.contract, id, copy, recipient)
        answer = read_answer(done.data, question, KEYS.signer.address)
        return Asked(done.status_code, done.headers, answer)

    def audit(self) -> list[tuple[int, bool, str | None]]:
        """Copy, released, reason of every audit row, in their order."""
        with self.sessions() as session:
            rows = session.scalars(sa.select(KeyAudit).order_by(KeyAudit.id)).all()
            return [(row.copy, row.released, row.reason) for row in rows]

    def mine(self, blocks: int) -> None:
        self.chain.rpc.call("anvil_mine", [hex(blocks)])


def close(desk: Flask) -> None:
    """A desk's connections to the database."""
    desk.extensions["imprimatur_desk"].database.dispose()


def desk_app(
    options: Settings,
    nodes: Sequence[Rpc],
    per_minute: int,
    finality: Finality | None,
    keys: DeskKeys = KEYS,
    **changes: Any,
) -> Flask:
    settings = replace(options, **({"finality": finality} | changes))
    own = DeskSettings(Path("none"), Path("none"), "", ("http://127.0.0.1:1",), per_minute)
    app = create_app(settings, own, nodes, keys)
    app.testing = True
    return app


def make_stage(chain: Chain, folder: Path, database: bytes | str) -> DeskStage:
    """A portal's database with one owner, and a desk that believes blocks at once.

    Args:
        database: bytes of a migrated SQLite file, or the URL of a migrated database.
    """
    if isinstance(database, bytes):
        (folder / "portal.db").write_bytes(database)
        database = f"sqlite:///{folder / 'portal.db'}"
    chain.write_address_book(folder / "deployments")
    options = Settings(
        database_url=database,
        storage_url=(folder / "files").as_uri(),
        chain_url=chain.url,
        deployments=folder / "deployments",
        secret_key=b"k" * 32,
        max_upload=1_000_000,
        public_url="http://127.0.0.1:5000",
        desk=KEYS.identity,
    )
    sessions = sessionmaker(sa.create_engine(options.database_url), expire_on_commit=False)
    owner = chain.account()
    with sessions() as session:
        user = User(email="a@example.com", fs_uniquifier="u", name="A", account=owner.address)
        session.add(user)
        session.commit()
        user_id = user.id
    app = desk_app(options, [chain.rpc], 60, None)
    return DeskStage(chain, folder, sessions, options, app, owner, user_id)


def stop(stage: DeskStage, id: int, stopped: bool = True) -> None:
    """What the owner's button does to the row."""
    from app.models.base import now

    with stage.sessions() as session:
        license = session.get(License, format_id(id))
        assert license is not None
        license.stopped_at = now() if stopped else None
        session.commit()
