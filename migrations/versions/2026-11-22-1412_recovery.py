"""Making good: recovery tasks, follow-ups, and what closing policies say of them."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_POLICY = {
    "low_csat": sa.Integer(),
    "low_nps": sa.Integer(),
    "recovery_due_s": sa.Float(),
    "follow_up_grace_s": sa.Float(),
}


def _moment(name: str, *, now: bool = False, nullable: bool = True) -> sa.Column:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable and not now)


def _refers(table: str, column: str, to: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}"), ondelete=ondelete)


def upgrade() -> None:
    for name, kind in _POLICY.items():
        op.add_column("closing_policy", sa.Column(name, kind, nullable=True))
    op.execute("UPDATE closing_policy SET low_csat = 2, low_nps = 6, recovery_due_s = 86400, follow_up_grace_s = 3600")
    for name in ("recovery_due_s", "follow_up_grace_s"):
        op.alter_column("closing_policy", name, nullable=False)
    op.create_check_constraint(op.f("ck_closing_policy_low_csat"), "closing_policy", "low_csat BETWEEN 1 AND 5")
    op.create_check_constraint(op.f("ck_closing_policy_low_nps"), "closing_policy", "low_nps BETWEEN 0 AND 10")
    op.create_check_constraint(op.f("ck_closing_policy_recovery_due_positive"), "closing_policy", "recovery_due_s > 0")
    op.create_check_constraint(
        op.f("ck_closing_policy_follow_up_grace_not_negative"), "closing_policy", "follow_up_grace_s >= 0"
    )
    _create_tasks()
    _create_follow_ups()


def _create_tasks() -> None:
    op.create_table(
        "recovery_task",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("cycle_id", sa.Uuid(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        _moment("due_at", nullable=False),
        sa.Column("remedy", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(15, 3), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        _moment("told_at"),
        _moment("done_at"),
        _moment("asked_at"),
        _moment("decided_at"),
        sa.Column("decided_via", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        _moment("created_at", now=True),
        _moment("updated_at", now=True),
        sa.CheckConstraint("cause IN ('low_score', 'rejection', 'by_hand')", name=op.f("ck_recovery_task_cause")),
        sa.CheckConstraint(
            "state IN ('open', 'in_progress', 'done', 'confirmed', 'failed', 'cancelled')",
            name=op.f("ck_recovery_task_state"),
        ),
        sa.CheckConstraint(
            "remedy IN ('apology', 'compensation', 'further_work') OR remedy IS NULL",
            name=op.f("ck_recovery_task_remedy"),
        ),
        sa.CheckConstraint("(amount IS NULL) = (currency IS NULL)", name=op.f("ck_recovery_task_amount_with_currency")),
        _refers("recovery_task", "conversation_id", "conversation", "CASCADE"),
        _refers("recovery_task", "cycle_id", "resolution_cycle", "CASCADE"),
        _refers("recovery_task", "assignee_id", "agent", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_task")),
    )
    op.create_index("ix_recovery_task_conversation_id", "recovery_task", ["conversation_id"])
    op.create_index("ix_recovery_task_assignee_id", "recovery_task", ["assignee_id"])
    op.create_index(
        "uq_recovery_task_cycle",
        "recovery_task",
        ["cycle_id"],
        unique=True,
        postgresql_where=sa.text("cause <> 'by_hand'"),
    )
    op.create_index(
        "ix_recovery_task_to_do",
        "recovery_task",
        ["due_at"],
        postgresql_where=sa.text("state IN ('open', 'in_progress') AND told_at IS NULL"),
    )


def _create_follow_ups() -> None:
    op.create_table(
        "follow_up",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        _moment("due_at", nullable=False),
        sa.Column("grace_s", sa.Float(), nullable=False),
        sa.Column("assignee_id", sa.Uuid(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("follows_id", sa.Uuid(), nullable=True),
        _moment("next_at"),
        _moment("due_told_at"),
        _moment("missed_at"),
        _moment("done_at"),
        sa.Column("version", sa.Integer(), nullable=False),
        _moment("created_at", now=True),
        _moment("updated_at", now=True),
        sa.CheckConstraint("kind IN ('call', 'message', 'visit')", name=op.f("ck_follow_up_kind")),
        sa.CheckConstraint("state IN ('planned', 'done', 'cancelled')", name=op.f("ck_follow_up_state")),
        sa.CheckConstraint(
            "outcome IN ('reached', 'not_reached', 'solved', 'not_solved', 'rescheduled') OR outcome IS NULL",
            name=op.f("ck_follow_up_outcome"),
        ),
        sa.CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name=op.f("ck_follow_up_outcome_when_done")),
        sa.CheckConstraint("grace_s >= 0", name=op.f("ck_follow_up_grace_not_negative")),
        _refers("follow_up", "conversation_id", "conversation", "CASCADE"),
        _refers("follow_up", "assignee_id", "agent"),
        _refers("follow_up", "follows_id", "follow_up", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_follow_up")),
    )
    op.create_index("ix_follow_up_conversation_id", "follow_up", ["conversation_id"])
    op.create_index("ix_follow_up_assignee_id", "follow_up", ["assignee_id"])
    op.create_index("ix_follow_up_next", "follow_up", ["next_at"], postgresql_where=sa.text("next_at IS NOT NULL"))


def downgrade() -> None:
    op.drop_table("follow_up")
    op.drop_table("recovery_task")
    for name in ("follow_up_grace_not_negative", "recovery_due_positive", "low_nps", "low_csat"):
        op.drop_constraint(op.f(f"ck_closing_policy_{name}"), "closing_policy", type_="check")
    for name in reversed(_POLICY):
        op.drop_column("closing_policy", name)
