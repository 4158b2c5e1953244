"""How complaints look in answers and in the exported table."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from pydantic import Field

from app.complaints.causes import Cause
from app.desk.endpoints.shared import Body, Moment, Shape, Text
from app.models import Complaint, ComplaintStep, Contact, Conversation, CorrectiveAction
from app.models.words import ComplaintProgress, ComplaintType, CorrectiveStatus, Severity


class CauseShape(Body):
    """Why, and why that in turn. `root`: this is what has to be put right. Five whys are a chain of five."""

    text: Text
    root: bool = False
    because: list[CauseShape] = Field(default_factory=list)

    def value(self) -> Cause:
        return Cause(self.text, self.root, [below.value() for below in self.because])

    @classmethod
    def of(cls, cause: Cause) -> CauseShape:
        return cls(text=cause.text, root=cause.root, because=[cls.of(below) for below in cause.because])


class StepShape(Shape):
    """`agent_id` is null when a key did it."""

    progress: ComplaintProgress
    agent_id: UUID | None
    note: str | None
    created_at: Moment


class ActionShape(Shape):
    """`overdue`: its day is over (in UTC) and it is neither done nor cancelled."""

    id: UUID
    conversation_id: UUID
    text: str
    owner_id: UUID
    due_on: date
    status: CorrectiveStatus
    overdue: bool
    effect: str | None
    done_at: Moment | None
    version: int
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: CorrectiveAction, *, today: date) -> ActionShape:
        ended = row.status in (CorrectiveStatus.DONE, CorrectiveStatus.CANCELLED)
        own = {name: getattr(row, name) for name in cls.model_fields if name not in ("conversation_id", "overdue")}
        return cls(conversation_id=row.complaint_id, overdue=not ended and row.due_on < today, **own)


class Complainant(Shape):
    contact_id: UUID
    name: str | None
    email: str | None
    phone: str | None


class ComplaintShape(Shape):
    """A line of the register. `number` is shown as `C-<year>-<number>`; `complainant` is null for an anonymous one."""

    conversation_id: UUID
    number: str
    registered_at: Moment
    type: ComplaintType | None
    severity: Severity | None
    subject: str | None
    what: str | None
    product: str | None
    demands: str | None
    occurred_at: Moment | None
    anonymous: bool
    complainant: Complainant | None
    progress: ComplaintProgress
    result: str | None
    channel_type: str
    owner_id: UUID | None
    assignee_id: UUID | None
    version: int
    updated_at: Moment

    @classmethod
    def of(cls, complaint: Complaint, conversation: Conversation, contact: Contact) -> ComplaintShape:
        return cls.model_validate(fields_of(complaint, conversation, contact))


class ComplaintDetail(ComplaintShape):
    """With how it went, why it happened, and what is done about it."""

    steps: list[StepShape]
    causes: list[CauseShape]
    actions: list[ActionShape]


def number_of(complaint: Complaint) -> str:
    return f"C-{complaint.registered_at:%Y}-{complaint.number:06}"


def fields_of(complaint: Complaint, conversation: Conversation, contact: Contact) -> dict[str, Any]:
    """The one place that decides what an anonymous complaint keeps to itself."""
    kept = ("what", "product", "demands", "occurred_at", "anonymous", "progress", "result", "version", "updated_at")
    person = Complainant(contact_id=contact.id, name=contact.name, email=contact.email, phone=contact.phone)
    return {
        "conversation_id": complaint.conversation_id,
        "number": number_of(complaint),
        "registered_at": complaint.registered_at,
        "type": conversation.complaint_type,
        "severity": conversation.severity,
        "subject": conversation.subject,
        **{name: getattr(complaint, name) for name in kept},
        "complainant": None if complaint.anonymous else person,
        "channel_type": conversation.channel_type,
        "owner_id": conversation.owner_id,
        "assignee_id": conversation.assignee_id,
    }


def step_of(row: ComplaintStep) -> StepShape:
    return StepShape.model_validate(row)
