"""The frames of `/desk/live`, typed both ways; docs/protocol.md is generated from here."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from app.desk.endpoints import actions, by_hand, taking_part
from app.events import frames
from app.events.frames import Conversation, Count, Event, Person, Place, ServerFrame, Wire
from app.models.words import (
    Availability,
    Category,
    ClockMetric,
    ConversationStatus,
    CycleState,
    ParticipantRole,
    Role,
)

CommandId = Annotated[
    Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")] | int,
    Field(description="chosen by the client; the answer carries it as `re`"),
]


class Command(BaseModel):
    """A client frame. One that says `once` is not done twice: its answer is kept, and given again to the same frame with
    the same `id`, on whatever socket of the agent (see memory.py)."""

    model_config = ConfigDict(extra="forbid")
    once: ClassVar[bool] = False
    id: CommandId | None = None

    def is_remembered(self) -> bool:
        return self.once and self.id is not None


class Hello(Command):
    """The first frame. With a `cursor`, what was missed since then is replayed before anything new."""

    type: Literal["hello"]
    token: str
    cursor: str | None = None


class SetAvailability(Command):
    """What the agent intends; offers come while it is `online`."""

    type: Literal["availability.set"]
    availability: Literal["online", "busy", "away", "offline"]


class AcceptOffer(Command):
    """Take the conversation; `offer-expired` when it is too late."""

    type: Literal["offer.accept"]
    offer_id: UUID


class RejectOffer(Command):
    """Decline; the conversation goes on to another agent with its original age."""

    once = True
    type: Literal["offer.reject"]
    offer_id: UUID
    reason: Annotated[str, Field(max_length=1_000)] | None = None


class SendMessage(Command, actions.NewMessage):
    """A reply to the customer, or a note that stays inside. The same `client_message_id` twice is one message."""

    type: Literal["message.send"]
    conversation_id: UUID

    def is_remembered(self) -> bool:
        """The `client_message_id` does it where there is one, and for ever."""
        return self.id is not None and self.client_message_id is None


class Typing(Command):
    """Ephemeral: shown to the customer and to colleagues, never stored."""

    type: Literal["typing"]
    conversation_id: UUID
    on: bool = True


class ReadConversation(Command):
    """The agent has read up to `seq`."""

    type: Literal["conversation.read"]
    conversation_id: UUID
    seq: Annotated[int, Field(ge=0)]


class Transfer(Command, actions.Transfer):
    """To an agent or to a queue; the present assignee keeps it until somebody accepts."""

    once = True
    type: Literal["conversation.transfer"]
    conversation_id: UUID


class Classify(Command, actions.Correction):
    """Correct the classification; the rules leave it alone afterwards."""

    once = True
    type: Literal["conversation.classify"]
    conversation_id: UUID


class Resolve(Command, actions.Resolution):
    """Done from our side: the customer gets the feedback receipt in these three parts."""

    once = True
    type: Literal["conversation.resolve"]
    conversation_id: UUID


class PickUp(Command):
    """Take what waits in a queue of yours, without being asked."""

    once = True
    type: Literal["conversation.pick_up"]
    conversation_id: UUID


class Take(Command):
    """Take it over as a supervisor, whoever has it."""

    once = True
    type: Literal["conversation.take"]
    conversation_id: UUID


class Assign(Command, by_hand.AssignBody):
    """Give it to an agent at once, as a supervisor; a transfer asks them."""

    once = True
    type: Literal["conversation.assign"]
    conversation_id: UUID


class Monitor(Command):
    """Listen as a supervisor; the customer never learns."""

    type: Literal["conversation.monitor"]
    conversation_id: UUID


class Join(Command):
    """Speak beside the assignee as a supervisor; the customer is told your name."""

    type: Literal["conversation.join"]
    conversation_id: UUID


class Leave(Command):
    """Take no part any more."""

    type: Literal["conversation.leave"]
    conversation_id: UUID


class Whisper(Command, taking_part.Whisper):
    """A note that only the assignee and supervisors see. The same `client_message_id` twice is one message."""

    type: Literal["conversation.whisper"]
    conversation_id: UUID

    def is_remembered(self) -> bool:
        return self.id is not None and self.client_message_id is None


class AddCollaborator(Command, taking_part.NewCollaborator):
    """An agent, or everybody of a team, helps from now on: sees it and writes notes."""

    once = True
    type: Literal["collaborator.add"]
    conversation_id: UUID


class RemoveCollaborator(Command):
    """They see it no more, unless by their queues."""

    type: Literal["collaborator.remove"]
    conversation_id: UUID
    agent_id: UUID


class Ping(Command):
    """Answered by `pong`; at least one frame per heartbeat keeps the connection."""

    type: Literal["ping"]


DeskCommand = Annotated[
    Hello
    | SetAvailability
    | AcceptOffer
    | RejectOffer
    | SendMessage
    | Typing
    | ReadConversation
    | Transfer
    | Classify
    | Resolve
    | PickUp
    | Take
    | Assign
    | Monitor
    | Join
    | Leave
    | Whisper
    | AddCollaborator
    | RemoveCollaborator
    | Ping,
    Field(discriminator="type"),
]
COMMANDS: TypeAdapter[Any] = TypeAdapter(DeskCommand)


class Agent(Wire):
    """The agent whose socket this is; `load` counts in the units of `capacity`."""

    id: UUID
    name: str
    email: str
    role: Role
    availability: Availability
    capacity: Count
    load: Count
    queue_ids: list[UUID]


class QueueCounts(Wire):
    """How many wait in a queue, and how many of them are being offered to somebody."""

    id: UUID
    name: str
    waiting: Count
    offered: Count


class OwnConversation(Conversation):
    """`read_seq` is how far the agent has read."""

    read_seq: Place


class OfferedConversation(Conversation):
    """With what it takes to decide."""

    contact_name: str | None
    last_message: str | None


class Offered(Wire):
    """`note` is the word of whoever transferred it; `weight` is what it costs of the agent's capacity."""

    offer_id: UUID
    expires_at: AwareDatetime
    weight: int
    escalated: bool
    note: str | None
    conversation: OfferedConversation


class Welcome(ServerFrame):
    """The answer to hello: who you are, your open offers, conversations and queues, and where the stream goes on.

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


class Ok(ServerFrame):
    """The command `re` was done and committed; its results are beside."""

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


class TransferShape(Wire):
    """Where it is to go; `outcome` once it is known that the agent did not take it."""

    agent_id: UUID | None = None
    queue_id: UUID | None = None
    note: str | None = None
    outcome: str | None = None


class ParticipantShape(Wire):
    """Who takes part besides the assignee."""

    agent_id: UUID
    name: str
    role: ParticipantRole


class ConversationUpdated(Event):
    """`changed` names the fields that did: status, queue, classification (with `source`, `reason` and the rules that
    `fired`), a transfer, participants, or files of `message_id` that were fetched."""

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
    """Confirmed by the customer; `via` says where."""

    type: Literal["conversation.closed"]
    conversation: Conversation
    cycle: int
    via: str


class ConversationReopened(Event):
    """The customer said that it is not solved, or wrote again; or an agent took it up."""

    type: Literal["conversation.reopened"]
    conversation: Conversation
    reason: str


class AgentJoined(Event):
    """A supervisor speaks in it too; the customer is told their name."""

    type: Literal["agent.joined"]
    agent: Person


class Mentioner(Wire):
    id: UUID | None
    name: str | None


class AgentMentioned(Event):
    """A note names you: your help is asked for, and you see the conversation from now on."""

    type: Literal["agent.mentioned"]
    conversation: Conversation
    message: frames.Message
    by: Mentioner


class Cycle(Wire):
    id: UUID
    number: int
    state: CycleState


class FeedbackReceived(Event):
    """What the customer answered. Anonymous answers carry no ratings."""

    type: Literal["feedback.received"]
    cycle: Cycle
    ratings: dict[str, int | None]
    comment: str | None
    anonymous: bool


class Clock(Wire):
    """`level` counts breach and escalations from 1. `retargeted`: its deadline had passed when it was given this limit."""

    metric: ClockMetric
    target_s: float
    due_at: AwareDatetime
    cycle: int
    policy: str
    level: int
    retargeted: bool


class ClockedConversation(Wire):
    id: UUID
    status: ConversationStatus
    category: Category
    queue_id: UUID | None
    assignee_id: UUID | None
    owner_id: UUID | None


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


class Writer(Wire):
    """`id` is an agent's; the customer has none here."""

    type: Literal["agent", "contact"]
    id: UUID | None = None
    name: str | None


class TypingShown(ServerFrame):
    """Somebody writes, or stopped."""

    type: Literal["typing"]
    conversation_id: UUID
    on: bool
    author: Writer


class PresentAgent(Wire):
    """`present`: a socket of theirs is open. `availability` is what they intend."""

    id: UUID
    name: str
    availability: Availability
    present: bool


class PresenceUpdated(ServerFrame):
    """A colleague of your queues came, went, or intends something else."""

    type: Literal["presence.updated"]
    agent: PresentAgent


class Change(Wire):
    waiting: int
    offered: int


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
)
EPHEMERAL: tuple[type[ServerFrame], ...] = (
    TypingShown,
    PresenceUpdated,
    QueueCounted,
    QueuesChanged,
    ConversationRead,
    frames.ResyncRequired,
    frames.Draining,
)
FRAMES: TypeAdapter[Any] = frames.adapter(*ANSWERS, *EVENTS, *EPHEMERAL)
