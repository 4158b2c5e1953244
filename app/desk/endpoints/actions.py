"""What is done in a conversation over HTTP. Each call: lock it, may you, the verb, the answer."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from sqlmodel.ext.asyncio.session import AsyncSession

from app import clock
from app.channels.base import Template
from app.conversations import classification, closing, pausing, replies
from app.desk.auth import CurrentPrincipal, Principal, may_speak, require_act, visible_locked
from app.desk.capability_shapes import TemplateUse
from app.desk.endpoints import attachments
from app.desk.endpoints.conversation_shapes import ConversationShape, MessageShape, ReceiptShape, ResolvedShape
from app.desk.endpoints.shared import Body, CatalogDep, ContextDep, GivenMoment, Name, Text, api_router
from app.edge import SessionDep
from app.errors import Conflict, Invalid
from app.events import shapes
from app.models import Conversation
from app.models.words import Category, ComplaintType, ConversationStatus, Matter, MessageKind, Severity
from app.routing import endings, offers, queues, transfers

router = api_router("conversations")
Part = Annotated[Text, Field(min_length=1, max_length=closing.PART_LIMIT)]


class NewMessage(Body):
    """`attachments` are ids of uploads. The same `client_message_id` twice is one message.

    A note may name colleagues (`mentions`): they are told, and help from now on where they could not see it before. A
    reply may be a `template` instead of a text; `anyway` sends it also to an address that did not work lately.
    """

    kind: Literal[MessageKind.REPLY, MessageKind.NOTE] = MessageKind.REPLY
    text: Text = ""
    attachments: Annotated[list[UUID], Field(max_length=20)] = Field(default_factory=list)
    client_message_id: Name | None = None
    mentions: Annotated[list[UUID], Field(max_length=20)] = Field(default_factory=list)
    template: TemplateUse | None = None
    anyway: bool = False


class Correction(Body):
    """What is left out stays as it is; the rules leave the conversation alone afterwards."""

    category: Category
    severity: Severity | None = None
    matter: Matter | None = None
    complaint_type: ComplaintType | None = None
    reason: Annotated[Text, Field(min_length=1, max_length=2_000)]


class Transfer(Body):
    """To an agent, who has to accept it, or to a queue. `note` is for whoever takes it."""

    agent_id: UUID | None = None
    queue_id: UUID | None = None
    note: Annotated[Text, Field(max_length=4_000)] | None = None


class Resolution(Body):
    """The three parts of the feedback receipt."""

    problem: Part
    resolution: Part
    commitment: Part


class Reopening(Body):
    reason: Annotated[Text, Field(min_length=1, max_length=2_000)] = "reopened"


class Snooze(Body):
    until: GivenMoment


class Hold(Body):
    """`waiting_on_customer`: we wait for their answer; otherwise for something else."""

    waiting_on_customer: bool = False


async def _mine(session: AsyncSession, principal: Principal, conversation_id: UUID) -> Conversation:
    """Locked, and theirs to act in. Raises NotFound, NotAssigned."""
    conversation = await visible_locked(session, principal, conversation_id)
    require_act(principal, conversation)
    return conversation


async def _require_voice(session: AsyncSession, principal: Principal, conversation: Conversation) -> None:
    """Raises NotAssigned, Conflict for a supervisor who only listens."""
    require_act(principal, conversation)
    if not await may_speak(session, principal, conversation):
        raise Conflict("you only listen here; join the conversation to write to the customer")


@router.post("/conversations/{conversation_id}/messages", status_code=201)
async def send_message(
    conversation_id: UUID, given: NewMessage, session: SessionDep, principal: CurrentPrincipal
) -> MessageShape:
    """A reply goes to the customer on their channel; a note stays inside, from anyone who sees the conversation.

    Refused with `window-closed` or `recipient-refused` when it cannot go out now; both say what else is possible.
    """
    conversation = await visible_locked(session, principal, conversation_id)
    if given.kind is MessageKind.REPLY:
        await _require_voice(session, principal, conversation)
    message = await replies.send(
        session,
        conversation,
        author=principal.agent,
        kind=given.kind,
        text=given.text,
        client_message_id=given.client_message_id,
        attachments=await attachments.to_send(session, principal, given.attachments),
        mentions=given.mentions,
        template=Template(**given.template.model_dump()) if given.template else None,
        anyway=given.anyway,
    )
    await session.flush()
    await attachments.bind(session, message)
    return MessageShape.of(message)


@router.post("/conversations/{conversation_id}/classify")
async def classify(
    conversation_id: UUID, given: Correction, session: SessionDep, catalog: CatalogDep, principal: CurrentPrincipal
) -> ConversationShape:
    """A correction, kept with its reason so that the rules can be measured by it."""
    conversation = await _mine(session, principal, conversation_id)
    matter, complaint_type = _matter(conversation, given)
    await offers.hold_concerned(session, conversation)
    await classification.apply(
        session,
        conversation,
        category=given.category,
        matter=matter,
        severity=given.severity if "severity" in given.model_fields_set else conversation.severity,
        complaint_type=complaint_type,
        source="agent",
        agent_id=principal.agent_id,
        reason=given.reason,
    )
    await queues.reclassified(session, conversation, catalog)
    return await _shown(session, conversation)


def _matter(conversation: Conversation, given: Correction) -> tuple[str, str | None]:
    """Only a complaint has a type; naming one makes it a complaint. Raises Invalid for a contradiction."""
    matter = given.matter or (Matter.COMPLAINT if given.complaint_type else Matter(conversation.matter))
    if matter is not Matter.COMPLAINT:
        if given.complaint_type:
            raise Invalid("only a complaint has a type", field="complaint_type")
        return matter, None
    kept = conversation.complaint_type or ComplaintType.OTHER
    return matter, given.complaint_type or kept


@router.post("/conversations/{conversation_id}/transfer")
async def transfer(
    conversation_id: UUID,
    given: Transfer,
    session: SessionDep,
    catalog: CatalogDep,
    principal: CurrentPrincipal,
    context: ContextDep,
) -> ConversationShape:
    """To a queue: its assignee is free of it at once. To an agent: the assignee keeps it until that agent accepts."""
    conversation = await _mine(session, principal, conversation_id)
    await transfers.transfer(
        session,
        conversation,
        actor=principal.actor,
        agent_id=given.agent_id,
        queue_id=given.queue_id,
        note=given.note,
        catalog=catalog,
        wait_s=context.settings.transfer_wait_s,
        again_s=context.settings.offer_again_s,
    )
    return await _shown(session, conversation)


@router.post("/conversations/{conversation_id}/resolve")
async def resolve(
    conversation_id: UUID, given: Resolution, session: SessionDep, context: ContextDep, principal: CurrentPrincipal
) -> ResolvedShape:
    """Done from our side: the feedback receipt goes to the customer, whose word closes or reopens the matter."""
    conversation = await _mine(session, principal, conversation_id)
    await endings.rescind(session, conversation, reason="resolved")
    cycle = await closing.resolve(
        session,
        conversation,
        agent=principal.agent,
        problem=given.problem,
        resolution=given.resolution,
        commitment=given.commitment,
        link=context.feedback_link,
    )
    shown = await _shown(session, conversation)
    receipt = shapes.receipt(cycle, context.feedback_link(cycle.id))
    return ResolvedShape(**shown.model_dump(), receipt=ReceiptShape.model_validate(receipt))


@router.post("/conversations/{conversation_id}/reopen")
async def reopen(
    conversation_id: UUID,
    session: SessionDep,
    principal: CurrentPrincipal,
    given: Reopening | None = None,
) -> ConversationShape:
    """A resolved matter goes on with its owner in a new cycle; a paused one simply goes on."""
    conversation = await _mine(session, principal, conversation_id)
    if conversation.status == ConversationStatus.OPEN:
        raise Conflict("the conversation is open", status_now=conversation.status)
    if conversation.status in (ConversationStatus.RESOLVED, ConversationStatus.CLOSED):
        reason = given.reason if given else "reopened"
        await closing.reopen(session, conversation, actor=principal.actor, reason=reason)
    else:
        await pausing.resume(session, conversation, actor=principal.actor)
    return await _shown(session, conversation)


@router.post("/conversations/{conversation_id}/snooze")
async def snooze(
    conversation_id: UUID, given: Snooze, session: SessionDep, principal: CurrentPrincipal
) -> ConversationShape:
    """Out of sight until then, or until the customer writes; its resolution clock stands still."""
    conversation = await _mine(session, principal, conversation_id)
    await pausing.snooze(session, conversation, until=given.until, now=clock.now(), actor=principal.actor)
    return await _shown(session, conversation)


@router.post("/conversations/{conversation_id}/hold")
async def hold(
    conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal, given: Hold | None = None
) -> ConversationShape:
    """Its resolution clock stands still until it is resumed or the customer writes."""
    conversation = await _mine(session, principal, conversation_id)
    waiting = given is not None and given.waiting_on_customer
    await pausing.hold(session, conversation, waiting_on_customer=waiting, actor=principal.actor)
    return await _shown(session, conversation)


@router.post("/conversations/{conversation_id}/resume")
async def resume(conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal) -> ConversationShape:
    """Go on with what was snoozed or on hold; nothing happens when it is open."""
    conversation = await _mine(session, principal, conversation_id)
    if conversation.status == ConversationStatus.RESOLVED:
        raise Conflict("the conversation is resolved; reopen it", status_now=conversation.status)
    await pausing.resume(session, conversation, actor=principal.actor)
    return await _shown(session, conversation)


async def _shown(session: AsyncSession, conversation: Conversation) -> ConversationShape:
    """As it is in the database now: events count its time and place there."""
    await session.flush()
    await session.refresh(conversation)
    return ConversationShape.of(conversation)
