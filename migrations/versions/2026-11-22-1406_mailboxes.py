"""Mailboxes that are read by IMAP, mails that were parked, and the words of signed calls that count once."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mailbox",
        _channel(),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("uid_validity", sa.BigInteger(), nullable=True),
        sa.Column("last_uid", sa.BigInteger(), nullable=False),
        _now("since"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        _now("state_at"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _now("due_at"),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["channel_id"], ["channel.id"], name=op.f("fk_mailbox_channel_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("channel_id", name=op.f("pk_mailbox")),
        sa.CheckConstraint(
            "state IN ('new', 'reading', 'watching', 'unreachable', 'refused')", name=op.f("ck_mailbox_state")
        ),
    )
    op.create_table(
        "parked_mail",
        sa.Column("id", sa.Uuid(), nullable=False),
        _channel(),
        sa.Column("uid_validity", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        _now("parked_at"),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channel.id"], name=op.f("fk_parked_mail_channel_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parked_mail")),
        sa.CheckConstraint("state IN ('parked', 'stored', 'discarded')", name=op.f("ck_parked_mail_state")),
    )
    op.create_index("uq_parked_mail_digest", "parked_mail", ["channel_id", "digest"], unique=True)
    op.create_table(
        "call_token",
        _channel(),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        _now("seen_at"),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channel.id"], name=op.f("fk_call_token_channel_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("channel_id", "token", name=op.f("pk_call_token")),
    )


def _channel() -> sa.Column[object]:
    return sa.Column("channel_id", sa.Uuid(), nullable=False)


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def downgrade() -> None:
    op.drop_table("call_token")
    op.drop_table("parked_mail")
    op.drop_table("mailbox")
