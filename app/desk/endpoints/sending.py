"""What agents do about messages of ours that did not arrive."""

from __future__ import annotations

from uuid import UUID

from app.conversations import resending
from app.desk.auth import CurrentPrincipal, require_act, visible_locked
from app.desk.endpoints.conversation_shapes import MessageShape
from app.desk.endpoints.shared import Body, api_router
from app.edge import SessionDep

router = api_router("conversations")


class Resending(Body):
    """`anyway`: also to an address that did not work lately."""

    anyway: bool = False


@router.post("/conversations/{conversation_id}/messages/{message_id}/resend")
async def resend(
    conversation_id: UUID,
    message_id: UUID,
    session: SessionDep,
    principal: CurrentPrincipal,
    given: Resending | None = None,
) -> MessageShape:
    """Send again what failed, or may never have arrived. One that is on its way, or was sent, is left as it is."""
    conversation = await visible_locked(session, principal, conversation_id)
    require_act(principal, conversation)
    anyway = given is not None and given.anyway
    message = await resending.resend(session, conversation, message_id, actor=principal.actor, anyway=anyway)
    await session.flush()
    return MessageShape.of(message)
