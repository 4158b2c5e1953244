"""What may be sent, to whom and when."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def upgrade() -> None:
    op.add_column("channel", sa.Column("limits", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    # The default is for the rows that are there; tables have none.
    op.add_column("outbox", sa.Column("waived", sa.Integer(), nullable=False, server_default="0"))
    op.alter_column("outbox", "waived", server_default=None)
    op.add_column("message", sa.Column("error_code", sa.Text(), nullable=True))
    op.create_table(
        "channel_state",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("half_open", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('ok', 'limited', 'reauth', 'broken')", name=op.f("ck_channel_state_state")),
        _of_channel("channel_state"),
        sa.PrimaryKeyConstraint("channel_id", name=op.f("pk_channel_state")),
    )
    op.create_table(
        "message_template",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.CheckConstraint(
            "status IN ('approved', 'pending', 'rejected', 'paused')", name=op.f("ck_message_template_status")
        ),
        _of_channel("message_template"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_template")),
    )
    op.create_index("uq_message_template_name", "message_template", ["channel_id", "name", "language"], unique=True)
    op.create_table(
        "contact_refusal",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.CheckConstraint(
            "reason IN ('opt_out', 'blocked', 'complained', 'unreachable')", name=op.f("ck_contact_refusal_reason")
        ),
        _of_channel("contact_refusal"),
        sa.PrimaryKeyConstraint("channel_id", "kind", "value", "reason", name=op.f("pk_contact_refusal")),
    )
    op.create_table(
        "orphan_status",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("provider_message_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        _of_channel("orphan_status"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orphan_status")),
    )
    named = ["channel_id", "provider_message_id", "status"]
    op.create_index("uq_orphan_status", "orphan_status", named, unique=True)
    op.create_index("ix_orphan_status_created", "orphan_status", ["created_at"])


def _of_channel(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_channel_id")
    return sa.ForeignKeyConstraint(["channel_id"], ["channel.id"], name=name, ondelete="CASCADE")


def downgrade() -> None:
    for table in ("orphan_status", "contact_refusal", "message_template", "channel_state"):
        op.drop_table(table)
    op.drop_column("message", "error_code")
    op.drop_column("outbox", "waived")
    op.drop_column("channel", "limits")
