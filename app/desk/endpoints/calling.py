"""`POST /conversations/{id}/call`: an agent calls the customer back."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.conversations import calling
from app.desk.auth import CurrentPrincipal, require_agent, visible_locked
from app.desk.endpoints.actions import _require_voice
from app.desk.endpoints.conversation_shapes import MessageShape
from app.desk.endpoints.shared import Body, ContextDep, Name, Text, api_router
from app.edge import SessionDep

router = api_router("conversations")


class NewCall(Body):
    """`to` is the customer's number where it is not the known one; `channel_id` the line, where there are several. The
    same `client_message_id` twice is one call."""

    to: Annotated[Text, Field(min_length=3, max_length=250)] | None = None
    channel_id: UUID | None = None
    client_message_id: Name | None = None


@router.post("/conversations/{conversation_id}/call", status_code=201)
async def call_customer(
    conversation_id: UUID,
    session: SessionDep,
    context: ContextDep,
    principal: CurrentPrincipal,
    given: NewCall | None = None,
) -> MessageShape:
    """Your telephone rings first, then the customer's. The message is the call: it is updated as the call goes on."""
    wanted = given or NewCall()
    agent = require_agent(principal)
    conversation = await visible_locked(session, principal, conversation_id)
    await _require_voice(session, principal, conversation)
    message = await calling.call(
        session,
        conversation,
        agent=agent,
        webhook=context.settings.webhook_url,
        to=wanted.to,
        channel_id=wanted.channel_id,
        client_message_id=wanted.client_message_id,
    )
    await session.flush()
    return MessageShape.of(message)
