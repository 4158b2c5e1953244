"""`POST /conversations`: an agent enters a matter by hand."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Request
from pydantic import Field, model_validator

from app import clock
from app.channels.text import blank
from app.context import Context
from app.conversations import queries, ways
from app.conversations.entering import Entry
from app.desk.auth import CurrentPrincipal, Principal, require_agent
from app.desk.endpoints.agents import Email
from app.desk.endpoints.canned import Language
from app.desk.endpoints.contacts import Phone
from app.desk.endpoints.conversation_shapes import AnswersShape, ConversationShape
from app.desk.endpoints.shared import Body, ContextDep, GivenMoment, Name, Text, api_router
from app.edge import SessionDep
from app.errors import Invalid
from app.ids import new_id
from app.models.words import Category, Matter, Severity

router = api_router("conversations")


class Customer(Body):
    """By `id`, or by what they say of themselves: who is known by that address or number is found, not made again.

    Nothing at all is somebody who does not want to be named.
    """

    id: UUID | None = None
    name: Name | None = None
    email: Email | None = None
    phone: Phone | None = None
    language: Language | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Customer:
        if self.id is not None and self.model_fields_set - {"id"}:
            raise ValueError("either the id of a contact, or what is known of them")
        return self


class NewConversation(Body):
    """`channel` is how the customer came. What is left out of `category`, `matter` and `severity` the rules say.

    Answers go by `reply_channel_id`, else by mail or text message where the customer is known there; else there are
    only notes, which the answer to this call says.
    """

    contact: Customer = Field(default_factory=Customer)
    text: Annotated[Text, Field(min_length=1)]
    subject: Annotated[Text, Field(min_length=1, max_length=1_000)] | None = None
    category: Category | None = None
    matter: Matter | None = None
    severity: Severity | None = None
    channel: Literal["walk_in", "phone", "letter", "other"] = "walk_in"
    queue_id: UUID | None = None
    assign_to_me: bool = False
    occurred_at: GivenMoment | None = None
    reply_channel_id: UUID | None = None


class EnteredShape(ConversationShape):
    """`progress_url` can be handed over: it shows the customer where the matter stands, without an account."""

    message_id: UUID
    answers: AnswersShape
    progress_url: str


@router.post("/conversations", status_code=201)
async def enter_conversation(
    given: NewConversation, request: Request, session: SessionDep, context: ContextDep, principal: CurrentPrincipal
) -> EnteredShape:
    """Somebody stood at the counter, rang, or wrote a letter. Each call is a conversation of its own: classified, routed
    and timed like any other."""
    key = key_of(principal.token_id, request.headers.get("idempotency-key"))
    return await enter(given, session, context, principal, key=key)


async def enter(
    given: NewConversation, session: SessionDep, context: Context, principal: Principal, *, key: str
) -> EnteredShape:
    """The same for the socket. Raises Invalid, Forbidden, CapacityExceeded."""
    agent = require_agent(principal) if given.assign_to_me else principal.agent
    if blank(given.text):
        raise Invalid("say what it is about", field="text")
    if given.occurred_at is not None and given.occurred_at > clock.now():
        raise Invalid("this is still to come", field="occurred_at")
    entered = await context.walk_ins.enter(
        Entry(
            key=key,
            text=given.text.strip(),
            actor=principal.actor,
            agent=agent,
            contact_id=given.contact.id,
            name=given.contact.name,
            email=given.contact.email,
            phone=given.contact.phone,
            language=given.contact.language,
            subject=given.subject,
            category=given.category,
            matter=given.matter,
            severity=given.severity,
            came_by=given.channel,
            queue_id=given.queue_id,
            keep=given.assign_to_me,
            occurred_at=given.occurred_at,
            reply_channel_id=given.reply_channel_id,
        )
    )
    row = await queries.get(session, entered.conversation_id)
    return EnteredShape(
        **ConversationShape.of(row).model_dump(),
        message_id=entered.message_id,
        answers=AnswersShape.of(row, await ways.find(session, row)),
        progress_url=context.progress_link(row.id),
    )


def key_of(who: UUID, given: str | None) -> str:
    """The same call again is the same matter, also when only the answer was lost."""
    if given is None:
        return new_id().hex
    return hashlib.sha256(f"{who}:{given}".encode()).hexdigest()
