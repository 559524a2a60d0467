"""The outbox learns fees, finality and cancelling."""

import time

import rlp
import sqlalchemy as sa
from alembic import op
from eth_utils.address import to_checksum_address

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not as a batch, which makes SQLite's table anew: licenses refer to it.
    op.add_column("intent", sa.Column("chain_id", sa.BigInteger(), nullable=True))
    op.add_column("intent", sa.Column("sender", sa.String(length=42), nullable=True))
    op.add_column("intent", sa.Column("nonce", sa.BigInteger(), nullable=True))
    op.add_column("intent", sa.Column("to", sa.String(length=42), nullable=True))
    op.add_column("intent", sa.Column("data", sa.Text(), nullable=True))
    op.add_column("intent", sa.Column("value", sa.String(length=78), nullable=True))
    op.add_column("intent", sa.Column("gas", sa.BigInteger(), nullable=True))
    op.add_column("intent", sa.Column("cancelling", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("intent", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("intent", sa.Column("block_hash", sa.String(length=66), nullable=True))
    with op.batch_alter_table("attempt") as table:
        table.add_column(sa.Column("chain_id", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("max_fee", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("tip", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("cancels", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("signed_at", sa.Double(), nullable=False, server_default="0"))
        table.add_column(sa.Column("head", sa.BigInteger(), nullable=False, server_default="0"))
        table.drop_index("ix_attempt_open")
        table.drop_column("open")
        table.drop_column("created_at")
        table.drop_constraint("uq_attempt_sender_nonce", type_="unique")
        table.create_index("ix_attempt_chain_id_sender_nonce", ["chain_id", "sender", "nonce"])
        table.create_index("ix_attempt_intent_id", ["intent_id"])
    _read_signed_bytes(op.get_bind())
    op.create_index("ix_intent_chain_id_sender_nonce", "intent", ["chain_id", "sender", "nonce"], unique=True)
    with op.batch_alter_table("attempt") as table:
        for name in ("chain_id", "max_fee", "tip", "head"):
            table.alter_column(name, server_default=None, existing_type=sa.BigInteger())
        table.alter_column("cancels", server_default=None, existing_type=sa.Boolean())
        table.alter_column("signed_at", server_default=None, existing_type=sa.Double())


def _read_signed_bytes(database: sa.Connection) -> None:
    """What the new columns want to know stands in the signed transactions (EIP-1559).

    Orders under way go on from their newest bytes; those that wait again are signed anew.
    """
    states = {row[0]: row[1] for row in database.execute(sa.text("SELECT id, state FROM intent"))}
    attempts = database.execute(sa.text("SELECT id, intent_id, sender, nonce, raw FROM attempt ORDER BY id"))
    for id, intent, sender, nonce, raw in attempts.all():
        chain_id, _, tip, max_fee, gas, to, value, data, *_ = rlp.decode(bytes(raw)[1:])
        chain = {"chain_id": _number(chain_id)}
        fees = {"id": id, "max_fee": _number(max_fee), "tip": _number(tip), "now": time.time(), **chain}
        database.execute(
            sa.text(
                "UPDATE attempt SET chain_id = :chain_id, max_fee = :max_fee, tip = :tip, signed_at = :now"
                " WHERE id = :id"
            ),
            fees,
        )
        if states[intent] == "queued":
            continue
        call = {"to": to_checksum_address(to), "data": "0x" + data.hex(), "value": str(_number(value))}
        database.execute(
            sa.text(
                'UPDATE intent SET chain_id = :chain_id, sender = :sender, nonce = :nonce, "to" = :to,'
                " data = :data, value = :value, gas = :gas WHERE id = :id"
            ),
            {"id": intent, "sender": sender, "nonce": nonce, "gas": _number(gas), **chain, **call},
        )


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


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
        table.drop_index("ix_attempt_chain_id_sender_nonce")
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
    op.drop_index("ix_intent_chain_id_sender_nonce", "intent")
    for name in ("chain_id", "sender", "nonce", "to", "data", "value", "gas", "cancelling", "tries"):
        op.drop_column("intent", name)
    op.drop_column("intent", "block_hash")
