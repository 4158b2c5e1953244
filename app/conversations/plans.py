"""Whether and how a message of ours can go out, decided before it is stored: its way, its size, the window, refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels import capable
from app.channels.base import Capabilities
from app.conversations import ways
from app.conversations.ways import Way
from app.delivery import reach
from app.errors import Invalid, NoReplyChannel, Problem
from app.models import Conversation
from app.models.words import MessageKind


@dataclass(frozen=True, slots=True)
class Plan:
    """`way` is how it goes out. With `why_not` it does not: then it is stored as failed, for somebody to look at."""

    way: Way | None
    why_not: Problem | None = None


async def make(
    session: AsyncSession,
    conversation: Conversation,
    *,
    kind: MessageKind,
    text: str,
    attachments: Sequence[Mapping[str, Any]] = (),
    template: bool = False,
    anyway: bool = False,
    leave: int = 0,
) -> Plan:
    """For a message of an agent or of our own; the caller holds the conversation. Where the channel counts messages, so many
    are to be left after it.

    A reply that cannot go out is refused: raises NoReplyChannel, WindowClosed, RecipientRefused (both say what can be
    done instead), Invalid for what the channel does not carry.
    """
    reply = kind is MessageKind.REPLY
    way = await (ways.require(session, conversation) if reply else ways.find(session, conversation, claim=True))
    if way is None:
        return Plan(None, NoReplyChannel(_NO_WAY))
    known = await reach.of(session, conversation, channel_id=way.channel_id, identity_id=way.identity_id)
    if template and not known.can.templates:
        raise Invalid("this channel has no templates: write the text itself", field="template")
    needs = 1
    if not template:
        needs = max(fit(known.can, text, attachments), 1)
    why_not = reach.why_not(known, by_agent=reply, template=template, anyway=anyway, needs=needs + leave)
    if why_not is not None and reply:
        raise await reach.explained(session, conversation, why_not)
    return Plan(way, why_not)


def fit(can: Capabilities, text: str, attachments: Sequence[Mapping[str, Any]] = ()) -> int:
    """How many messages it takes at most. Raises Invalid naming what the channel does not carry."""
    parts = capable.parts(can, text)
    if parts > can.max_parts:
        limit = can.max_parts * can.text_limit
        raise Invalid(f"the text is too long for this channel: {limit} {can.text_unit} at most", field="text")
    if len(attachments) > can.max_files and can.files:
        raise Invalid(f"this channel carries at most {can.max_files} files in a message", field="attachments")
    for number, item in enumerate(attachments):
        why = capable.unfit(can, item["media_type"], item["size"] or 0)
        if why is not None:
            raise Invalid(f"{item['name']}: {why}", field=f"attachments.{number}")
    return parts + len(attachments)


_NO_WAY = "not sent: this channel carries no answers, and no other one is known that reaches the customer"
