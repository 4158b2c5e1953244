"""Our own words for receipts, over the shipped ones."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import SQLModel

from app.models.base import Id, Json, Now, Word, one_of
from app.models.words import ReceiptKind


class ReceiptTemplate(SQLModel, table=True):
    """What a receipt or its reminder says in a language, on one channel type or (None) on all.

    `subject` and `text` have placeholders in braces (feedback/receipt_words.py). `yes` and `no` are what the buttons say.
    `provider_template` is what goes instead where the channel takes nothing else now (feedback/receipt_approved.py).
    """

    __tablename__ = "receipt_template"
    __table_args__ = (
        one_of("kind", ReceiptKind),
        Index(
            "uq_receipt_template_place",
            "language",
            "channel_type",
            "kind",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )
    id: UUID = Id()
    language: str = Word()
    channel_type: str | None = Word(default=None)
    kind: str = Word(default=ReceiptKind.RECEIPT)
    subject: str | None = Word(default=None)
    text: str = Word()
    yes: str | None = Word(default=None)
    no: str | None = Word(default=None)
    provider_template: dict[str, Any] | None = Json()
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()
