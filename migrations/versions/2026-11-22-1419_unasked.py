"""What is closed by time although no receipt reached the customer is a state and a figure of its own."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_STATES = ("pending", "confirmed", "rejected", "superseded")


def upgrade() -> None:
    _accept((*_STATES, "unasked"))
    for table in ("outcome", "outcome_delta"):
        op.add_column(table, sa.Column("unasked", sa.BigInteger(), server_default="0", nullable=False))
        op.alter_column(table, "unasked", server_default=None)


def downgrade() -> None:
    for table in ("outcome_delta", "outcome"):
        op.drop_column(table, "unasked")
    op.execute("UPDATE resolution_cycle SET state = 'confirmed' WHERE state = 'unasked'")
    _accept(_STATES)


def _accept(states: Sequence[str]) -> None:
    op.drop_constraint(op.f("ck_resolution_cycle_state"), "resolution_cycle", type_="check")
    listed = ", ".join(f"'{state}'" for state in states)
    op.create_check_constraint(op.f("ck_resolution_cycle_state"), "resolution_cycle", f"state IN ({listed})")
