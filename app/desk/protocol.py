"""What consoles say on the desk's socket, typed; docs/protocol.md is generated from here."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StringConstraints, TypeAdapter

from app.desk.endpoints import actions, by_hand, calling, sending, taking_part, walk_ins
from app.desk.endpoints.shared import Body

CommandId = Annotated[
    Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")] | int,
    Field(description="chosen by the client; the answer carries it as `re`"),
]


class Command(Body):
    """A client frame. One that says `once` is not done twice: its answer is kept, and given again to the same frame with
    the same `id`, on whatever socket of the agent (see memory.py)."""

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


class ResendMessage(Command, sending.Resending):
    """Send again what failed, or may never have arrived; what is on its way, or was sent, is left as it is."""

    once = True
    type: Literal["message.resend"]
    conversation_id: UUID
    message_id: UUID


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


class CallCustomer(Command, calling.NewCall):
    """Call the customer back: your telephone rings first. The answer names the message that is the call."""

    type: Literal["conversation.call"]
    conversation_id: UUID

    def is_remembered(self) -> bool:
        return self.id is not None and self.client_message_id is None


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


class Enter(Command, walk_ins.NewConversation):
    """Enter a matter by hand, for somebody at the counter or on the telephone; the answer says how they can be answered."""

    once = True
    type: Literal["conversation.enter"]


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
    | ResendMessage
    | Typing
    | ReadConversation
    | Transfer
    | Classify
    | Resolve
    | CallCustomer
    | PickUp
    | Take
    | Assign
    | Enter
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
