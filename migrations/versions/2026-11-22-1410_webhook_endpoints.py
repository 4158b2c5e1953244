"""Outgoing webhooks of partners."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def _moment(name: str, *, now: bool = False) -> sa.Column:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=not now)


def _endpoint(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["endpoint_id"], ["webhook_endpoint.id"], name=op.f(f"fk_{table}_endpoint_id"), ondelete="CASCADE"
    )


def upgrade() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("channel_ids", postgresql.ARRAY(postgresql.UUID(as_uuid=True)), nullable=False),
        sa.Column("queue_ids", postgresql.ARRAY(postgresql.UUID(as_uuid=True)), nullable=False),
        sa.Column("include_notes", sa.Boolean(), nullable=False),
        sa.Column("max_in_flight", sa.Integer(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=False),
        _moment("old_secret_until"),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("off_reason", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        _moment("created_at", now=True),
        _moment("updated_at", now=True),
        sa.CheckConstraint("max_in_flight > 0", name=op.f("ck_webhook_endpoint_max_in_flight_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_table(
        "webhook_cursor",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("pos", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        _endpoint("webhook_cursor"),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_webhook_cursor")),
    )
    op.create_table(
        "webhook_breaker",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("probes", sa.Integer(), nullable=False),
        _moment("failing_since"),
        _moment("not_before"),
        sa.Column("last_error", sa.Text(), nullable=True),
        _moment("last_error_at"),
        _endpoint("webhook_breaker"),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_webhook_breaker")),
    )
    op.create_table(
        "webhook_lane",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("lane_id", sa.Uuid(), nullable=False),
        _moment("due_at", now=True),
        _moment("lease_until"),
        sa.Column("turn", sa.Integer(), nullable=False),
        _endpoint("webhook_lane"),
        sa.PrimaryKeyConstraint("endpoint_id", "lane_id", name=op.f("pk_webhook_lane")),
    )
    op.create_index("ix_webhook_lane_due", "webhook_lane", ["endpoint_id", "due_at", "lane_id"])
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("lane_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        _moment("queued_at", now=True),
        _moment("done_at"),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'dead')", name=op.f("ck_webhook_delivery_state")),
        _endpoint("webhook_delivery"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
    )
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "ix_webhook_delivery_lane",
        "webhook_delivery",
        ["endpoint_id", "lane_id", "event_id"],
        postgresql_where=waiting,
    )
    op.create_index("ix_webhook_delivery_listed", "webhook_delivery", ["endpoint_id", "state", "event_id", "id"])
    op.create_index("ix_webhook_delivery_old", "webhook_delivery", ["queued_at"], postgresql_where=waiting)
    op.create_index(
        "ix_webhook_delivery_done",
        "webhook_delivery",
        ["state", "done_at"],
        postgresql_where=sa.text("state <> 'waiting'"),
    )


def downgrade() -> None:
    for table in ("webhook_delivery", "webhook_lane", "webhook_breaker", "webhook_cursor", "webhook_endpoint"):
        op.drop_table(table)
