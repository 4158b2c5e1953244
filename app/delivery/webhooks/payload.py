"""Which events other systems are told, as what, and what of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from app.clock import rfc3339

EVENTS = (
    "conversation.created",
    "conversation.updated",
    "conversation.resolved",
    "conversation.closed",
    "conversation.reopened",
    "message.created",
    "message.status",
    "sla.warned",
    "sla.breached",
    "feedback.received",
)
ALL = "*"
PING = "ping"
_ASSIGNED = "conversation.assigned"
LOGGED = (*EVENTS, _ASSIGNED)
"""What they are called in the log: an assignment is told as an update."""

TYPE = f"CASE v.type WHEN '{_ASSIGNED}' THEN 'conversation.updated' ELSE v.type END"
CALL_ID = "CAST(md5(e.id || ':' || v.id) AS uuid)"
# Whether event `v` is for endpoint `e`. A whisper is told to agents by name, and belongs to no queue by itself.
WANTED = f"""
    v.type = ANY(CAST(:logged AS text[])) AND v.conversation_id IS NOT NULL
    AND ('{ALL}' = ANY(e.events) OR {TYPE} = ANY(e.events))
    AND (e.channel_ids = '{{}}' OR v.channel_id = ANY(e.channel_ids))
    AND (e.queue_ids = '{{}}' OR v.queues && e.queue_ids OR v.scope = 'agents' AND EXISTS (
        SELECT 1 FROM conversation c WHERE c.id = v.conversation_id AND c.queue_id = ANY(e.queue_ids)))
    AND CASE WHEN v.type <> 'message.created' THEN v.scope = 'conversation'
             WHEN e.include_notes THEN v.scope IN ('conversation', 'agents')
             ELSE v.scope = 'conversation' AND v.payload->'message'->>'direction' <> 'note' END
"""


def body(
    type: str,
    *,
    logged_as: str,
    at: datetime,
    conversation_id: UUID,
    seq: int | None,
    payload: bytes | str,
    include_notes: bool,
) -> bytes:
    """`{type, timestamp, data}`: what consoles see of the event, without what colleagues wrote to each other."""
    data: dict[str, Any] = {"conversation_id": str(conversation_id), "seq": seq or 0, **orjson.loads(payload)}
    if logged_as == _ASSIGNED:
        data["changed"] = ["assignee_id"]
    if type == "conversation.updated" and not include_notes:
        data.pop("reason", None)
        data.pop("fired", None)
        if data.get("transfer"):
            data["transfer"] = {**data["transfer"], "note": None}
    return orjson.dumps({"type": type, "timestamp": rfc3339(at), "data": data})


def ping(endpoint_id: UUID, *, at: datetime) -> bytes:
    """A test call: nothing has happened."""
    return orjson.dumps({"type": PING, "timestamp": rfc3339(at), "data": {"endpoint_id": str(endpoint_id)}})
