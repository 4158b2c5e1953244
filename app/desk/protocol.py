"""The frames of `/desk/live`, typed both ways; docs/protocol.md is generated from here."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.desk.endpoints import actions

CommandId = Annotated[str | int, Field(description="chosen by the client; the answer carries it as `re`")]


class Command(BaseModel):
    """A client frame."""

    model_config = ConfigDict(extra="forbid")
    id: CommandId | None = None


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

    type: Literal["offer.reject"]
    offer_id: UUID
    reason: Annotated[str, Field(max_length=1_000)] | None = None


class SendMessage(Command, actions.NewMessage):
    """A reply to the customer, or a note that stays inside. The same `client_message_id` twice is one message."""

    type: Literal["message.send"]
    conversation_id: UUID


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

    type: Literal["conversation.transfer"]
    conversation_id: UUID


class Classify(Command, actions.Correction):
    """Correct the classification; the rules leave it alone afterwards."""

    type: Literal["conversation.classify"]
    conversation_id: UUID


class Resolve(Command, actions.Resolution):
    """Done from our side: the customer gets the feedback receipt in these three parts."""

    type: Literal["conversation.resolve"]
    conversation_id: UUID


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
    | Ping,
    Field(discriminator="type"),
]
COMMANDS: TypeAdapter[Any] = TypeAdapter(DeskCommand)


class ServerFrame(BaseModel):
    """A server frame. Events carry `cursor`, and where they concern a conversation `conversation_id` and `seq`."""

    model_config = ConfigDict(extra="allow")


class Welcome(ServerFrame):
    """The answer to hello: who you are, your open offers and conversations, and where the stream goes on."""

    type: Literal["welcome"]
    agent: dict[str, Any]
    session_id: str
    heartbeat_s: float
    cursor: str
    offers: list[dict[str, Any]]
    conversations: list[dict[str, Any]]


class Ok(ServerFrame):
    """The command `re` was done and committed; its results are beside."""

    type: Literal["ok"]
    re: str | int | None


class Error(ServerFrame):
    """The command `re` was refused; `code` is stable, `detail` is for people, `field` names a wrong field."""

    type: Literal["error"]
    re: str | int | None
    code: str
    detail: str


EVENTS: dict[str, str] = {
    "offer.created": "offer_id, expires_at, conversation: the agent has until then to accept",
    "offer.accepted": "offer_id: accepted by this agent, perhaps on another socket",
    "offer.expired": "offer_id: nobody answered in time; it went back with its original age",
    "offer.rescinded": "offer_id, reason: withdrawn (rejected, transferred, closed, agent lost)",
    "conversation.created": "conversation: a first message opened it",
    "conversation.updated": "conversation, changed: status, queue, classification, or attachments (of message_id) that were fetched",
    "conversation.assigned": "conversation, assignee, how: offer, transfer, reopen",
    "conversation.resolved": "conversation, cycle: the receipt is on its way to the customer",
    "conversation.closed": "conversation, cycle, via: confirmed by the customer",
    "conversation.reopened": "conversation, reason: rejected by the customer, or they wrote again",
    "message.created": "message: id, seq, direction, kind, author, text, attachments, status",
    "message.status": "message_id, status, error: how far an outbound message has come",
    "feedback.requested": "receipt: what the customer was asked",
    "feedback.received": "cycle, ratings: what the customer answered",
    "sla.warned": "clock, conversation: a deadline is near",
    "sla.breached": "clock, conversation: a deadline was missed, at the time it was due",
    "sla.escalated": "clock, conversation: it is still missed, clock.level says for how long",
    "sla.notified": "clock, conversation, stage, notify: your attention is asked for as owner, supervisor or manager",
}
EPHEMERAL: dict[str, str] = {
    "typing": "conversation_id, on, author",
    "presence.updated": "agent: id, name, availability, present",
    "resync_required": "reason: the cursor cannot be resumed; the welcome that follows is a fresh snapshot",
    "draining": "reconnect_in_s: this process is going away; reconnect with your cursor",
    "pong": "the answer to ping",
}
