"""What customers are told without asking: policies, texts, what is due; and messages of that kind."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_KINDS = ("message", "reply", "note", "receipt", "call")


def upgrade() -> None:
    _accept((*_KINDS, "notice"))
    op.create_table(
        "announcement_policy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("match", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("acknowledge", sa.Boolean(), nullable=False),
        sa.Column("acknowledge_within_s", sa.Float(), nullable=False),
        sa.Column("changes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("min_gap_s", sa.Float(), nullable=False),
        sa.Column("per_day", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        *_kept(),
        sa.CheckConstraint("acknowledge_within_s > 0", name=op.f("ck_announcement_policy_acknowledge_within_positive")),
        sa.CheckConstraint("min_gap_s >= 0", name=op.f("ck_announcement_policy_min_gap_not_negative")),
        sa.CheckConstraint("per_day >= 0", name=op.f("ck_announcement_policy_per_day_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement_policy")),
        sa.UniqueConstraint("code", name=op.f("uq_announcement_policy_code")),
    )
    op.create_table(
        "announcement_text",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("channel_type", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        *_kept(),
        sa.CheckConstraint(
            "what IN ('acknowledged', 'assigned', 'on_hold', 'transferred', 'reopened')",
            name=op.f("ck_announcement_text_what"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement_text")),
    )
    op.create_index(
        "uq_announcement_text",
        "announcement_text",
        ["what", "language", "channel_type"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "announcement",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("acknowledge", sa.Boolean(), nullable=False),
        sa.Column("assigned", sa.Boolean(), nullable=False),
        sa.Column("changes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("told_at", postgresql.ARRAY(sa.DateTime(timezone=True)), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_announcement")),
    )
    op.create_index("ix_announcement_due", "announcement", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_table(
        "announcement_cursor",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pos", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement_cursor")),
    )


def downgrade() -> None:
    for table in ("announcement_cursor", "announcement", "announcement_text", "announcement_policy"):
        op.drop_table(table)
    op.execute("UPDATE message SET kind = 'receipt' WHERE kind = 'notice'")
    _accept(_KINDS)


def _kept() -> list[sa.Column[object]]:
    return [
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    ]


def _accept(kinds: Sequence[str]) -> None:
    op.drop_constraint(op.f("ck_message_kind"), "message", type_="check")
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint(op.f("ck_message_kind"), "message", f"kind IN ({listed})")
