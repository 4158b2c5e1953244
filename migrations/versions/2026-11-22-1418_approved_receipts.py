"""Receipts may go by a text that the provider has approved."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("receipt_template", sa.Column("provider_template", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("receipt_template", "provider_template")
