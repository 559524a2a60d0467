"""Sealed files, devices by invitation, relayed messages, the key desk's audit."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DESIGN = {
    "sealed_size": sa.BigInteger(),
    "sealed_sha256": sa.String(length=64),
    "key_commitment": sa.String(length=64),
    "wrapped_key": sa.LargeBinary(),
    "wrapped_for": sa.String(length=64),
    "plain_key": sa.String(length=64),
}
LICENSE = {
    "manifest_hash": sa.String(length=64),
    "signed_manifest": sa.LargeBinary(),
    "stopped_at": sa.DateTime(),
}


def upgrade() -> None:
    # Columns one by one: a batch makes SQLite's table anew, and other tables refer to these.
    for name, kind in DESIGN.items():
        op.add_column("design", sa.Column(name, kind, nullable=True))
    for name, kind in LICENSE.items():
        op.add_column("license", sa.Column(name, kind, nullable=True))
    op.add_column("license", sa.Column("failures_allowed", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("user", sa.Column("log_recipient", sa.String(length=64), nullable=True))
    op.create_table(
        "invitation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("printer_name", sa.String(length=80), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("used_by", sa.String(length=42), nullable=True),
        sa.Column("used_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name="fk_invitation_owner_id_user"),
        sa.PrimaryKeyConstraint("id", name="pk_invitation"),
        sa.UniqueConstraint("code_hash", name="uq_invitation_code_hash"),
    )
    op.create_table(
        "device",
        sa.Column("address", sa.String(length=42), nullable=False),
        sa.Column("wallet", sa.String(length=42), nullable=False),
        sa.Column("printer_id", sa.Integer(), nullable=False),
        sa.Column("encryption_key", sa.String(length=64), nullable=False),
        sa.Column("enrolled_at", sa.DateTime(), nullable=False),
        sa.Column("disabled_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["printer_id"], ["printer.id"], name="fk_device_printer_id_printer"),
        sa.PrimaryKeyConstraint("address", name="pk_device"),
    )
    op.create_index("ix_device_wallet", "device", ["wallet"])
    op.create_table(
        "relay_entry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=66), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("license_id", sa.String(length=66), nullable=False),
        sa.Column("copy", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=42), nullable=False),
        sa.Column("message", sa.JSON(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("intent_id", sa.Integer(), nullable=True),
        sa.Column("transaction_hash", sa.String(length=66), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["intent_id"], ["intent.id"], name="fk_relay_entry_intent_id_intent"),
        sa.PrimaryKeyConstraint("id", name="pk_relay_entry"),
        sa.UniqueConstraint("digest", name="uq_relay_entry_digest"),
    )
    op.create_index("ix_relay_entry_state", "relay_entry", ["state"])
    op.create_index("ix_relay_entry_device_state", "relay_entry", ["device", "state"])
    op.create_index("ix_relay_entry_intent_id", "relay_entry", ["intent_id"])
    op.create_table(
        "key_audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("license_id", sa.String(length=66), nullable=False),
        sa.Column("copy", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=42), nullable=False),
        sa.Column("key_recipient", sa.String(length=64), nullable=False),
        sa.Column("released", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("answer_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_key_audit"),
    )
    op.create_index("ix_key_audit_device_at", "key_audit", ["device", "at"])
    op.create_index("ix_key_audit_license_id_copy", "key_audit", ["license_id", "copy"])
    op.create_table(
        "outcome",
        sa.Column("license_id", sa.String(length=66), nullable=False),
        sa.Column("copy", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=42), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=True),
        sa.Column("telemetry", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("reported_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("license_id", "copy", "device", name="pk_outcome"),
    )


def downgrade() -> None:
    for table in ("outcome", "key_audit", "relay_entry", "device", "invitation"):
        op.drop_table(table)
    op.drop_column("user", "log_recipient")
    for name in ("failures_allowed", *LICENSE):
        op.drop_column("license", name)
    for name in DESIGN:
        op.drop_column("design", name)
