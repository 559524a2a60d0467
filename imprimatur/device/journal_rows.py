"""The journal's tables, and how their rows become values."""

import json
import sqlite3
from typing import Any

from imprimatur.chain.typed_data import CompactSignature, Failure, Signed, Use
from imprimatur.device.job import Job, State, UseSignature
from imprimatur.device.messages import failure_document, use_document
from imprimatur.device.reasons import Reason
from imprimatur.license_id import parse_id
from imprimatur.serials.tag_key import TagKey

VERSION = 1
"""SQLite's user_version of the file."""

TABLES = """
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY,
    license_id TEXT NOT NULL,
    chain_id INTEGER NOT NULL,
    contract TEXT NOT NULL,
    file_hash TEXT NOT NULL,
    state TEXT NOT NULL,
    name TEXT NOT NULL,
    number TEXT NOT NULL,
    owner TEXT NOT NULL,
    user TEXT,
    copies INTEGER NOT NULL,
    copy INTEGER,
    wanted INTEGER,
    file TEXT,
    manifest BLOB,
    is_sealed INTEGER NOT NULL,
    reason TEXT,
    withdrawn INTEGER NOT NULL DEFAULT 0,
    paid_at REAL,
    "transaction" TEXT,
    block INTEGER,
    block_hash TEXT,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    dismissed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS job_open ON job (license_id, chain_id, contract)
    WHERE state NOT IN ('FINISHED', 'FAILED', 'ABANDONED');
CREATE INDEX IF NOT EXISTS job_created ON job (created);
CREATE TABLE IF NOT EXISTS signature (
    digest TEXT PRIMARY KEY,
    job TEXT NOT NULL REFERENCES job (id),
    use TEXT NOT NULL,
    job_key BLOB NOT NULL,
    tag_key BLOB NOT NULL,
    serial TEXT NOT NULL,
    since INTEGER NOT NULL,
    sent_at REAL,
    wrapped_key BLOB,
    live INTEGER NOT NULL DEFAULT 1,
    ended TEXT
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS signature_live ON signature (job) WHERE live = 1;
CREATE TABLE IF NOT EXISTS evidence (
    job TEXT NOT NULL REFERENCES job (id),
    reason TEXT NOT NULL,
    first BLOB NOT NULL,
    first_at REAL NOT NULL,
    newest BLOB NOT NULL,
    newest_at REAL NOT NULL,
    PRIMARY KEY (job, reason)
) STRICT;
CREATE TABLE IF NOT EXISTS failure (
    job TEXT PRIMARY KEY REFERENCES job (id),
    evidence BLOB NOT NULL,
    signed TEXT,
    sent_at REAL,
    ended TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS statement (
    job TEXT PRIMARY KEY REFERENCES job (id),
    content BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS outcome (
    job TEXT PRIMARY KEY REFERENCES job (id),
    document TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    ended TEXT
) STRICT
"""


def job_of(row: sqlite3.Row) -> Job:
    """The job in a row of `job`."""
    manifest = row["manifest"]
    return Job(
        id=row["id"],
        license_id=parse_id(row["license_id"]),
        chain_id=row["chain_id"],
        contract=row["contract"],
        file_hash=row["file_hash"],
        state=State(row["state"]),
        name=row["name"],
        number=row["number"],
        owner=row["owner"],
        user=row["user"],
        copies=row["copies"],
        copy=row["copy"],
        wanted=row["wanted"],
        file=row["file"],
        manifest=None if manifest is None else bytes(manifest),
        is_sealed=bool(row["is_sealed"]),
        reason=None if row["reason"] is None else Reason.from_json(row["reason"]),
        withdrawn=bool(row["withdrawn"]),
        paid_at=row["paid_at"],
        transaction=row["transaction"],
        block=row["block"],
        block_hash=row["block_hash"],
        created=row["created"],
        updated=row["updated"],
        dismissed=bool(row["dismissed"]),
    )


def signature_columns(job_id: str, signature: UseSignature) -> dict[str, Any]:
    """The row of `signature` for a fresh signature."""
    return {
        "digest": signature.digest,
        "job": job_id,
        "use": json.dumps(use_document(signature.signed)),
        "job_key": signature.job_key,
        "tag_key": signature.tag_key.secret,
        "serial": signature.serial,
        "since": signature.since,
    }


def signature_of(row: sqlite3.Row) -> UseSignature:
    """The signature in a row of `signature`."""
    wrapped = row["wrapped_key"]
    return UseSignature(
        signed=signed_use(json.loads(row["use"])),
        digest=row["digest"],
        job_key=bytes(row["job_key"]),
        tag_key=TagKey(bytes(row["tag_key"])),
        serial=row["serial"],
        since=row["since"],
        sent_at=row["sent_at"],
        wrapped_key=None if wrapped is None else bytes(wrapped),
    )


def signed_use(document: dict[str, Any]) -> Signed[Use]:
    """The signed use behind `use_document`'s JSON value."""
    use = Use(
        id=parse_id(document["id"]),
        file_hash=document["fileHash"],
        copy=document["copy"],
        key_recipient=bytes.fromhex(document["keyRecipient"]),
        encrypted_serial=bytes.fromhex(document["encryptedSerial"]),
        commitment=bytes.fromhex(document["commitment"]),
        deadline=document["deadline"],
    )
    return Signed(use, _signature(document))


def signed_failure(document: dict[str, Any]) -> Signed[Failure]:
    """The signed report behind `failure_document`'s JSON value."""
    failure = Failure(
        parse_id(document["id"]),
        document["copy"],
        bytes.fromhex(document["evidence"]),
        document["deadline"],
    )
    return Signed(failure, _signature(document))


def packed_failure(signed: Signed[Failure]) -> str:
    """What `signed_failure` reads, as text."""
    return json.dumps(failure_document(signed))


def _signature(document: dict[str, Any]) -> CompactSignature:
    raw = bytes.fromhex(document["signature"].removeprefix("0x"))
    return CompactSignature(raw[:32], raw[32:])
