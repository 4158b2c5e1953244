"""Tables and words; no behaviour."""

from sqlmodel import SQLModel

from app.models.base import NAMING

SQLModel.metadata.naming_convention = NAMING

from app.models.contacts import Contact, ContactIdentity, Visitor  # noqa: E402  (the naming comes first)
from app.models.conversations import Attachment, Conversation, MediaFetch, Message  # noqa: E402
from app.models.events import Event  # noqa: E402
from app.models.feedback import ResolutionCycle, SurveyResponse  # noqa: E402
from app.models.journal import InboundJournal  # noqa: E402
from app.models.outbound import DeliveryAttempt, Outbox  # noqa: E402
from app.models.people import Agent, AgentSession, ApiToken  # noqa: E402
from app.models.routing import Assignment, Classification, Offer, QueueEntry, RoutingDecision  # noqa: E402
from app.models.setup import (  # noqa: E402
    CannedReply,
    CategorySetting,
    Channel,
    ClassificationRule,
    Queue,
    QueueMember,
    SlaPolicy,
)
from app.models.sla import SlaClock  # noqa: E402
from app.models.system import IdempotencyKey, Instance  # noqa: E402

metadata = SQLModel.metadata

__all__ = [
    "Agent", "AgentSession", "ApiToken", "Assignment", "Attachment", "CannedReply", "CategorySetting", "Channel",
    "Classification", "ClassificationRule", "Contact", "ContactIdentity", "Conversation", "DeliveryAttempt", "Event",
    "IdempotencyKey", "InboundJournal", "Instance", "MediaFetch", "Message", "Offer", "Outbox", "Queue", "QueueEntry", "QueueMember",
    "ResolutionCycle", "RoutingDecision", "SlaClock", "SlaPolicy", "SurveyResponse", "Visitor", "metadata",
]  # fmt: skip
