"""Whether somebody can be written to on their channel now: what it carries, its window, and what they have refused.

All of it is read in one statement, by the database's clock; a caller that holds the conversation decides on it safely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels import capable
from app.channels.base import Capabilities, RefusalReason
from app.channels.registry import ADAPTERS
from app.clock import rfc3339
from app.delivery.window import Window, window
from app.errors import Problem, RecipientRefused, WindowClosed
from app.models import Conversation

WINDOW_CLOSED, RECIPIENT_REFUSED = WindowClosed.code, RecipientRefused.code
_COUNTED = [kind for kind, adapter in ADAPTERS.items() if adapter.capabilities.window_count is not None]

# A message of theirs takes back what it contradicts (but never an opt-out); one from the page of their matter
# (intake/page_messages.py) did not come by the channel, opens no window there and takes nothing back. `used` is what has gone out since they wrote,
# where it is counted. `said_closed` needs an attempt: what we refused ourselves is no word of the provider.
_READ = text("""
    SELECT c.id, ch.type, ch.name, ch.config, ch.limits, now() AS at, last.at AS last_at,
           CASE WHEN ch.type = ANY(CAST(:counted AS text[])) OR jsonb_typeof(ch.limits->'window_count') = 'number' THEN
               (SELECT jsonb_agg(jsonb_build_array(m.text, jsonb_array_length(m.attachments))) FROM message m
                WHERE m.conversation_id = c.id AND m.direction = 'outbound' AND m.seq > coalesce(last.seq, 0)
                AND m.channel_id = ch.id AND m.status <> 'failed') END AS used,
           EXISTS (SELECT 1 FROM message m
                   WHERE m.conversation_id = c.id AND m.channel_id = ch.id AND m.seq > coalesce(last.seq, 0)
                   AND m.error_code = 'window-closed'
                   AND EXISTS (SELECT 1 FROM delivery_attempt a WHERE a.message_id = m.id)) AS said_closed,
           (SELECT jsonb_agg(jsonb_build_object('reason', r.reason, 'at', r.at, 'detail', r.detail) ORDER BY r.at)
            FROM contact_identity i
            JOIN contact_refusal r ON r.channel_id = i.channel_id AND r.kind = i.kind AND r.value = i.value
            WHERE i.contact_id = c.contact_id AND r.refused AND r.channel_id = ch.id
            AND coalesce(w.identity, c.identity_id) IN (i.id, i.same_as)
            AND (r.reason = 'opt_out' OR NOT EXISTS (
                SELECT 1 FROM message m WHERE m.conversation_id = c.id AND m.direction = 'inbound'
                AND m.content->'automatic' IS NULL AND m.content->'page' IS NULL AND (m.created_at > r.created_at OR m.sent_at > r.at)))) AS refusals
    FROM unnest(CAST(:ids AS uuid[]), CAST(:channels AS uuid[]), CAST(:identities AS uuid[])) AS w(id, channel, identity)
    JOIN conversation c ON c.id = w.id
    JOIN channel ch ON ch.id = coalesce(w.channel, c.channel_id)
    LEFT JOIN LATERAL (
        SELECT m.seq, least(m.sent_at, m.created_at) AS at FROM message m
        WHERE m.conversation_id = c.id AND m.direction = 'inbound' AND m.channel_id = ch.id AND m.content->'page' IS NULL
        ORDER BY m.seq DESC LIMIT 1) last ON true
""")
_ELSEWHERE = text("""
    SELECT o.id FROM conversation c
    JOIN conversation o ON o.contact_id = c.contact_id AND o.id <> c.id AND o.status NOT IN ('closed', 'resolved')
    JOIN channel ch ON ch.id = o.channel_id AND ch.active
    WHERE c.id = :id ORDER BY o.last_inbound_at DESC NULLS LAST LIMIT 10
""")
_TEMPLATES = text(
    "SELECT t.name, t.language, t.body FROM message_template t JOIN conversation c ON c.channel_id = t.channel_id "
    "WHERE c.id = :id AND t.status = 'approved' ORDER BY t.name, t.language LIMIT 50"
)


@dataclass(frozen=True, slots=True)
class Refused:
    """What somebody refused, and since when."""

    reason: RefusalReason
    at: datetime
    detail: str | None

    @property
    def may_be_overridden(self) -> bool:
        """Nobody said no: an address did not work, and may again."""
        return self.reason is RefusalReason.UNREACHABLE


@dataclass(frozen=True, slots=True)
class Reach:
    """How somebody can be written to in a conversation, at the moment of the transaction."""

    conversation_id: UUID
    channel_type: str
    channel_name: str
    can: Capabilities
    window: Window
    refusals: Sequence[Refused]


async def of(
    session: AsyncSession,
    conversation: Conversation,
    *,
    channel_id: UUID | None = None,
    identity_id: UUID | None = None,
) -> Reach:
    """By its own channel, unless another stands in for it."""
    return (await _read(session, [(conversation.id, channel_id, identity_id)]))[conversation.id]


async def of_many(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, Reach]:
    """Of each of these conversations, by its own channel."""
    return await _read(session, [(id, None, None) for id in ids])


async def _read(session: AsyncSession, wanted: Sequence[tuple[UUID, UUID | None, UUID | None]]) -> dict[UUID, Reach]:
    if not wanted:
        return {}
    await session.flush()
    ids, channels, identities = zip(*wanted, strict=True)
    given = {"ids": list(ids), "channels": list(channels), "identities": list(identities), "counted": _COUNTED}
    found = await session.execute(_READ, given)
    return {row.id: _reach(row) for row in found}


def _reach(row: Any) -> Reach:
    can = capable.capabilities(ADAPTERS.get(row.type), _json(row.config) or {}, _json(row.limits))
    used = sum(max(capable.parts(can, written) + files, 1) for written, files in _json(row.used) or ())
    refusals = [
        Refused(RefusalReason(item["reason"]), datetime.fromisoformat(item["at"]), item["detail"])
        for item in _json(row.refusals) or ()
    ]
    now_open = window(can, last_at=row.last_at, at=row.at, used=used, said_closed=row.said_closed)
    return Reach(row.id, row.type, row.name, can, now_open, refusals)


def _json(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, str | bytes) else value


def why_not(reach: Reach, *, by_agent: bool, template: bool, anyway: bool = False, needs: int = 1) -> Problem | None:
    """The reason for which a message may not go out now; None when it may.

    `anyway`: the agent knows that the address did not work, and wants it tried. It `needs` so many messages.
    """
    for refused in reach.refusals:
        if not (anyway and refused.may_be_overridden):
            detail = _REFUSED[refused.reason]
            since = rfc3339(refused.at)
            return RecipientRefused(
                detail, reason=refused.reason.value, since=since, may_be_overridden=refused.may_be_overridden
            )
    allowed, left = reach.window.allowed, reach.window.remaining
    if left is not None and needs > left and not template:
        detail = f"this takes {needs} messages, and {left} are left until the customer writes again"
        return WindowClosed(detail, allowed=list(allowed), window=window_shape(reach.window))
    if (template and "template" in allowed) or (not template and "reply" in allowed) or (by_agent and "tag" in allowed):
        return None
    return WindowClosed(_CLOSED[reach.window.why or "time"], allowed=list(allowed), window=window_shape(reach.window))


async def explained(session: AsyncSession, conversation: Conversation, problem: Problem) -> Problem:
    """The same refusal with what can be done instead: templates, and other conversations of the customer."""
    elsewhere = (await session.execute(_ELSEWHERE, {"id": conversation.id})).scalars().all()
    others = await of_many(session, elsewhere)
    problem.extra["elsewhere"] = [
        {"conversation_id": str(other.conversation_id), "channel_type": other.channel_type, "name": other.channel_name}
        for other in (others[id] for id in elsewhere if id in others)
        if why_not(other, by_agent=True, template=False) is None
    ]
    if "template" in problem.extra.get("allowed", ()):
        found = await session.execute(_TEMPLATES, {"id": conversation.id})
        problem.extra["templates"] = [dict(row) for row in found.mappings()]
    return problem


def shape(reach: Reach) -> dict[str, Any]:
    """The capabilities of a conversation's channel, now."""
    return {
        **capable.shape(reach.can),
        "window": window_shape(reach.window),
        "refusals": refusals_shape(reach.refusals),
    }


def window_shape(now_open: Window) -> dict[str, Any]:
    return {
        "open": now_open.open,
        "until": rfc3339(now_open.until) if now_open.until else None,
        "allowed": list(now_open.allowed),
        "remaining": now_open.remaining,
        "why": now_open.why,
    }


def refusals_shape(refusals: Sequence[Refused]) -> list[dict[str, Any]]:
    return [
        {"reason": item.reason.value, "at": rfc3339(item.at), "detail": item.detail, "may_be_overridden": item.may_be_overridden}
        for item in refusals
    ]  # fmt: skip


_REFUSED: Mapping[RefusalReason, str] = {
    RefusalReason.OPT_OUT: "the customer does not want messages on this channel",
    RefusalReason.BLOCKED: "the customer has blocked us on this channel",
    RefusalReason.COMPLAINED: "the customer complained about our messages on this channel",
    RefusalReason.UNREACHABLE: "messages to this address did not arrive",
}
_CLOSED: Mapping[str, str] = {
    "time": "the time to answer freely on this channel is over until the customer writes again",
    "count": "as many messages as this channel allows were sent since the customer last wrote",
    "never": "the customer has not written on this channel yet",
    "provider": "the channel said that its window is closed; it opens when the customer writes again",
}
