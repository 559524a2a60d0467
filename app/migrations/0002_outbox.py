"""The outbox learns fees, finality and cancelling."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LAST = "(SELECT {column} FROM attempt WHERE attempt.intent_id = intent.id ORDER BY attempt.id DESC LIMIT 1)"


def upgrade() -> None:
    with op.batch_alter_table("intent") as table:
        table.add_column(sa.Column("chain_id", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("sender", sa.String(length=42), nullable=True))
        table.add_column(sa.Column("nonce", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("to", sa.String(length=42), nullable=True))
        table.add_column(sa.Column("data", sa.Text(), nullable=True))
        table.add_column(sa.Column("value", sa.String(length=78), nullable=True))
        table.add_column(sa.Column("gas", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("cancelling", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("block_hash", sa.String(length=66), nullable=True))
    # What is or was under way goes on from its newest bytes. Orders that wait again are signed anew.
    op.execute(
        f"UPDATE intent SET sender = {_LAST.format(column='sender')}, nonce = {_LAST.format(column='nonce')}"  # noqa: S608
        " WHERE state <> 'queued'"
    )
    with op.batch_alter_table("intent") as table:
        table.create_unique_constraint("uq_intent_sender_nonce", ["sender", "nonce"])
        table.alter_column("cancelling", server_default=None, existing_type=sa.Boolean())
        table.alter_column("tries", server_default=None, existing_type=sa.Integer())
    with op.batch_alter_table("attempt") as table:
        table.add_column(sa.Column("chain_id", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("max_fee", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("tip", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("cancels", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("signed_at", sa.Double(), nullable=False, server_default="0"))
        table.add_column(sa.Column("head", sa.BigInteger(), nullable=False, server_default="0"))
        table.drop_index("ix_attempt_open")
        table.drop_column("open")
        table.drop_column("created_at")
        table.drop_constraint("uq_attempt_sender_nonce", type_="unique")
        table.create_index("ix_attempt_sender_nonce", ["sender", "nonce"])
        table.create_index("ix_attempt_intent_id", ["intent_id"])
    with op.batch_alter_table("attempt") as table:
        for name in ("max_fee", "tip", "head"):
            table.alter_column(name, server_default=None, existing_type=sa.BigInteger())
        table.alter_column("cancels", server_default=None, existing_type=sa.Boolean())
        table.alter_column("signed_at", server_default=None, existing_type=sa.Double())


def downgrade() -> None:
    # The older tables know one attempt a nonce: the newest, which has the highest fees.
    op.execute(
        "DELETE FROM attempt WHERE EXISTS (SELECT 1 FROM attempt AS newer WHERE newer.sender = attempt.sender"
        " AND newer.nonce = attempt.nonce AND newer.id > attempt.id)"
    )
    with op.batch_alter_table("attempt") as table:
        table.add_column(sa.Column("open", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(
            sa.Column("created_at", sa.DateTime(), nullable=False, server_default="1970-01-01 00:00:00")
        )
        table.drop_index("ix_attempt_intent_id")
        table.drop_index("ix_attempt_sender_nonce")
        for name in ("chain_id", "max_fee", "tip", "cancels", "signed_at", "head"):
            table.drop_column(name)
    op.execute(
        "UPDATE attempt SET open ="
        " (SELECT state IN ('sent', 'mined') FROM intent WHERE intent.id = attempt.intent_id)"
    )
    with op.batch_alter_table("attempt") as table:
        table.alter_column("open", server_default=None, existing_type=sa.Boolean())
        table.alter_column("created_at", server_default=None, existing_type=sa.DateTime())
        table.create_unique_constraint("uq_attempt_sender_nonce", ["sender", "nonce"])
        table.create_index("ix_attempt_open", ["open"])
    op.execute("UPDATE intent SET state = 'sent' WHERE state = 'mined'")
    op.execute("UPDATE intent SET state = 'failed' WHERE state = 'cancelled'")
    with op.batch_alter_table("intent") as table:
        table.drop_constraint("uq_intent_sender_nonce", type_="unique")
        for name in (
            "chain_id",
            "sender",
            "nonce",
            "to",
            "data",
            "value",
            "gas",
            "cancelling",
            "tries",
            "block_hash",
        ):
            table.drop_column(name)
