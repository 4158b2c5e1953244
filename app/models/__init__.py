"""Tables and words; no behaviour."""

from sqlmodel import SQLModel

from app.models.base import NAMING

SQLModel.metadata.naming_convention = NAMING

from app.models.calls import Call  # noqa: E402  (the naming comes first)
from app.models.complaints import Complaint, ComplaintCause, ComplaintStep, CorrectiveAction  # noqa: E402
from app.models.contacts import Contact, ContactIdentity, ProfileLookup, Visitor  # noqa: E402  (the naming comes first)
from app.models.conversations import AgentRead, Attachment, Conversation, MediaFetch, Message, Participant  # noqa: E402
from app.models.events import Event  # noqa: E402
from app.models.feedback import ClosingPolicy, ResolutionCycle, SurveyResponse  # noqa: E402
from app.models.forms import Consent, FormCount, FormSeen  # noqa: E402
from app.models.journal import ChannelCursor, InboundJournal  # noqa: E402
from app.models.mail import AutomaticMail  # noqa: E402
from app.models.mailboxes import CallToken, Mailbox, ParkedMail  # noqa: E402
from app.models.outbound import (  # noqa: E402
    ChannelState,
    ContactRefusal,
    DeliveryAttempt,
    EarlyChange,
    MessageTemplate,
    OrphanStatus,
    Outbox,
)
from app.models.outcomes import Outcome, OutcomeDelta  # noqa: E402
from app.models.people import Agent, AgentSession, ApiToken  # noqa: E402
from app.models.progress import Announcement, AnnouncementCursor, AnnouncementPolicy, AnnouncementText  # noqa: E402
from app.models.receipts import ReceiptTemplate  # noqa: E402
from app.models.recovery import FollowUp, RecoveryTask  # noqa: E402
from app.models.routing import (  # noqa: E402
    Assignment,
    Classification,
    Offer,
    QueueCount,
    QueueDelta,
    QueueEntry,
    RoutingDecision,
)
from app.models.setup import (  # noqa: E402
    Boost,
    Calendar,
    CannedReply,
    CategorySetting,
    Channel,
    ClassificationRule,
    GradedResponse,
    Queue,
    QueueMember,
    QueueTeam,
    SlaPolicy,
    Team,
    TeamMember,
)
from app.models.sla import (  # noqa: E402
    CalendarVersion,
    SlaAction,
    SlaAttainment,
    SlaAttainmentDelta,
    SlaClock,
    SlaJob,
    SlaPause,
)
from app.models.system import IdempotencyKey, Instance  # noqa: E402
from app.models.webhooks import (  # noqa: E402
    WebhookBreaker,
    WebhookCursor,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookLane,
)

metadata = SQLModel.metadata

__all__ = [
    "Agent",
    "AgentRead",
    "AgentSession",
    "Announcement",
    "AnnouncementCursor",
    "AnnouncementPolicy",
    "AnnouncementText",
    "ApiToken",
    "Assignment",
    "Attachment",
    "AutomaticMail",
    "Boost",
    "Calendar",
    "CalendarVersion",
    "Call",
    "CallToken",
    "CannedReply",
    "CategorySetting",
    "Channel",
    "ChannelCursor",
    "ChannelState",
    "Classification",
    "ClassificationRule",
    "ClosingPolicy",
    "Complaint",
    "ComplaintCause",
    "ComplaintStep",
    "Consent",
    "Contact",
    "ContactIdentity",
    "ContactRefusal",
    "Conversation",
    "CorrectiveAction",
    "DeliveryAttempt",
    "EarlyChange",
    "Event",
    "FollowUp",
    "FormCount",
    "FormSeen",
    "GradedResponse",
    "IdempotencyKey",
    "InboundJournal",
    "Instance",
    "Mailbox",
    "MediaFetch",
    "Message",
    "MessageTemplate",
    "Offer",
    "OrphanStatus",
    "Outbox",
    "Outcome",
    "OutcomeDelta",
    "ParkedMail",
    "Participant",
    "ProfileLookup",
    "Queue",
    "QueueCount",
    "QueueDelta",
    "QueueEntry",
    "QueueMember",
    "QueueTeam",
    "ReceiptTemplate",
    "RecoveryTask",
    "ResolutionCycle",
    "RoutingDecision",
    "SlaAction",
    "SlaAttainment",
    "SlaAttainmentDelta",
    "SlaClock",
    "SlaJob",
    "SlaPause",
    "SlaPolicy",
    "SurveyResponse",
    "Team",
    "TeamMember",
    "Visitor",
    "WebhookBreaker",
    "WebhookCursor",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookLane",
    "metadata",
]  # fmt: skip
