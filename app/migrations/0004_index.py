"""What is read from the chain: events, remembered blocks, and the picture that they give."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BLOCK = sa.BigInteger()
ADDRESS = sa.String(length=42)
HASH = sa.String(length=66)
DIGEST = sa.String(length=64)


def _column(name: str, kind: sa.types.TypeEngine[object], nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "chain_event",
        _column("contract", ADDRESS),
        _column("name", sa.String(length=40)),
        _column("text", sa.Text()),
        _column("license", HASH, nullable=True),
        sa.Column("block_number", BLOCK, autoincrement=False, nullable=False),
        _column("block_hash", HASH),
        _column("timestamp", sa.BigInteger()),
        _column("transaction_hash", HASH),
        sa.Column("log_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("block_number", "log_index", name="pk_chain_event"),
    )
    op.create_index("ix_chain_event_license_block_number", "chain_event", ["license", "block_number"])
    op.create_index("ix_chain_event_name_block_number", "chain_event", ["name", "block_number"])
    op.create_index("ix_chain_event_transaction_hash", "chain_event", ["transaction_hash"])
    op.create_table(
        "chain_block",
        sa.Column("number", BLOCK, autoincrement=False, nullable=False),
        _column("hash", HASH),
        sa.PrimaryKeyConstraint("number", name="pk_chain_block"),
    )
    op.create_table(
        "chain_claim",
        _column("id", sa.Integer()),
        _column("what", sa.Text()),
        _column("genesis", HASH, nullable=True),
        _column("head", BLOCK, nullable=True),
        _column("looked_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_chain_claim"),
    )
    op.create_table(
        "chain_license",
        _column("id", HASH),
        *(_column(name, ADDRESS) for name in ("owner", "issued_to", "printer")),
        _column("number", sa.String(length=24)),
        *(_column(name, DIGEST) for name in ("file_hash", "manifest_hash")),
        *(
            _column(name, sa.Integer())
            for name in ("issued", "granted", "failed", "used", "forfeited", "remaining")
        ),
        _column("valid_until", sa.BigInteger()),
        *(_column(name, sa.Integer()) for name in ("flags", "failures_allowed", "failed_window")),
        _column("sender", ADDRESS, nullable=True),
        _column("block_number", BLOCK),
        _column("timestamp", sa.BigInteger()),
        _column("transaction_hash", HASH),
        _column("revoked_block", BLOCK, nullable=True),
        _column("revoked_at", sa.BigInteger(), nullable=True),
        _column("revoked_transaction", HASH, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_chain_license"),
    )
    for name in ("owner", "printer", "issued_to", "file_hash", "number"):
        op.create_index(f"ix_chain_license_{name}", "chain_license", [name])
    op.create_table(
        "chain_use",
        _column("license_id", HASH),
        sa.Column("copy", sa.Integer(), autoincrement=False, nullable=False),
        *(_column(name, ADDRESS) for name in ("device", "wallet")),
        _column("file_hash", DIGEST),
        _column("key_recipient", HASH),
        _column("sender", ADDRESS, nullable=True),
        _column("block_number", BLOCK),
        _column("timestamp", sa.BigInteger()),
        _column("transaction_hash", HASH),
        _column("commitment", HASH, nullable=True),
        _column("encrypted_serial", HASH, nullable=True),
        _column("replaced", sa.Boolean()),
        _column("failed_block", BLOCK, nullable=True),
        _column("failed_at", sa.BigInteger(), nullable=True),
        _column("failed_transaction", HASH, nullable=True),
        _column("failure_evidence", HASH, nullable=True),
        sa.PrimaryKeyConstraint("license_id", "copy", name="pk_chain_use"),
    )
    op.create_index("ix_chain_use_device", "chain_use", ["device"])
    op.create_index("ix_chain_use_commitment", "chain_use", ["commitment"])
    op.create_table(
        "chain_binding",
        _column("device", ADDRESS),
        sa.Column("bound_block", BLOCK, autoincrement=False, nullable=False),
        sa.Column("bound_index", sa.Integer(), autoincrement=False, nullable=False),
        _column("wallet", ADDRESS),
        _column("bound_at", sa.BigInteger()),
        _column("unbound_block", BLOCK, nullable=True),
        _column("unbound_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("device", "bound_block", "bound_index", name="pk_chain_binding"),
    )
    op.create_index("ix_chain_binding_wallet", "chain_binding", ["wallet"])
    op.create_index("ix_chain_binding_unbound_block", "chain_binding", ["unbound_block"])


def downgrade() -> None:
    for table in (
        "chain_binding",
        "chain_use",
        "chain_license",
        "chain_claim",
        "chain_block",
        "chain_event",
    ):
        op.drop_table(table)
