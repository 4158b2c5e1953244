"""The words of our language that the database stores; docs/glossary.md explains them."""

from enum import StrEnum


class Role(StrEnum):
    AGENT = "agent"
    SUPERVISOR = "supervisor"
    ADMIN = "admin"


SENIORS = frozenset({Role.SUPERVISOR, Role.ADMIN})
"""Those who see everything, and are asked first about what is escalated."""


class Availability(StrEnum):
    """What the agent intends; whether a socket is there is presence."""

    ONLINE = "online"
    BUSY = "busy"
    AWAY = "away"
    OFFLINE = "offline"


class Category(StrEnum):
    ROUTINE = "routine"
    URGENT = "urgent"
    COMPLEX = "complex"


class Matter(StrEnum):
    ENQUIRY = "enquiry"
    SERVICE_REQUEST = "service_request"
    COMPLAINT = "complaint"
    FEEDBACK = "feedback"


class Severity(StrEnum):
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class ComplaintType(StrEnum):
    SERVICE_QUALITY = "service_quality"
    ATTITUDE = "attitude"
    PROCESS = "process"
    PRODUCT = "product"
    OTHER = "other"


class ComplaintProgress(StrEnum):
    """How far a complaint got; in this order, and never back."""

    REGISTERED = "registered"
    ANALYSED = "analysed"
    HANDLED = "handled"
    REPLIED = "replied"
    IMPROVED = "improved"
    CLOSED = "closed"


class CorrectiveStatus(StrEnum):
    """Of a corrective action. That one is overdue follows from its day."""

    NOT_STARTED = "not_started"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    CANCELLED = "cancelled"


class RecoveryCause(StrEnum):
    """Why something is to be made good."""

    LOW_SCORE = "low_score"
    REJECTION = "rejection"
    BY_HAND = "by_hand"


class RecoveryState(StrEnum):
    """Of a recovery task: `done` by us, then confirmed by the customer, or it failed."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Remedy(StrEnum):
    APOLOGY = "apology"
    COMPENSATION = "compensation"
    FURTHER_WORK = "further_work"


class FollowUpKind(StrEnum):
    CALL = "call"
    MESSAGE = "message"
    VISIT = "visit"


class FollowUpState(StrEnum):
    """That one is due or missed follows from its time."""

    PLANNED = "planned"
    DONE = "done"
    CANCELLED = "cancelled"


class FollowUpOutcome(StrEnum):
    """What a return contact brought; `rescheduled` makes the next one."""

    REACHED = "reached"
    NOT_REACHED = "not_reached"
    SOLVED = "solved"
    NOT_SOLVED = "not_solved"
    RESCHEDULED = "rescheduled"


class ConversationStatus(StrEnum):
    OPEN = "open"
    WAITING_ON_CUSTOMER = "waiting_on_customer"
    ON_HOLD = "on_hold"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"
    CLOSED = "closed"


PAUSES = (ConversationStatus.WAITING_ON_CUSTOMER, ConversationStatus.ON_HOLD, ConversationStatus.SNOOZED)
"""The states in which a policy may let its clocks stand still."""


class Direction(StrEnum):
    """Which way a message goes; a note goes nowhere."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    NOTE = "note"


class MessageKind(StrEnum):
    MESSAGE = "message"
    REPLY = "reply"
    NOTE = "note"
    RECEIPT = "receipt"
    CALL = "call"
    NOTICE = "notice"


class AuthorType(StrEnum):
    CONTACT = "contact"
    AGENT = "agent"
    SYSTEM = "system"


class DeliveryStatus(StrEnum):
    """Of an outbound message; it only moves forward (delivery/states.py has the ranks)."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    UNKNOWN = "unknown"


class AccountState(StrEnum):
    """Of a channel at its provider; `ok` with a row counts failures in a row."""

    OK = "ok"
    LIMITED = "limited"
    REAUTH = "reauth"
    BROKEN = "broken"


class TemplateStatus(StrEnum):
    APPROVED = "approved"
    PENDING = "pending"
    REJECTED = "rejected"
    PAUSED = "paused"


class RefusalReason(StrEnum):
    """Why somebody is not to be written to; the same words as in app/channels/outbound.py."""

    OPT_OUT = "opt_out"
    BLOCKED = "blocked"
    COMPLAINED = "complained"
    UNREACHABLE = "unreachable"


class JournalStatus(StrEnum):
    RECEIVED = "received"
    STORED = "stored"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    FAILED = "failed"
    REPLAYED = "replayed"
    TRAPPED = "trapped"


class EntryState(StrEnum):
    WAITING = "waiting"
    OFFERED = "offered"


class OfferStatus(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    RESCINDED = "rescinded"


class ClockMetric(StrEnum):
    """Their order is that of `conversation.limits`: new ones come last."""

    FIRST_RESPONSE = "first_response"
    RESOLUTION = "resolution"
    NEXT_RESPONSE = "next_response"
    PERIODIC_UPDATE = "periodic_update"
    FOLLOW_UP = "follow_up"
    ANALYSIS = "analysis"
    HANDLING = "handling"


class ClockState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    MET = "met"
    CANCELLED = "cancelled"


class ActionState(StrEnum):
    """Of what a clock's stage asks for: `skipped` when it did not apply any more, `dead` when it cannot be done."""

    PENDING = "pending"
    DONE = "done"
    SKIPPED = "skipped"
    DEAD = "dead"


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"


class CycleState(StrEnum):
    """Of a resolution: waiting for the customer's word, or settled. `unasked`: closed in the end although no receipt reached
    them."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    UNASKED = "unasked"


class ReceiptKind(StrEnum):
    """What a text of ours asks: the receipt, or once more where nobody answered it."""

    RECEIPT = "receipt"
    REMINDER = "reminder"


class EventScope(StrEnum):
    """Who may see an event live."""

    CONVERSATION = "conversation"
    AGENTS = "agents"
    EVERYONE = "everyone"
    AUDIT = "audit"


class QueueAssignment(StrEnum):
    """Whether an agent is asked, or simply gets it."""

    OFFER = "offer"
    DIRECT = "direct"


class WhenClosed(StrEnum):
    """What becomes of conversations while the queue's calendar is closed."""

    WAIT = "wait"
    OVERFLOW = "overflow"


class BoostFact(StrEnum):
    """What gives a conversation a head start, besides its category."""

    MATTER = "matter"
    SEVERITY = "severity"
    CHANNEL_TYPE = "channel_type"
    TIER = "tier"
    RISK = "risk"
    REPEAT = "repeat"


class ParticipantRole(StrEnum):
    """Of an agent who is in a conversation besides its assignee: helping, listening, or writing to the customer too."""

    COLLABORATOR = "collaborator"
    MONITOR = "monitor"
    JOINED = "joined"


class DecisionKind(StrEnum):
    """What routing did with a conversation that waits."""

    OFFER = "offer"
    RING = "ring"
    OVERFLOW = "overflow"
    ESCALATED = "escalated"
    ROUND = "round"
    UNTARGETED = "untargeted"


class TokenKind(StrEnum):
    ADMIN = "admin"
    AGENT = "agent"
    API = "api"
