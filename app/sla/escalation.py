"""A matter that is late goes to supervisors: its entry in the queue is marked, and made where there is none."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

# One that an agent works on stays theirs until a supervisor accepts; it waits with the age of its clock. An offer that
# is out to an agent ends now, by the loop that ends offers; a transfer gives way; who declined before is asked again.
# What waits is changed, what does not is made as every entry is (routing/enqueue.sql).
_ESCALATE = text("""
    WITH late AS (
        SELECT c.id, c.assignee_id IS NOT NULL AS held
        FROM conversation c
        WHERE c.id = ANY(CAST(:ids AS uuid[])) AND c.status NOT IN ('resolved', 'closed')
          AND NOT EXISTS (SELECT 1 FROM agent a WHERE a.id = c.assignee_id AND a.role IN ('supervisor', 'admin'))
    ), raised AS (
        UPDATE queue_entry e
        SET escalated = true, target_agent_id = NULL, target_until = NULL, excluded = '{}', round_at = NULL,
            next_at = CASE WHEN e.state = 'waiting'
                           THEN next_at_v1(q.rings, q.overflow_queue_id, q.overflow_after_s, q.max_wait_s, q.when_closed, q.calendar_id,
                                           e.entered_at, e.ring, true, l.held, NULL, NULL, NULL) END
        FROM late l, queue q
        WHERE e.conversation_id = l.id AND q.id = e.queue_id AND NOT e.escalated
        RETURNING e.conversation_id
    ), made AS (
        SELECT l.id AS conversation_id,
               enqueue_v1(l.id, NULL, NULL,
                          coalesce((SELECT max(k.created_at) FROM sla_clock k WHERE k.conversation_id = l.id), now()),
                          true, NULL, NULL, NULL, '{}', NULL, NULL)
        FROM late l
        WHERE NOT EXISTS (SELECT 1 FROM queue_entry e WHERE e.conversation_id = l.id)
    ), ended AS (
        UPDATE offer o SET expires_at = now()
        FROM raised r, agent a
        WHERE o.conversation_id = r.conversation_id AND o.status = 'pending' AND a.id = o.agent_id AND a.role = 'agent'
        RETURNING o.id
    )
    SELECT m.conversation_id, NULL, NULL FROM made m
    UNION ALL
    SELECT r.conversation_id, pg_notify('roundtrip', t.topic), (SELECT count(pg_notify('roundtrip', 'offers')) FROM ended)
    FROM raised r CROSS JOIN (VALUES ('dispatch'), ('patience')) t(topic)
""")


async def escalate(session: AsyncSession, conversation_ids: Collection[UUID]) -> list[UUID]:
    """Those of the conversations, held by the caller, that are not done; the dispatcher does the rest."""
    escalated = (await session.execute(_ESCALATE, {"ids": sorted(conversation_ids)})).scalars().all()
    return list(dict.fromkeys(escalated))
