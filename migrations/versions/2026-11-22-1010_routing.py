"""Routing that is fair and explained: rings, overflow, teams, boosts, graded response, participants, counters."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FILLED = [
    ("agent", "missed_offers"),
    ("conversation", "participant_ids"),
    ("queue", "assignment"),
    ("queue", "rings"),
    ("queue", "when_closed"),
    ("queue", "sticky_window_s"),
    ("queue", "sticky_wait_s"),
    ("queue_entry", "specialists"),
    ("queue_entry", "ring"),
    ("queue_entry", "boosts"),
    ("queue_member", "level"),
    ("routing_decision", "kind"),
]
# Who serves a queue: its own members, and those of the teams that serve it.
_QUEUE_AGENT = """
CREATE VIEW queue_agent AS
SELECT queue_id, agent_id, min(level) AS level
FROM (
    SELECT queue_id, agent_id, level FROM queue_member
    UNION ALL
    SELECT t.queue_id, m.agent_id, t.level FROM queue_team t JOIN team_member m ON m.team_id = t.team_id
) served
GROUP BY queue_id, agent_id
"""


def upgrade() -> None:
    op.create_table(
        "boost",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("fact", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("boost_s", sa.Float(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "fact IN ('matter', 'severity', 'channel_type', 'tier', 'risk', 'repeat')", name=op.f("ck_boost_fact")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_boost")),
    )
    op.create_index("uq_boost_fact_value", "boost", ["fact", "value"], unique=True)
    op.create_table(
        "calendar",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("weekly", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("exceptions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("holidays", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar")),
    )
    op.create_table(
        "graded_response",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("match", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("escalate", sa.Boolean(), nullable=False),
        sa.Column("specialists", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_graded_response")),
        sa.UniqueConstraint("code", name=op.f("uq_graded_response_code")),
    )
    op.create_table(
        "queue_delta",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("queue_id", sa.Uuid(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("offered", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue_delta")),
    )
    op.create_table(
        "team",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team")),
        sa.UniqueConstraint("name", name=op.f("uq_team_name")),
    )
    op.create_table(
        "team_member",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name=op.f("fk_team_member_agent_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["team_id"], ["team.id"], name=op.f("fk_team_member_team_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("team_id", "agent_id", name=op.f("pk_team_member")),
    )
    op.create_index(op.f("ix_team_member_agent_id"), "team_member", ["agent_id"], unique=False)
    op.create_table(
        "queue_count",
        sa.Column("queue_id", sa.Uuid(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("offered", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["queue_id"], ["queue.id"], name=op.f("fk_queue_count_queue_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("queue_id", name=op.f("pk_queue_count")),
    )
    op.create_table(
        "queue_team",
        sa.Column("queue_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.CheckConstraint("level BETWEEN 1 AND 9", name=op.f("ck_queue_team_level")),
        sa.ForeignKeyConstraint(["queue_id"], ["queue.id"], name=op.f("fk_queue_team_queue_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["team_id"], ["team.id"], name=op.f("fk_queue_team_team_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("queue_id", "team_id", name=op.f("pk_queue_team")),
    )
    op.create_index(op.f("ix_queue_team_team_id"), "queue_team", ["team_id"], unique=False)
    op.create_table(
        "agent_read",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name=op.f("fk_agent_read_agent_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_agent_read_conversation_id")),
        sa.PrimaryKeyConstraint("conversation_id", "agent_id", name=op.f("pk_agent_read")),
    )
    op.create_table(
        "conversation_participant",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("added_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "role IN ('collaborator', 'monitor', 'joined')", name=op.f("ck_conversation_participant_role")
        ),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name=op.f("fk_conversation_participant_agent_id")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_conversation_participant_conversation_id")
        ),
        sa.PrimaryKeyConstraint("conversation_id", "agent_id", name=op.f("pk_conversation_participant")),
    )
    op.create_index(
        op.f("ix_conversation_participant_agent_id"), "conversation_participant", ["agent_id"], unique=False
    )
    op.add_column("agent", sa.Column("missed_offers", sa.Integer(), server_default="0", nullable=False))
    op.add_column("event", sa.Column("channel_id", sa.Uuid(), nullable=True))
    op.add_column("contact", sa.Column("merged_into", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_contact_merged_into"), "contact", "contact", ["merged_into"], ["id"], ondelete="SET NULL"
    )
    op.add_column("contact_identity", sa.Column("same_as", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_contact_identity_same_as"),
        "contact_identity",
        "contact_identity",
        ["same_as"],
        ["id"],
        ondelete="SET NULL",
    )
    op.add_column(
        "conversation",
        sa.Column("participant_ids", postgresql.ARRAY(postgresql.UUID()), server_default="{}", nullable=False),
    )
    op.add_column("queue", sa.Column("assignment", sa.Text(), server_default="offer", nullable=False))
    op.add_column(
        "queue", sa.Column("rings", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False)
    )
    op.add_column("queue", sa.Column("calendar_id", sa.Uuid(), nullable=True))
    op.add_column("queue", sa.Column("when_closed", sa.Text(), server_default="wait", nullable=False))
    op.add_column("queue", sa.Column("overflow_queue_id", sa.Uuid(), nullable=True))
    op.add_column("queue", sa.Column("overflow_after_s", sa.Float(), nullable=True))
    op.add_column("queue", sa.Column("max_wait_s", sa.Float(), nullable=True))
    op.add_column("queue", sa.Column("sticky_window_s", sa.Float(), server_default="86400", nullable=False))
    op.add_column("queue", sa.Column("sticky_wait_s", sa.Float(), server_default="0", nullable=False))
    op.create_foreign_key(op.f("fk_queue_calendar_id"), "queue", "calendar", ["calendar_id"], ["id"])
    op.create_foreign_key(op.f("fk_queue_overflow_queue_id"), "queue", "queue", ["overflow_queue_id"], ["id"])
    op.add_column(
        "queue_entry", sa.Column("specialists", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False)
    )
    op.add_column("queue_entry", sa.Column("ring", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "queue_entry", sa.Column("boosts", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False)
    )
    op.add_column(
        "queue_entry",
        sa.Column("entered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.add_column("queue_entry", sa.Column("target_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("queue_entry", sa.Column("round_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("queue_entry", sa.Column("next_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_index(op.f("ix_queue_entry_order"), table_name="queue_entry")
    op.create_index(
        "ix_queue_entry_lane",
        "queue_entry",
        ["queue_id", "escalated", "weight", "ring", "skills", "specialists", "order_at", "conversation_id"],
        unique=False,
        postgresql_where="state = 'waiting' AND target_agent_id IS NULL",
    )
    op.create_index(
        "ix_queue_entry_next", "queue_entry", ["next_at"], unique=False, postgresql_where="next_at IS NOT NULL"
    )
    op.create_index(
        "ix_queue_entry_target",
        "queue_entry",
        ["target_agent_id"],
        unique=False,
        postgresql_where="target_agent_id IS NOT NULL",
    )
    op.add_column("queue_member", sa.Column("level", sa.Integer(), server_default="1", nullable=False))
    op.add_column("routing_decision", sa.Column("kind", sa.Text(), server_default="offer", nullable=False))
    for table, column in _FILLED:
        op.alter_column(table, column, server_default=None)
    op.create_check_constraint(op.f("ck_queue_assignment"), "queue", "assignment IN ('offer', 'direct')")
    op.create_check_constraint(op.f("ck_queue_when_closed"), "queue", "when_closed IN ('wait', 'overflow')")
    op.create_check_constraint(op.f("ck_queue_overflow_after_positive"), "queue", "overflow_after_s > 0")
    op.create_check_constraint(op.f("ck_queue_max_wait_positive"), "queue", "max_wait_s > 0")
    op.create_check_constraint(op.f("ck_queue_sticky_window_not_negative"), "queue", "sticky_window_s >= 0")
    op.create_check_constraint(op.f("ck_queue_sticky_wait_not_negative"), "queue", "sticky_wait_s >= 0")
    op.create_check_constraint(op.f("ck_queue_overflow_elsewhere"), "queue", "overflow_queue_id <> id")
    op.create_check_constraint(op.f("ck_queue_member_level"), "queue_member", "level BETWEEN 1 AND 9")
    op.create_check_constraint(
        op.f("ck_routing_decision_kind"),
        "routing_decision",
        "kind IN ('offer', 'ring', 'overflow', 'escalated', 'round', 'untargeted')",
    )
    op.execute(_QUEUE_AGENT)


def downgrade() -> None:
    # It takes a row of `queue`, so it stands on the table's type; migrate.py installs it again.
    op.execute("DROP FUNCTION IF EXISTS next_at_v1")
    op.execute("DELETE FROM instance WHERE name = 'sql:routing/next_at.sql'")
    op.execute("DROP VIEW queue_agent")
    op.drop_column("routing_decision", "kind")
    op.drop_column("queue_member", "level")
    op.drop_index("ix_queue_entry_target", table_name="queue_entry", postgresql_where="target_agent_id IS NOT NULL")
    op.drop_index("ix_queue_entry_next", table_name="queue_entry", postgresql_where="next_at IS NOT NULL")
    op.drop_index(
        "ix_queue_entry_lane",
        table_name="queue_entry",
        postgresql_where="state = 'waiting' AND target_agent_id IS NULL",
    )
    op.create_index(
        op.f("ix_queue_entry_order"),
        "queue_entry",
        ["order_at", "conversation_id"],
        unique=False,
        postgresql_where="state = 'waiting'",
    )
    op.drop_column("queue_entry", "next_at")
    op.drop_column("queue_entry", "round_at")
    op.drop_column("queue_entry", "target_until")
    op.drop_column("queue_entry", "entered_at")
    op.drop_column("queue_entry", "boosts")
    op.drop_column("queue_entry", "ring")
    op.drop_column("queue_entry", "specialists")
    op.drop_constraint(op.f("fk_queue_overflow_queue_id"), "queue", type_="foreignkey")
    op.drop_constraint(op.f("fk_queue_calendar_id"), "queue", type_="foreignkey")
    op.drop_column("queue", "sticky_wait_s")
    op.drop_column("queue", "sticky_window_s")
    op.drop_column("queue", "max_wait_s")
    op.drop_column("queue", "overflow_after_s")
    op.drop_column("queue", "overflow_queue_id")
    op.drop_column("queue", "when_closed")
    op.drop_column("queue", "calendar_id")
    op.drop_column("queue", "rings")
    op.drop_column("queue", "assignment")
    op.drop_column("conversation", "participant_ids")
    op.drop_constraint(op.f("fk_contact_identity_same_as"), "contact_identity", type_="foreignkey")
    op.drop_column("contact_identity", "same_as")
    op.drop_constraint(op.f("fk_contact_merged_into"), "contact", type_="foreignkey")
    op.drop_column("contact", "merged_into")
    op.drop_column("event", "channel_id")
    op.drop_column("agent", "missed_offers")
    op.drop_index(op.f("ix_conversation_participant_agent_id"), table_name="conversation_participant")
    op.drop_table("conversation_participant")
    op.drop_table("agent_read")
    op.drop_index(op.f("ix_queue_team_team_id"), table_name="queue_team")
    op.drop_table("queue_team")
    op.drop_table("queue_count")
    op.drop_index(op.f("ix_team_member_agent_id"), table_name="team_member")
    op.drop_table("team_member")
    op.drop_table("team")
    op.drop_table("queue_delta")
    op.drop_table("graded_response")
    op.drop_table("calendar")
    op.drop_index("uq_boost_fact_value", table_name="boost")
    op.drop_table("boost")
