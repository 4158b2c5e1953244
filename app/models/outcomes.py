"""What became of resolutions, by the day they were made: figures for reports."""

from datetime import date
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id


def _Figure() -> int:
    figure: int = Field(default=0, sa_type=BigInteger)
    return figure


class _Figures(SQLModel):
    """Of the resolutions of one day (UTC), channel, queue and agent who resolved; feedback/outcomes.py says what counts."""

    day: date
    channel_id: UUID
    queue_id: UUID | None = None
    agent_id: UUID | None = None
    resolved: int = _Figure()
    matters: int = _Figure()
    complaints: int = _Figure()
    confirmed: int = _Figure()
    by_silence: int = _Figure()
    rejected: int = _Figure()
    reopened: int = _Figure()
    first_contact: int = _Figure()
    csat_count: int = _Figure()
    csat_sum: int = _Figure()
    csat_good: int = _Figure()
    nps_count: int = _Figure()
    promoters: int = _Figure()
    detractors: int = _Figure()
    recoveries: int = _Figure()
    recovered: int = _Figure()
    unasked: int = _Figure()


class OutcomeDelta(_Figures, table=True):
    """What one step of one cycle adds; inserted in the transaction of that step, folded by a loop."""

    __tablename__ = "outcome_delta"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])


class Outcome(_Figures, table=True):
    """The same, added up."""

    __table_args__ = (
        Index(
            "uq_outcome", "day", "channel_id", "queue_id", "agent_id", unique=True, postgresql_nulls_not_distinct=True
        ),
    )
    id: UUID = Id()
