"""How matters end: closing policies, when a receipt is asked about again, and what follows a closed conversation."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_JSONB = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    op.create_table(
        "closing_policy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("match", _JSONB, nullable=False),
        sa.Column("confirm_after_s", sa.Float(), nullable=True),
        sa.Column("remind_after_s", _JSONB, nullable=False),
        sa.Column("reopen_window_s", sa.Float(), nullable=False),
        sa.Column("survey", sa.Boolean(), nullable=False),
        sa.Column("survey_gap_s", sa.Float(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("confirm_after_s > 0", name=op.f("ck_closing_policy_confirm_after_positive")),
        sa.CheckConstraint("reopen_window_s >= 0", name=op.f("ck_closing_policy_reopen_window_not_negative")),
        sa.CheckConstraint("survey_gap_s >= 0", name=op.f("ck_closing_policy_survey_gap_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_closing_policy")),
        sa.UniqueConstraint("code", name=op.f("uq_closing_policy_code")),
    )
    op.add_column("resolution_cycle", sa.Column("policy", _JSONB, nullable=False, server_default=sa.text("'{}'")))
    op.add_column("resolution_cycle", sa.Column("survey_asked", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("resolution_cycle", sa.Column("reminders", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("resolution_cycle", sa.Column("confirm_by", sa.DateTime(timezone=True), nullable=True))
    op.add_column("resolution_cycle", sa.Column("next_at", sa.DateTime(timezone=True), nullable=True))
    # Those that wait already get the shipped time from now on, without a reminder.
    op.execute(
        "UPDATE resolution_cycle SET confirm_by = now() + interval '72 hours', next_at = now() + interval '72 hours' "
        "WHERE state = 'pending'"
    )
    for column in ("policy", "survey_asked", "reminders"):
        op.alter_column("resolution_cycle", column, server_default=None)
    op.create_index(
        "ix_resolution_cycle_due", "resolution_cycle", ["next_at"], postgresql_where=sa.text("next_at IS NOT NULL")
    )
    op.add_column("conversation", sa.Column("reopen_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversation", sa.Column("follows_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_conversation_follows_id"),
        "conversation",
        "conversation",
        ["follows_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_index(
        "ix_conversation_closed",
        "conversation",
        ["identity_id", "channel_id", "closed_at"],
        postgresql_where=sa.text("status = 'closed'"),
    )


def downgrade() -> None:
    op.drop_index("ix_conversation_closed", table_name="conversation")
    op.drop_constraint(op.f("fk_conversation_follows_id"), "conversation", type_="foreignkey")
    op.drop_column("conversation", "follows_id")
    op.drop_column("conversation", "reopen_until")
    op.drop_index("ix_resolution_cycle_due", table_name="resolution_cycle")
    for column in ("next_at", "confirm_by", "reminders", "survey_asked", "policy"):
        op.drop_column("resolution_cycle", column)
    op.drop_table("closing_policy")
