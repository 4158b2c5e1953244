"""The register of complaints: records, how far they got, causes, corrective actions."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_PROGRESS = "progress IN ('registered', 'analysed', 'handled', 'replied', 'improved', 'closed')"


def upgrade() -> None:
    op.execute("CREATE SEQUENCE complaint_number")
    op.create_table(
        "complaint",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("what", sa.Text(), nullable=True),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("demands", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("anonymous", sa.Boolean(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(_PROGRESS, name=op.f("ck_complaint_progress")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_complaint_conversation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_complaint")),
    )
    op.create_index("uq_complaint_number", "complaint", ["number"], unique=True)
    op.create_index("ix_complaint_registered", "complaint", ["registered_at"])
    op.create_table(
        "complaint_step",
        sa.Column("complaint_id", sa.Uuid(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(_PROGRESS, name=op.f("ck_complaint_step_progress")),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agent.id"], name=op.f("fk_complaint_step_agent_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["complaint_id"],
            ["complaint.conversation_id"],
            name=op.f("fk_complaint_step_complaint_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("complaint_id", "progress", name=op.f("pk_complaint_step")),
    )
    op.create_table(
        "complaint_cause",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("complaint_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("root", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["complaint_id"],
            ["complaint.conversation_id"],
            name=op.f("fk_complaint_cause_complaint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["complaint_cause.id"], name=op.f("fk_complaint_cause_parent_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_complaint_cause")),
    )
    op.create_index("ix_complaint_cause_complaint_id", "complaint_cause", ["complaint_id"])
    op.create_table(
        "corrective_action",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("complaint_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('not_started', 'in_progress', 'done', 'cancelled')", name=op.f("ck_corrective_action_status")
        ),
        sa.CheckConstraint("(status = 'done') = (done_at IS NOT NULL)", name=op.f("ck_corrective_action_done")),
        sa.ForeignKeyConstraint(
            ["complaint_id"],
            ["complaint.conversation_id"],
            name=op.f("fk_corrective_action_complaint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["agent.id"], name=op.f("fk_corrective_action_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrective_action")),
    )
    op.create_index("ix_corrective_action_complaint_id", "corrective_action", ["complaint_id"])
    op.create_index("ix_corrective_action_owner_id", "corrective_action", ["owner_id"])
    op.create_index(
        "ix_corrective_action_untold",
        "corrective_action",
        ["due_on"],
        postgresql_where=sa.text("told_at IS NULL AND status NOT IN ('done', 'cancelled')"),
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS register_opened ON conversation")
    op.execute("DROP TRIGGER IF EXISTS register_classified ON conversation")
    op.execute("DELETE FROM instance WHERE name = 'sql:complaints/register.sql'")
    for table in ("corrective_action", "complaint_cause", "complaint_step", "complaint"):
        op.drop_table(table)
    op.execute("DROP SEQUENCE complaint_number")
