"""What the installation knows of itself."""

from datetime import datetime

from sqlmodel import SQLModel

from app.models.base import Now, Word


class Instance(SQLModel, table=True):
    """Small facts by name: the vault key's fingerprint, which functions are installed."""

    name: str = Word(primary_key=True)
    value: str = Word()
    updated_at: datetime = Now()


class IdempotencyKey(SQLModel, table=True):
    """The answer that was given to a key, sealed by the vault (answers may hold a token)."""

    __tablename__ = "idempotency_key"
    principal: str = Word(primary_key=True)
    key: str = Word(primary_key=True)
    fingerprint: str = Word()
    status: int | None = None
    answer: str | None = Word(default=None)
    created_at: datetime = Now()
