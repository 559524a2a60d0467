"""What was read from the chain. All of it can be deleted and read again; nothing else refers to it.

`ChainEvent`, `ChainBlock` and `ChainClaim` are the index, the others the picture that its events give.
"""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Address, Base, Digest, Hash, Time
from imprimatur.chain.orders import FOR_EVER


class ChainEvent(Base):
    """One event, as `imprimatur.chain.events.Row`."""

    __tablename__ = "chain_event"
    __table_args__ = (
        sa.Index(None, "license", "block_number"),
        sa.Index(None, "name", "block_number"),
        sa.Index(None, "transaction_hash"),
    )

    contract: Mapped[Address]
    name: Mapped[str] = mapped_column(sa.String(40))
    text: Mapped[str] = mapped_column(sa.Text)
    """Its values, as JSON."""
    license: Mapped[Hash | None]
    block_number: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    block_hash: Mapped[Hash]
    timestamp: Mapped[int] = mapped_column(sa.BigInteger)
    transaction_hash: Mapped[Hash]
    log_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class ChainBlock(Base):
    """A block that is remembered, to notice when the chain replaces it. The index stands at the newest."""

    __tablename__ = "chain_block"

    number: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[Hash]


class ChainClaim(Base):
    """One row: what the index is of, and when somebody last looked for more."""

    __tablename__ = "chain_claim"

    id: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(sa.Text)
    genesis: Mapped[Hash | None]
    """Hash of the chain's block 0: another one is another chain, whatever number it has."""
    head: Mapped[int | None] = mapped_column(sa.BigInteger)
    """The node's newest block at that time."""
    looked_at: Mapped[Time | None]


class ChainLicense(Base):
    """A license after all events about it. Accounts have checksums, times are Unix seconds."""

    __tablename__ = "chain_license"
    __table_args__ = (
        sa.Index(None, "owner"),
        sa.Index(None, "printer"),
        sa.Index(None, "issued_to"),
        sa.Index(None, "file_hash"),
        sa.Index(None, "number"),
    )

    id: Mapped[Hash] = mapped_column(primary_key=True)
    owner: Mapped[Address]
    number: Mapped[str] = mapped_column(sa.String(24))
    """The id's part that its number gives (24 hexadecimal digits), whoever the owner is."""
    issued_to: Mapped[Address]
    printer: Mapped[Address]
    """The wallet that holds it now."""
    file_hash: Mapped[Digest]
    manifest_hash: Mapped[Digest]
    """64 zeros without a manifest."""
    issued: Mapped[int]
    """Copies; as the five columns that follow."""
    granted: Mapped[int]
    failed: Mapped[int]
    used: Mapped[int]
    forfeited: Mapped[int]
    remaining: Mapped[int]
    """By the contract's ERC-1155 events: counted apart from the others, so that they check each other."""
    valid_until: Mapped[int] = mapped_column(sa.BigInteger)
    flags: Mapped[int]
    failures_allowed: Mapped[int]
    failed_window: Mapped[int]
    """Bit j: copy `used - j` is failed or closed."""
    sender: Mapped[Address | None]
    """Who paid for the transaction that issued it."""
    block_number: Mapped[int] = mapped_column(sa.BigInteger)
    timestamp: Mapped[int] = mapped_column(sa.BigInteger)
    transaction_hash: Mapped[Hash]
    revoked_block: Mapped[int | None] = mapped_column(sa.BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    revoked_transaction: Mapped[Hash | None]

    def is_expired(self, now: float) -> bool:
        return self.valid_until != FOR_EVER and now > self.valid_until


class ChainUse(Base):
    """A consumed copy, and its failure if one was reported."""

    __tablename__ = "chain_use"
    __table_args__ = (sa.Index(None, "device"), sa.Index(None, "commitment"))

    license_id: Mapped[Hash] = mapped_column(primary_key=True)
    copy: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    device: Mapped[Address]
    wallet: Mapped[Address]
    """Who held the license then."""
    file_hash: Mapped[Digest]
    key_recipient: Mapped[Hash]
    sender: Mapped[Address | None]
    """Who paid for the transaction."""
    block_number: Mapped[int] = mapped_column(sa.BigInteger)
    timestamp: Mapped[int] = mapped_column(sa.BigInteger)
    transaction_hash: Mapped[Hash]
    commitment: Mapped[Hash | None]
    """To its serial; None, as the next, when no serial was logged."""
    encrypted_serial: Mapped[Hash | None]
    replaced: Mapped[bool]
    """The owner granted another copy for it."""
    failed_block: Mapped[int | None] = mapped_column(sa.BigInteger)
    failed_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    failed_transaction: Mapped[Hash | None]
    failure_evidence: Mapped[Hash | None]


class ChainBinding(Base):
    """That a device acted for a wallet, from one event until another, if there was one."""

    __tablename__ = "chain_binding"
    __table_args__ = (sa.Index(None, "wallet"), sa.Index(None, "unbound_block"))

    device: Mapped[Address] = mapped_column(primary_key=True)
    bound_block: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    bound_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Place of the event in its block."""
    wallet: Mapped[Address]
    bound_at: Mapped[int] = mapped_column(sa.BigInteger)
    unbound_block: Mapped[int | None] = mapped_column(sa.BigInteger)
    unbound_at: Mapped[int | None] = mapped_column(sa.BigInteger)
