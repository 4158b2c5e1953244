"""Receipts: our own words for them, and by which channels they go where the customer's own carries none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_ORDER = ("email", "sms", "whatsapp", "telegram", "line", "wecom", "wechat", "messenger", "instagram", "viber", "slack")


def upgrade() -> None:
    op.create_table(
        "receipt_template",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("channel_type", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("yes", sa.Text(), nullable=True),
        sa.Column("no", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('receipt', 'reminder')", name=op.f("ck_receipt_template_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt_template")),
    )
    op.create_index(
        "uq_receipt_template_place",
        "receipt_template",
        ["language", "channel_type", "kind"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    order = "'{" + ",".join(_ORDER) + "}'"
    op.add_column(
        "closing_policy",
        sa.Column("receipt_channels", postgresql.ARRAY(sa.Text()), nullable=False, server_default=sa.text(order)),
    )
    op.alter_column("closing_policy", "receipt_channels", server_default=None)
    op.add_column("resolution_cycle", sa.Column("reached_at", sa.Uuid(), nullable=True))
    op.add_column("resolution_cycle", sa.Column("unreached", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_resolution_cycle_reached_at"),
        "resolution_cycle",
        "contact_identity",
        ["reached_at"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_index(
        "ix_resolution_cycle_reached_at",
        "resolution_cycle",
        ["reached_at"],
        postgresql_where=sa.text("reached_at IS NOT NULL"),
    )
    op.create_index(
        "ix_resolution_cycle_unreached",
        "resolution_cycle",
        ["unreached"],
        postgresql_where=sa.text("unreached IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_resolution_cycle_unreached", table_name="resolution_cycle")
    op.drop_index("ix_resolution_cycle_reached_at", table_name="resolution_cycle")
    op.drop_constraint(op.f("fk_resolution_cycle_reached_at"), "resolution_cycle", type_="foreignkey")
    op.drop_column("resolution_cycle", "unreached")
    op.drop_column("resolution_cycle", "reached_at")
    op.drop_column("closing_policy", "receipt_channels")
    op.drop_index("uq_receipt_template_place", table_name="receipt_template")
    op.drop_table("receipt_template")
