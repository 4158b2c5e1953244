"""Telephone calls: what was heard of each, the kind of their messages, and where agents are rung."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BEFORE = "kind IN ('message', 'reply', 'note', 'receipt')"
_AFTER = "kind IN ('message', 'reply', 'note', 'receipt', 'call')"


def upgrade() -> None:
    op.add_column("agent", sa.Column("phone", sa.Text(), nullable=True))
    op.create_table(
        "call",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("updates", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("over", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["channel_id"], ["channel.id"], name=op.f("fk_call_channel_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_call_message_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_call_conversation_id")),
        sa.PrimaryKeyConstraint("channel_id", "call_id", name=op.f("pk_call")),
    )
    op.create_index("uq_call_message", "call", ["message_id"], unique=True)
    op.create_index("ix_call_conversation", "call", ["conversation_id"])
    op.drop_constraint(op.f("ck_message_kind"), "message", type_="check")
    op.create_check_constraint(op.f("ck_message_kind"), "message", _AFTER)


def downgrade() -> None:
    op.execute("UPDATE message SET kind = 'message' WHERE kind = 'call' AND direction = 'inbound'")
    op.execute("UPDATE message SET kind = 'reply' WHERE kind = 'call'")
    op.drop_constraint(op.f("ck_message_kind"), "message", type_="check")
    op.create_check_constraint(op.f("ck_message_kind"), "message", _BEFORE)
    op.drop_table("call")
    op.drop_column("agent", "phone")
