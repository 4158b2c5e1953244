"""Clocks that are right: calendars, stages, pauses, every metric, actions, attainment, policies applied to open matters."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TARGETS = ("next_response_s", "periodic_update_s", "follow_up_s", "analysis_s", "handling_s")
# What urgent matters that are late did so far becomes an escalation like any other.
_POLICIES = """
UPDATE sla_policy SET
    pauses = '{waiting_on_customer,on_hold,snoozed}',
    warnings = jsonb_build_array(jsonb_build_object('percent', warn_percent)),
    escalations = '[{"after_s": 0, "level": 1, "do": [{"requeue": true, "if": {"category": ["urgent"]}}]}]'
"""
_CLOCKS = """
UPDATE sla_clock SET
    turn = 0, breach_stage = 2, stage_at = array_remove(ARRAY[warn_at, due_at], NULL),
    stage = CASE WHEN breached_at IS NOT NULL THEN 2 WHEN warned_at IS NOT NULL THEN 1 ELSE 0 END,
    level = CASE WHEN breached_at IS NOT NULL THEN 1 ELSE 0 END
"""
_CLOCKS_BACK = """
UPDATE sla_clock k SET
    warn_percent = 80,
    warn_at = CASE WHEN due_at IS NOT NULL THEN stage_at[1] END,
    next_at = CASE WHEN breached_at IS NULL THEN next_at END
"""
# A calendar's definitions are kept from the moment of the edit, by whatever way it is edited.
_KEEP = """
CREATE FUNCTION keep_calendar_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO calendar_version(calendar_id, version, since, name, time_zone, weekly, exceptions, holidays)
    VALUES (NEW.id, NEW.version, clock_timestamp(), NEW.name, NEW.time_zone, NEW.weekly, NEW.exceptions, NEW.holidays);
    PERFORM pg_notify('roundtrip', 'calendar');
    RETURN NEW;
END $$
"""
_TRIGGERS = (
    "CREATE TRIGGER calendar_made AFTER INSERT ON calendar FOR EACH ROW EXECUTE FUNCTION keep_calendar_version()",
    "CREATE TRIGGER calendar_edited AFTER UPDATE ON calendar FOR EACH ROW WHEN (NEW.version <> OLD.version) "
    "EXECUTE FUNCTION keep_calendar_version()",
)
_KNOWN_CALENDARS = """
INSERT INTO calendar_version(calendar_id, version, since, name, time_zone, weekly, exceptions, holidays)
SELECT id, version, created_at, name, time_zone, weekly, exceptions, holidays FROM calendar
"""
_OLD_METRICS = "metric IN ('first_response', 'resolution')"
_METRICS = "metric IN ('first_response', 'resolution', 'next_response', 'periodic_update', 'follow_up', 'analysis', 'handling')"


def upgrade() -> None:
    _upgrade_policies()
    _upgrade_clocks()
    op.add_column("conversation", sa.Column("limits", postgresql.ARRAY(sa.Uuid()), nullable=True))
    op.add_column("conversation", sa.Column("warranty", sa.Text(), nullable=True))
    _create_calendar_version()
    _create_pauses_and_actions()
    _create_attainment()
    _create_job()


def _upgrade_policies() -> None:
    for target in _TARGETS:
        op.add_column("sla_policy", sa.Column(target, sa.Integer(), nullable=True))
    op.add_column("sla_policy", sa.Column("calendar_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_sla_policy_calendar_id"), "sla_policy", "calendar", ["calendar_id"], ["id"])
    op.add_column("sla_policy", sa.Column("pauses", postgresql.ARRAY(sa.Text()), nullable=True))
    for name in ("warnings", "escalations"):
        op.add_column("sla_policy", sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.execute(_POLICIES)
    for name in ("pauses", "warnings", "escalations"):
        op.alter_column("sla_policy", name, nullable=False)
    op.drop_constraint(op.f("ck_sla_policy_warn_percent"), "sla_policy", type_="check")
    op.drop_column("sla_policy", "warn_percent")


def _upgrade_clocks() -> None:
    for name in ("turn", "stage", "breach_stage", "level"):
        op.add_column("sla_clock", sa.Column(name, sa.Integer(), nullable=True))
    op.add_column("sla_clock", sa.Column("calendar_id", sa.Uuid(), nullable=True))
    op.add_column("sla_clock", sa.Column("calendar_version", sa.Integer(), nullable=True))
    op.create_foreign_key(op.f("fk_sla_clock_calendar_id"), "sla_clock", "calendar", ["calendar_id"], ["id"])
    op.add_column("sla_clock", sa.Column("stage_at", postgresql.ARRAY(sa.DateTime(timezone=True)), nullable=True))
    op.add_column("sla_clock", sa.Column("retargeted_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(_CLOCKS)
    for name in ("turn", "stage", "breach_stage", "level", "stage_at"):
        op.alter_column("sla_clock", name, nullable=False)
    op.drop_column("sla_clock", "warn_percent")
    op.drop_column("sla_clock", "warn_at")
    op.drop_constraint(op.f("ck_sla_clock_metric"), "sla_clock", type_="check")
    op.create_check_constraint(op.f("ck_sla_clock_metric"), "sla_clock", _METRICS)
    op.drop_index("uq_sla_clock_conversation_metric_cycle", table_name="sla_clock")
    op.create_index(
        "uq_sla_clock_conversation_metric_cycle_turn",
        "sla_clock",
        ["conversation_id", "metric", "cycle", "turn"],
        unique=True,
    )
    op.create_index(
        "uq_sla_clock_next_response",
        "sla_clock",
        ["conversation_id"],
        unique=True,
        postgresql_where="metric = 'next_response' AND state = 'running'",
    )
    op.create_index(
        "ix_sla_clock_calendar",
        "sla_clock",
        ["calendar_id", "calendar_version"],
        postgresql_where="state = 'running' AND calendar_id IS NOT NULL",
    )


def _create_calendar_version() -> None:
    op.create_table(
        "calendar_version",
        sa.Column("calendar_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("weekly", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("exceptions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("holidays", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(
            ["calendar_id"], ["calendar.id"], name=op.f("fk_calendar_version_calendar_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("calendar_id", "version", name=op.f("pk_calendar_version")),
    )
    op.execute(_KNOWN_CALENDARS)
    op.execute(_KEEP)
    for trigger in _TRIGGERS:
        op.execute(trigger)


def _create_pauses_and_actions() -> None:
    op.create_table(
        "sla_pause",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("clock_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["clock_id"], ["sla_clock.id"], name=op.f("fk_sla_pause_clock_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_pause")),
    )
    op.create_index(op.f("ix_sla_pause_clock_id"), "sla_pause", ["clock_id"], unique=False)
    op.create_table(
        "sla_action",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("clock_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("action", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('pending', 'done', 'skipped', 'dead')", name=op.f("ck_sla_action_state")),
        sa.ForeignKeyConstraint(
            ["clock_id"], ["sla_clock.id"], name=op.f("fk_sla_action_clock_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_sla_action_conversation_id")),
        sa.ForeignKeyConstraint(["policy_id"], ["sla_policy.id"], name=op.f("fk_sla_action_policy_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_action")),
    )
    op.create_index(
        "uq_sla_action_clock_policy_stage",
        "sla_action",
        ["clock_id", "policy_id", "stage", "position"],
        unique=True,
    )
    op.create_index("ix_sla_action_due", "sla_action", ["due_at", "id"], postgresql_where="state = 'pending'")
    op.create_index(op.f("ix_sla_action_conversation_id"), "sla_action", ["conversation_id"], unique=False)


def _facts() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("queue_id", sa.Uuid(), nullable=True),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
    )


def _create_attainment() -> None:
    op.create_table(
        "sla_attainment_delta",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        *_facts(),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("met", "breached", "late")),
        sa.Column("elapsed_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_attainment_delta")),
    )
    op.create_table(
        "sla_attainment",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_facts(),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("met", "breached", "late", "elapsed_us")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_attainment")),
    )
    op.create_index(
        "uq_sla_attainment",
        "sla_attainment",
        ["day", "policy_id", "metric", "channel_id", "queue_id", "agent_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )


def _create_job() -> None:
    op.create_table(
        "sla_job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at_identity", sa.Uuid(), nullable=True),
        sa.Column("at_channel", sa.Uuid(), nullable=True),
        sa.Column("walked", sa.Boolean(), nullable=False),
        sa.Column("left_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_sla_job_state")),
        sa.CheckConstraint("seen >= 0", name=op.f("ck_sla_job_seen_not_negative")),
        sa.ForeignKeyConstraint(["policy_id"], ["sla_policy.id"], name=op.f("fk_sla_job_policy_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_job")),
    )
    op.create_index(op.f("ix_sla_job_policy_id"), "sla_job", ["policy_id"], unique=False)
    op.create_index("ix_sla_job_running", "sla_job", ["id"], postgresql_where="state = 'running'")


def downgrade() -> None:
    for table in ("sla_job", "sla_attainment", "sla_attainment_delta", "sla_action", "sla_pause"):
        op.drop_table(table)
    op.execute("DROP TRIGGER calendar_made ON calendar")
    op.execute("DROP TRIGGER calendar_edited ON calendar")
    op.execute("DROP FUNCTION keep_calendar_version")
    op.drop_table("calendar_version")
    op.drop_column("conversation", "limits")
    op.drop_column("conversation", "warranty")
    _downgrade_clocks()
    op.add_column("sla_policy", sa.Column("warn_percent", sa.Integer(), nullable=True))
    op.execute("UPDATE sla_policy SET warn_percent = coalesce((warnings->0->>'percent')::int, 80)")
    op.alter_column("sla_policy", "warn_percent", nullable=False)
    op.create_check_constraint(op.f("ck_sla_policy_warn_percent"), "sla_policy", "warn_percent BETWEEN 1 AND 99")
    op.drop_constraint(op.f("fk_sla_policy_calendar_id"), "sla_policy", type_="foreignkey")
    for name in ("escalations", "warnings", "pauses", "calendar_id", *_TARGETS):
        op.drop_column("sla_policy", name)


def _downgrade_clocks() -> None:
    """What only the newer version knows goes; an 80 % warning is what is left of stages."""
    op.execute("DELETE FROM sla_clock WHERE metric NOT IN ('first_response', 'resolution') OR turn > 0")
    op.add_column("sla_clock", sa.Column("warn_percent", sa.Integer(), nullable=True))
    op.add_column("sla_clock", sa.Column("warn_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(_CLOCKS_BACK)
    op.alter_column("sla_clock", "warn_percent", nullable=False)
    op.drop_index("ix_sla_clock_calendar", table_name="sla_clock")
    op.drop_index("uq_sla_clock_next_response", table_name="sla_clock")
    op.drop_index("uq_sla_clock_conversation_metric_cycle_turn", table_name="sla_clock")
    op.create_index(
        "uq_sla_clock_conversation_metric_cycle", "sla_clock", ["conversation_id", "metric", "cycle"], unique=True
    )
    op.drop_constraint(op.f("ck_sla_clock_metric"), "sla_clock", type_="check")
    op.create_check_constraint(op.f("ck_sla_clock_metric"), "sla_clock", _OLD_METRICS)
    op.drop_constraint(op.f("fk_sla_clock_calendar_id"), "sla_clock", type_="foreignkey")
    for name in (
        "retargeted_at", "stage_at", "calendar_version", "calendar_id", "level", "breach_stage", "stage", "turn",
    ):  # fmt: skip
        op.drop_column("sla_clock", name)
