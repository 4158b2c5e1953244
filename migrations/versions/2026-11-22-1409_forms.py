"""Forms, walk-ins and profiles."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_JOURNAL = ["received", "stored", "duplicate", "ignored", "failed", "replayed"]


def _journal_states(words: list[str]) -> None:
    listed = ", ".join(f"'{word}'" for word in words)
    op.drop_constraint(op.f("ck_inbound_journal_status"), "inbound_journal", type_="check")
    op.create_check_constraint(op.f("ck_inbound_journal_status"), "inbound_journal", f"status IN ({listed})")


def _answers_elsewhere() -> None:
    op.add_column("conversation", sa.Column("reply_channel_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_conversation_reply_channel_id"),
        "conversation",
        "channel",
        ["reply_channel_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.add_column("outbox", sa.Column("identity_id", sa.Uuid(), nullable=True))


def _consents() -> None:
    op.create_table(
        "consent",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=True),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("given_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_consent_contact_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channel.id"], name=op.f("fk_consent_channel_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["message.id"], name=op.f("fk_consent_message_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
    )
    op.create_index(op.f("ix_consent_contact_id"), "consent", ["contact_id"])


def _marks() -> None:
    for table, key, value in (
        ("form_seen", "digest", sa.Column("key", sa.Text(), nullable=False)),
        ("form_count", "source", sa.Column("hits", sa.Integer(), nullable=False)),
    ):
        op.create_table(
            table,
            sa.Column("channel_id", sa.Uuid(), nullable=False),
            sa.Column(key, sa.Text(), nullable=False),
            value,
            sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
            sa.ForeignKeyConstraint(
                ["channel_id"], ["channel.id"], name=op.f(f"fk_{table}_channel_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("channel_id", key, name=op.f(f"pk_{table}")),
        )
        op.create_index(f"ix_{table}_since", table, ["since"])


def _profiles() -> None:
    op.create_table(
        "profile_lookup",
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["contact_identity.id"],
            name=op.f("fk_profile_lookup_identity_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channel.id"], name=op.f("fk_profile_lookup_channel_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("identity_id", name=op.f("pk_profile_lookup")),
    )
    op.create_index(
        "ix_profile_lookup_due",
        "profile_lookup",
        ["channel_id", "due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )


def upgrade() -> None:
    _journal_states([*_JOURNAL, "trapped"])
    _answers_elsewhere()
    _consents()
    _marks()
    _profiles()


def downgrade() -> None:
    op.drop_table("profile_lookup")
    op.drop_table("form_count")
    op.drop_table("form_seen")
    op.drop_table("consent")
    op.drop_column("outbox", "identity_id")
    op.drop_column("conversation", "reply_channel_id")
    op.execute("UPDATE inbound_journal SET status = 'ignored' WHERE status = 'trapped'")
    _journal_states(_JOURNAL)
