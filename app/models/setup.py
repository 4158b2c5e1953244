"""What an operator sets up: channels, queues, weights, rules, policies, canned replies."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index
from sqlalchemy import Text as TEXT
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Texts, Word, one_of
from app.models.words import PAUSES, BoostFact, Category, QueueAssignment, WhenClosed


class Calendar(SQLModel, table=True):
    """Opening hours. `weekly` maps days (`mon` ... `sun`) to intervals of local time; `exceptions` maps dates to theirs.

    `holidays` names a country and region whose public holidays are closed (and whose shifted working days are open).
    """

    id: UUID = Id()
    name: str = Word()
    time_zone: str = Word(default="UTC")
    weekly: dict[str, Any] = Json({})
    exceptions: dict[str, Any] = Json({})
    holidays: dict[str, Any] | None = Json()
    active: bool = True
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class Queue(SQLModel, table=True):
    """`category` is the one it takes (none: any). Exactly one queue is the default, where everything else lands.

    `rings` widen who is asked: [{"after_s", "drop_skills", "max_level"}], counted from entering the queue. After
    `overflow_after_s` (or while closed, when it says so) a conversation moves on to `overflow_queue_id`; after
    `max_wait_s` it is escalated. Who had the contact within `sticky_window_s` is asked first, for `sticky_wait_s` alone.
    """

    __table_args__ = (
        one_of("category", Category, nullable=True),
        one_of("assignment", QueueAssignment),
        one_of("when_closed", WhenClosed),
        CheckConstraint("overflow_after_s > 0", name="overflow_after_positive"),
        CheckConstraint("max_wait_s > 0", name="max_wait_positive"),
        CheckConstraint("sticky_window_s >= 0", name="sticky_window_not_negative"),
        CheckConstraint("sticky_wait_s >= 0", name="sticky_wait_not_negative"),
        CheckConstraint("overflow_queue_id <> id", name="overflow_elsewhere"),
        Index("uq_queue_default", "is_default", unique=True, postgresql_where="is_default"),
        CheckConstraint("offer_timeout_s > 0", name="offer_timeout_positive"),
    )
    id: UUID = Id()
    name: str = Word()
    category: str | None = Word(default=None)
    skills: list[str] = Texts()
    offer_timeout_s: float | None = None
    assignment: str = Word(default=QueueAssignment.OFFER)
    rings: list[dict[str, Any]] = Json([])
    calendar_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("calendar.id")])
    when_closed: str = Word(default=WhenClosed.WAIT)
    overflow_queue_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("queue.id")])
    overflow_after_s: float | None = None
    max_wait_s: float | None = None
    sticky_window_s: float = 86_400
    sticky_wait_s: float = 0
    is_default: bool = False
    active: bool = True
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class QueueMember(SQLModel, table=True):
    """An agent in a queue, level 1 asked before level 2. Read it through the view `queue_agent`, which adds the teams."""

    __tablename__ = "queue_member"
    __table_args__ = (CheckConstraint("level BETWEEN 1 AND 9", name="level"),)
    queue_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("queue.id", ondelete="CASCADE")])
    agent_id: UUID = Field(primary_key=True, index=True, sa_column_args=[ForeignKey("agent.id", ondelete="CASCADE")])
    level: int = 1


class Team(SQLModel, table=True):
    id: UUID = Id()
    name: str = Word(unique=True)
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class TeamMember(SQLModel, table=True):
    __tablename__ = "team_member"
    team_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("team.id", ondelete="CASCADE")])
    agent_id: UUID = Field(primary_key=True, index=True, sa_column_args=[ForeignKey("agent.id", ondelete="CASCADE")])


class QueueTeam(SQLModel, table=True):
    """A team serves a queue: its agents are members at this level."""

    __tablename__ = "queue_team"
    __table_args__ = (CheckConstraint("level BETWEEN 1 AND 9", name="level"),)
    queue_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("queue.id", ondelete="CASCADE")])
    team_id: UUID = Field(primary_key=True, index=True, sa_column_args=[ForeignKey("team.id", ondelete="CASCADE")])
    level: int = 1


class Boost(SQLModel, table=True):
    """A head start of `boost_s` seconds for conversations of which `fact` is `value`; all that hold are added up.

    `tier` and `attributes.risk` are the contact's. `repeat` holds when the contact came with another matter within as
    many days as `value` says.
    """

    __table_args__ = (one_of("fact", BoostFact), Index("uq_boost_fact_value", "fact", "value", unique=True))
    id: UUID = Id()
    fact: str = Word()
    value: str = Word()
    boost_s: float
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class GradedResponse(SQLModel, table=True):
    """Who is asked first about a conversation that matches: supervisors (`escalate`), agents with one of `specialists`.

    `match` maps category, matter, severity, complaint_type to the accepted words; all must hold. First match by position wins.
    """

    __tablename__ = "graded_response"
    id: UUID = Id()
    code: str = Word(unique=True)
    name: str = Word()
    position: int = 100
    match: dict[str, Any] = Json({})
    escalate: bool = False
    specialists: list[str] = Texts()
    active: bool = True
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class Channel(SQLModel, table=True):
    """One configured account of a channel type. `config` is public, `secrets` is sealed by the vault.

    `limits` are the operator's own figures where they differ from what its type can do (channels/capable.py).
    """

    id: UUID = Id()
    type: str = Word(index=True)
    name: str = Word()
    queue_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("queue.id", ondelete="SET NULL")])
    config: dict[str, Any] = Json({})
    secrets: str = Word()
    limits: dict[str, Any] | None = Json()
    active: bool = True
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class CategorySetting(SQLModel, table=True):
    """What a category costs of an agent's capacity, and how many seconds of head start it has in its queue."""

    __tablename__ = "category_setting"
    __table_args__ = (one_of("category", Category), CheckConstraint("weight > 0", name="weight_positive"))
    category: str = Word(primary_key=True)
    weight: int
    boost_s: float = 0
    version: int = 1


class ClassificationRule(SQLModel, table=True):
    """When any pattern matches, `scores` are added; routing/classify.py says how they decide."""

    __tablename__ = "classification_rule"
    id: UUID = Id()
    code: str = Word(unique=True)
    name: str = Word()
    position: int = 100
    patterns: list[str] = Texts()
    scores: dict[str, Any] = Json({})
    active: bool = True
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class SlaPolicy(SQLModel, table=True):
    """A version of a policy is never changed: an edit makes the next version and retires this one.

    `match` maps facts of a conversation to the accepted words; all must hold. First match by position wins.
    Targets are seconds of its calendar (none: 24x7); None means that another policy may set it. `pauses` are the states
    in which its clocks stand still. `warnings`: [{"percent"} | {"before_s"}], `escalations`: [{"after_s", "level"}],
    both with the actions to `do`; an escalation after 0 s is the breach itself.
    """

    __tablename__ = "sla_policy"
    __table_args__ = (
        Index("uq_sla_policy_code_version", "code", "version", unique=True),
        Index("uq_sla_policy_current", "code", unique=True, postgresql_where="retired_at IS NULL"),
    )
    id: UUID = Id()
    code: str = Word()
    version: int = 1
    name: str = Word()
    position: int = 100
    match: dict[str, Any] = Json({})
    first_response_s: int | None = None
    resolution_s: int | None = None
    next_response_s: int | None = None
    periodic_update_s: int | None = None
    follow_up_s: int | None = None
    analysis_s: int | None = None
    handling_s: int | None = None
    calendar_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("calendar.id")])
    pauses: list[str] = Field(
        default_factory=lambda: [word.value for word in PAUSES], sa_type=ARRAY(TEXT), nullable=False
    )
    warnings: list[dict[str, Any]] = Field(default_factory=lambda: [{"percent": 80}], sa_type=JSONB, nullable=False)
    escalations: list[dict[str, Any]] = Json([])
    retired_at: datetime | None = Moment(default=None)
    created_at: datetime = Now()


class CannedReply(SQLModel, table=True):
    __tablename__ = "canned_reply"
    id: UUID = Id()
    shortcut: str = Word(unique=True)
    language: str = Word(default="en")
    text: str = Word()
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()
