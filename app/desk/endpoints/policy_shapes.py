"""What `/sla-policies` takes and gives."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import AfterValidator, Field, HttpUrl, computed_field, model_validator

from app.channels.registry import ADAPTERS
from app.desk.endpoints.shared import Body, Code, Moment, Name, Shape, Small, Words, not_null
from app.errors import Invalid
from app.models.words import ConversationStatus, JobState
from app.sla.default_policies import URGENT_TO_SUPERVISORS

Fact = Literal["channel_type", "category", "matter", "severity", "tier", "queue", "warranty"]


def _of_known_channels(match: dict[str, list[str]]) -> dict[str, list[str]]:
    """Raises Invalid for a type of channel that there is not: what is only for it would never be used."""
    for place, given in enumerate(match.get("channel_type", ())):
        if given not in ADAPTERS:
            raise Invalid("there is no such channel type", field=f"match.channel_type.{place}")
    return match


Match = Annotated[
    dict[Fact, Annotated[list[Name], Field(min_length=1, max_length=100)]], AfterValidator(_of_known_channels)
]
Target = Annotated[int, Field(ge=1, le=31_536_000, description="seconds")]
Percent = Annotated[int, Field(ge=1, le=99)]
Pause = Literal[ConversationStatus.WAITING_ON_CUSTOMER, ConversationStatus.ON_HOLD, ConversationStatus.SNOOZED]
Pauses = Annotated[list[Pause], Field(max_length=3)]


Condition = dict[Literal["channel_type", "category", "matter", "severity", "warranty"], Words]


class _Action(Body):
    when: Condition | None = Field(default=None, alias="if", description="facts that have to hold")


class Notify(_Action):
    """An owner's, supervisors' or administrators' attention."""

    notify: Literal["owner", "supervisor", "manager"]


class Raise(_Action):
    priority: Annotated[int, Field(ge=0, le=9)]


class Requeue(_Action):
    """Supervisors are asked to take it."""

    requeue: Literal[True]


class AddTeam(_Action):
    add_team: UUID


class CallWebhook(_Action):
    webhook: HttpUrl


Actions = Annotated[list[Notify | Raise | Requeue | AddTeam | CallWebhook], Field(max_length=20)]


class Warned(Body):
    """Before the limit: at a percentage of it, or so many seconds before its end."""

    percent: Percent | None = None
    before_s: Target | None = None
    do: Actions = Field(default_factory=list)

    @model_validator(mode="after")
    def _one(self) -> Warned:
        if (self.percent is None) == (self.before_s is None):
            raise Invalid("a warning has either a percentage or seconds before the end", field="warnings")
        return self


class Escalation(Body):
    """After the limit, in its own hours; after 0 s: the breach itself. Levels count from there."""

    after_s: Annotated[int, Field(ge=0, le=31_536_000)]
    level: Annotated[int, Field(ge=1, le=20)] | None = None
    do: Actions = Field(default_factory=list)


class _Terms(Body):
    """What an operator says about time limits; None leaves a limit to the next policy that matches."""

    first_response_s: Target | None = None
    resolution_s: Target | None = None
    next_response_s: Target | None = None
    periodic_update_s: Target | None = None
    follow_up_s: Target | None = None
    analysis_s: Target | None = None
    handling_s: Target | None = None
    calendar_id: UUID | None = None
    warn_percent: Percent | None = Field(default=None, description="short for one warning")

    def columns(self) -> dict[str, Any]:
        """Those of the row that were given."""
        found = {
            name: value
            for name, value in self.model_dump(
                mode="json", by_alias=True, exclude_unset=True, exclude_none=False
            ).items()
            if name != "warn_percent"
        }
        if self.warn_percent is not None:
            if "warnings" in self.model_fields_set:
                raise Invalid("give warnings, or the short form, not both", field="warn_percent")
            found["warnings"] = [{"percent": self.warn_percent}]
        if "calendar_id" in found:
            found["calendar_id"] = self.calendar_id
        for name in ("warnings", "escalations"):
            if found.get(name) is not None:
                found[name] = [_bare(item) for item in found[name]]
        if found.get("escalations") is not None:
            found["escalations"] = _levels(found["escalations"])
        return found


class NewPolicy(_Terms):
    """`match` maps facts of a conversation to the accepted words; all must hold, the first match by position wins."""

    code: Code
    name: Name
    position: Small = 100
    match: Match = Field(default_factory=dict)
    pauses: Pauses = Field(default_factory=lambda: list(get_args(Pause)))
    warnings: Annotated[list[Warned], Field(max_length=10)] = Field(default_factory=lambda: [Warned(percent=80)])
    escalations: Annotated[list[Escalation], Field(max_length=10)] | None = Field(
        default=None, description="left out: an urgent matter that misses a limit is offered to supervisors at once"
    )

    def columns(self) -> dict[str, Any]:
        defaults = {
            "position": self.position,
            "match": self.match,
            "pauses": [word.value for word in self.pauses],
            "warnings": [_bare(item.model_dump(mode="json", by_alias=True)) for item in self.warnings],
            "escalations": [dict(URGENT_TO_SUPERVISORS)],
        }
        given = super().columns()
        return {
            **defaults,
            **{name: value for name, value in given.items() if value is not None or name != "escalations"},
        }


class PolicyChange(_Terms):
    name: Name | None = None
    position: Small | None = None
    match: Match | None = None
    pauses: Pauses | None = None
    warnings: Annotated[list[Warned], Field(max_length=10)] | None = None
    escalations: Annotated[list[Escalation], Field(max_length=10)] | None = None

    _not_null = model_validator(mode="after")(
        not_null("name", "position", "match", "warn_percent", "pauses", "warnings", "escalations")
    )


class PolicyShape(Shape):
    """`retired_at`: since when another version, or none, is in force. `warn_percent`: the first warning, if it is one."""

    id: UUID
    code: str
    version: int
    name: str
    position: int
    match: dict[str, Any]
    first_response_s: int | None
    resolution_s: int | None
    next_response_s: int | None
    periodic_update_s: int | None
    follow_up_s: int | None
    analysis_s: int | None
    handling_s: int | None
    calendar_id: UUID | None
    pauses: list[str]
    warnings: list[dict[str, Any]]
    escalations: list[dict[str, Any]]
    retired_at: Moment | None
    created_at: Moment

    @computed_field  # type: ignore[prop-decorator]
    @property
    def warn_percent(self) -> int | None:
        return next((item["percent"] for item in self.warnings if "percent" in item), None)


class Against(Shape):
    """A fact that is not among the accepted words."""

    fact: str
    value: str | None
    accepted: list[str] | str


class PolicyMatch(Shape):
    code: str
    version: int
    matches: bool
    against: list[Against]


class Application(Body):
    to: Literal["open"]


class JobShape(Shape):
    """How far it has come: conversations looked at, and those whose limits changed."""

    id: UUID
    policy_id: UUID
    state: JobState
    seen: int
    changed: int
    created_at: Moment
    finished_at: Moment | None


def _bare(item: dict[str, Any]) -> dict[str, Any]:
    """Without what was not said."""
    kept = {name: value for name, value in item.items() if value is not None and name != "do"}
    do = [{name: value for name, value in action.items() if value is not None} for action in item.get("do") or []]
    return {**kept, **({"do": do} if do else {})}


def _levels(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In order, each a level of its own: the breach is the first. Raises Invalid."""
    ordered = sorted(given, key=lambda item: item["after_s"])
    if len({item["after_s"] for item in ordered}) < len(ordered):
        raise Invalid("two escalations at the same time: put their actions together", field="escalations")
    first = 1 if ordered and ordered[0]["after_s"] == 0 else 2
    for level, item in enumerate(ordered, first):
        if item.setdefault("level", level) != level:
            raise Invalid(f"the escalation after {item['after_s']} s has the level {level}", field="escalations")
    return ordered
