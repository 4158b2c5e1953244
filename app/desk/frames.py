"""What the desk's socket says, typed: answers, events and what is never stored; docs/protocol.md is generated from here."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, TypeAdapter

from app.desk.capability_shapes import ChannelNews, DeskChannel, RefusedShape
from app.desk.frame_shapes import (
    Agent,
    Change,
    Clock,
    ClockedConversation,
    ComplaintRecord,
    Corrective,
    Cycle,
    Mentioner,
    Offered,
    OwnConversation,
    ParticipantShape,
    PresentAgent,
    QueueCounts,
    Recovery,
    ReturnContact,
    ToldEndpoint,
    TransferShape,
    Writer,
)
from app.events import frames
from app.events.frames import Conversation, Count, Event, Person, Place, ServerFrame
from app.models.words import Availability, Role


class Welcome(ServerFrame):
    """The answer to hello: who you are, your open offers, conversations and queues, the channels with what each can
    carry, and where the stream goes on.

    Supervisors are shown every queue.
    """

    type: Literal["welcome"]
    re: frames.CommandId | None
    agent: Agent
    session_id: str
    heartbeat_s: float
    cursor: frames.Cursor
    offers: list[Offered]
    conversations: list[OwnConversation]
    queues: list[QueueCounts]
    channels: list[DeskChannel]


class Ok(ServerFrame):
    """The command `re` was done and committed; its results are beside. What `offer.accept` answers has the conversation
    with its `capabilities`: what can go out now, and `answers`: by which channel."""

    model_config = ConfigDict(extra="allow")
    type: Literal["ok"]
    re: frames.CommandId | None
    availability: Availability | None = None
    offer_id: UUID | None = None
    conversation_id: UUID | None = None
    conversation: dict[str, Any] | None = None
    message_id: UUID | None = None
    client_message_id: str | None = None
    seq: Place | None = None
    status: str | None = None


class OfferCreated(Event, Offered):
    """You are asked to take a conversation, until `expires_at`."""

    type: Literal["offer.created"]


class OfferAccepted(Event):
    """Accepted by this agent, perhaps on another socket."""

    type: Literal["offer.accepted"]
    offer_id: UUID
    agent_id: UUID


class OfferEnded(Event):
    """Nobody answered in time (expired), or it was withdrawn (rejected, transferred, closed, agent lost)."""

    type: Literal["offer.expired", "offer.rescinded"]
    offer_id: UUID
    reason: str | None


class ConversationCreated(Event):
    """A first message opened it."""

    type: Literal["conversation.created"]
    conversation: Conversation


class ConversationUpdated(Event):
    """`changed` names the fields that did: status, queue, classification (with `source`, `reason` and the rules that
    `fired`), a transfer, participants, files of `message_id` that were fetched, or `refusals`: whether the customer is
    not to be written to on its channel."""

    type: Literal["conversation.updated"]
    conversation: Conversation
    changed: list[str]
    source: str | None = None
    reason: str | None = None
    fired: list[dict[str, Any]] | None = None
    transfer: TransferShape | None = None
    escalated: dict[str, Any] | None = None
    participants: list[ParticipantShape] | None = None
    message_id: UUID | None = None
    attachments: list[frames.File] | None = None
    refusals: list[RefusedShape] | None = None


class ConversationAssigned(Event):
    """Who has it now, and how: offer, direct, transfer, pick_up, reopen, supervisor."""

    type: Literal["conversation.assigned"]
    conversation: Conversation
    assignee: Person
    how: str


class ConversationResolved(Event):
    """The receipt of this cycle is on its way to the customer."""

    type: Literal["conversation.resolved"]
    conversation: Conversation
    cycle: int


class ConversationClosed(Event):
    """Confirmed by the customer; `via` says where. `timeout`: since nothing was heard; that is no confirmation where they were
    never `asked`, since no receipt reached them."""

    type: Literal["conversation.closed"]
    conversation: Conversation
    cycle: int
    via: str
    asked: bool = True


class ConversationReopened(Event):
    """The customer said that it is not solved, or wrote again; or an agent took it up."""

    type: Literal["conversation.reopened"]
    conversation: Conversation
    reason: str


class AgentJoined(Event):
    """A supervisor speaks in it too; the customer is told their name."""

    type: Literal["agent.joined"]
    agent: Person


class AgentMentioned(Event):
    """A note names you: your help is asked for, and you see the conversation from now on."""

    type: Literal["agent.mentioned"]
    conversation: Conversation
    message: frames.Message
    by: Mentioner


class FeedbackReceived(Event):
    """What the customer answered. Anonymous answers carry no ratings. `outcome` is what they said of the result just now, null
    when they only rated."""

    type: Literal["feedback.received"]
    cycle: Cycle
    outcome: Literal["confirmed", "rejected"] | None = None
    ratings: dict[str, int | None]
    comment: str | None
    anonymous: bool


class SlaFired(Event):
    """A deadline is near (warned), was missed (breached) at the time it was due, or still is (escalated, by level)."""

    type: Literal["sla.warned", "sla.breached", "sla.escalated"]
    clock: Clock
    conversation: ClockedConversation


class SlaNotified(Event):
    """Your attention is asked for, as owner, supervisor or manager, because a clock came to this stage."""

    type: Literal["sla.notified"]
    clock: Clock
    conversation: ClockedConversation
    stage: Literal["warned", "breached", "escalated"]
    notify: Literal["owner", "supervisor", "manager"]


class ComplaintUpdated(Event):
    """The record of a complaint was changed (`changed` names what), or it got further."""

    type: Literal["complaint.updated"]
    complaint: ComplaintRecord
    changed: list[str]


class CorrectiveActionTold(Event):
    """Somebody is to do something so that it does not happen again (told to whoever sees the conversation, and to its
    owner); or its day is over and it is not done (told to its owner and the supervisors)."""

    type: Literal["corrective_action.planned", "corrective_action.updated", "corrective_action.overdue"]
    action: Corrective


class RecoveryTold(Event):
    """For supervisors and administrators: something is to be made good (opened), got further or was changed (updated;
    `changed` names what), or its time is over (overdue). No rating is told: it may be an anonymous one."""

    type: Literal["recovery.opened", "recovery.updated", "recovery.overdue"]
    task: Recovery
    changed: list[str]


class FollowUpTold(Event):
    """A return contact was planned or changed (`changed` names what); it is yours and due now; or it was missed, which
    supervisors are told too."""

    type: Literal["follow_up.planned", "follow_up.updated", "follow_up.due", "follow_up.missed"]
    follow_up: ReturnContact
    changed: list[str]


class WebhookEndpointUpdated(ServerFrame):
    """An endpoint of another system does not answer any more (down), was switched off, or answers again (ok); told to
    supervisors and administrators."""

    type: Literal["webhook_endpoint.updated"]
    cursor: frames.Cursor
    endpoint: ToldEndpoint


class TypingShown(ServerFrame):
    """Somebody writes, or stopped."""

    type: Literal["typing"]
    conversation_id: UUID
    on: bool
    author: Writer


class PresenceUpdated(ServerFrame):
    """A colleague of your queues came, went, or intends something else."""

    type: Literal["presence.updated"]
    agent: PresentAgent


class QueueCounted(ServerFrame):
    """How many wait in a queue now, and by how much that changed since the frame before; a few times a second at most."""

    type: Literal["queue.counts"]
    queue_id: UUID
    waiting: Count
    offered: Count
    change: Change


class QueuesChanged(ServerFrame):
    """You serve other queues, or have another role, than before: this replaces what the welcome said."""

    type: Literal["queues.changed"]
    role: Role
    queues: list[QueueCounts]


class ChannelUpdated(ServerFrame):
    """For supervisors: an account is limited, refused or does not answer, or is well again."""

    type: Literal["channel.updated"]
    channel: ChannelNews


class ConversationRead(ServerFrame):
    """You have read up to `seq`, on another socket."""

    type: Literal["conversation.read"]
    conversation_id: UUID
    seq: Place


ANSWERS: tuple[type[ServerFrame], ...] = (Welcome, Ok, frames.Error, frames.Pong)
EVENTS: tuple[type[ServerFrame], ...] = (
    OfferCreated,
    OfferAccepted,
    OfferEnded,
    ConversationCreated,
    ConversationUpdated,
    ConversationAssigned,
    ConversationResolved,
    ConversationClosed,
    ConversationReopened,
    AgentJoined,
    AgentMentioned,
    frames.MessageCreated,
    frames.MessageStatus,
    frames.MessageUpdated,
    frames.FeedbackRequested,
    FeedbackReceived,
    SlaFired,
    SlaNotified,
    WebhookEndpointUpdated,
    ComplaintUpdated,
    CorrectiveActionTold,
    RecoveryTold,
    FollowUpTold,
)
EPHEMERAL: tuple[type[ServerFrame], ...] = (
    TypingShown,
    PresenceUpdated,
    QueueCounted,
    QueuesChanged,
    ChannelUpdated,
    ConversationRead,
    frames.ResyncRequired,
    frames.Draining,
)
FRAMES: TypeAdapter[Any] = frames.adapter(*ANSWERS, *EVENTS, *EPHEMERAL)
