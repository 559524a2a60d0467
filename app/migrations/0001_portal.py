"""Owners, designs, printers, licenses, the outbox and what devices sent."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_nonce",
        sa.Column("address", sa.String(length=42), nullable=False),
        sa.Column("nonce", sa.String(length=32), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("address", "nonce", name="pk_device_nonce"),
    )
    op.create_index("ix_device_nonce_seen_at", "device_nonce", ["seen_at"], unique=False)
    op.create_table(
        "intent",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column(
            "state",
            sa.Enum("queued", "sent", "done", "failed", name="intentstate", native_enum=False, length=10),
            nullable=False,
        ),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=True),
        sa.Column("transaction_hash", sa.String(length=66), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_intent"),
        sa.UniqueConstraint("key", name="uq_intent_key"),
    )
    op.create_index("ix_intent_state", "intent", ["state"], unique=False)
    op.create_table(
        "user",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("password", sa.String(length=255), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("fs_uniquifier", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_user"),
        sa.UniqueConstraint("account", name="uq_user_account"),
        sa.UniqueConstraint("email", name="uq_user_email"),
        sa.UniqueConstraint("fs_uniquifier", name="uq_user_fs_uniquifier"),
    )
    op.create_table(
        "worker_status",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("operator", sa.String(length=42), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(), nullable=False),
        sa.Column("problem", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_worker_status"),
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("intent_id", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(length=42), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.String(length=66), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["intent_id"], ["intent.id"], name="fk_attempt_intent_id"),
        sa.PrimaryKeyConstraint("id", name="pk_attempt"),
        sa.UniqueConstraint("hash", name="uq_attempt_hash"),
        sa.UniqueConstraint("sender", "nonce", name="uq_attempt_sender_nonce"),
    )
    op.create_index("ix_attempt_open", "attempt", ["open"], unique=False)
    op.create_table(
        "design",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("file_name", sa.String(length=120), nullable=False),
        sa.Column("storage_key", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("material", sa.String(length=40), nullable=True),
        sa.Column("print_time_s", sa.Integer(), nullable=True),
        sa.Column("filament_mm", sa.Double(), nullable=True),
        sa.Column("filament_g", sa.Double(), nullable=True),
        sa.Column("layer_height_mm", sa.Double(), nullable=True),
        sa.Column("slicer", sa.String(length=80), nullable=True),
        sa.Column("has_thumbnail", sa.Boolean(), nullable=False),
        sa.Column("thumbnail_png", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name="fk_design_owner_id"),
        sa.PrimaryKeyConstraint("id", name="pk_design"),
        sa.UniqueConstraint("owner_id", "sha256", name="uq_design_owner_id_sha256"),
        sa.UniqueConstraint("storage_key", name="uq_design_storage_key"),
    )
    op.create_table(
        "printer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("address", sa.String(length=42), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name="fk_printer_owner_id"),
        sa.PrimaryKeyConstraint("id", name="pk_printer"),
        sa.UniqueConstraint("owner_id", "address", name="uq_printer_owner_id_address"),
    )
    op.create_table(
        "license",
        sa.Column("id", sa.String(length=66), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("design_id", sa.Integer(), nullable=False),
        sa.Column("intent_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("printer_name", sa.String(length=80), nullable=False),
        sa.Column("printer_address", sa.String(length=42), nullable=False),
        sa.Column("file_hash", sa.String(length=64), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["design_id"], ["design.id"], name="fk_license_design_id"),
        sa.ForeignKeyConstraint(["intent_id"], ["intent.id"], name="fk_license_intent_id"),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name="fk_license_owner_id"),
        sa.PrimaryKeyConstraint("id", name="pk_license"),
        sa.UniqueConstraint("intent_id", name="uq_license_intent_id"),
        sa.UniqueConstraint("owner_id", "number", name="uq_license_owner_id_number"),
    )
    op.create_index("ix_license_printer_address", "license", ["printer_address"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_license_printer_address", table_name="license")
    op.drop_table("license")
    op.drop_table("printer")
    op.drop_table("design")
    op.drop_index("ix_attempt_open", table_name="attempt")
    op.drop_table("attempt")
    op.drop_table("worker_status")
    op.drop_table("user")
    op.drop_index("ix_intent_state", table_name="intent")
    op.drop_table("intent")
    op.drop_index("ix_device_nonce_seen_at", table_name="device_nonce")
    op.drop_table("device_nonce")
