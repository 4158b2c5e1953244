"""What became of resolutions: figures by the day they were made, kept by differences."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_FIGURES = (
    "resolved", "matters", "complaints", "confirmed", "by_silence", "rejected", "reopened", "first_contact",
    "csat_count", "csat_sum", "csat_good", "nps_count", "promoters", "detractors", "recoveries", "recovered",
)  # fmt: skip
# What there is already, as if it had been counted when it happened (feedback/outcomes.py).
_COUNT = """
    INSERT INTO outcome_delta(day, channel_id, queue_id, agent_id, resolved, matters, complaints, confirmed, by_silence,
                              rejected, reopened, first_contact, csat_count, csat_sum, csat_good, nps_count, promoters,
                              detractors, recoveries, recovered)
    SELECT (r.created_at AT TIME ZONE 'UTC')::date, r.channel_id, r.queue_id, r.resolved_by, count(*),
           count(*) FILTER (WHERE r.number = 1), count(*) FILTER (WHERE r.number = 1 AND c.matter = 'complaint'),
           count(*) FILTER (WHERE r.state = 'confirmed'), 0, count(*) FILTER (WHERE r.state = 'rejected'),
           count(*) FILTER (WHERE c.cycle > r.number),
           count(*) FILTER (WHERE r.number = 1 AND r.state = 'confirmed' AND c.cycle = 1),
           count(s.csat), coalesce(sum(s.csat), 0), count(*) FILTER (WHERE s.csat >= 4),
           count(s.nps), count(*) FILTER (WHERE s.nps >= 9), count(*) FILTER (WHERE s.nps <= 6), 0, 0
    FROM resolution_cycle r JOIN conversation c ON c.id = r.conversation_id
    LEFT JOIN survey_response s ON s.cycle_id = r.id
    GROUP BY 1, 2, 3, 4
"""


def upgrade() -> None:
    op.add_column("resolution_cycle", sa.Column("channel_id", sa.Uuid(), nullable=True))
    op.add_column("resolution_cycle", sa.Column("queue_id", sa.Uuid(), nullable=True))
    op.execute(
        "UPDATE resolution_cycle r SET channel_id = c.channel_id, queue_id = c.queue_id "
        "FROM conversation c WHERE c.id = r.conversation_id"
    )
    op.alter_column("resolution_cycle", "channel_id", nullable=False)
    op.create_table(
        "outcome_delta",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        *_figures(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outcome_delta")),
    )
    op.create_table(
        "outcome",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_figures(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outcome")),
    )
    op.create_index(
        "uq_outcome",
        "outcome",
        ["day", "channel_id", "queue_id", "agent_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.execute(_COUNT)


def _figures() -> list[sa.Column[Any]]:
    return [
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("queue_id", sa.Uuid(), nullable=True),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _FIGURES),
    ]


def downgrade() -> None:
    op.drop_table("outcome")
    op.drop_table("outcome_delta")
    op.drop_column("resolution_cycle", "queue_id")
    op.drop_column("resolution_cycle", "channel_id")
