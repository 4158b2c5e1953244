"""A matter that is late goes to supervisors: its entry in the queue is marked, and made where there is none."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

# One that an agent works on stays theirs until a supervisor accepts; it waits with the age of its clock. An offer that
# is out to an agent ends now, by the loop that ends offers; a transfer gives way; who declined before is asked again.
_ESCALATE = text("""
    WITH raised AS (
    INSERT INTO queue_entry AS q (conversation_id, queue_id, state, weight, skills, escalated, specialists, ring, boosts,
                                  excluded, enqueued_at, order_at)
    SELECT c.id, coalesce(c.queue_id, (SELECT d.id FROM queue d WHERE d.is_default)), 'waiting', coalesce(s.weight, 1), '{}',
           true, '{}', 0, '{}', '{}', age.since, age.since - make_interval(secs => coalesce(s.boost_s, 0))
    FROM conversation c
    LEFT JOIN category_setting s ON s.category = c.category
    CROSS JOIN LATERAL (SELECT coalesce(max(k.created_at), now()) FROM sla_clock k WHERE k.conversation_id = c.id) age(since)
    WHERE c.id = ANY(CAST(:ids AS uuid[])) AND c.status NOT IN ('resolved', 'closed')
      AND NOT EXISTS (SELECT 1 FROM agent a WHERE a.id = c.assignee_id AND a.role IN ('supervisor', 'admin'))
    ORDER BY c.id
    ON CONFLICT (conversation_id) DO UPDATE
    SET escalated = true, target_agent_id = NULL, excluded = '{}'
    WHERE NOT q.escalated
    RETURNING q.conversation_id
    ), ended AS (
        UPDATE offer o SET expires_at = now()
        FROM raised r, agent a
        WHERE o.conversation_id = r.conversation_id AND o.status = 'pending' AND a.id = o.agent_id AND a.role = 'agent'
        RETURNING o.id
    )
    SELECT r.conversation_id, pg_notify('roundtrip', 'dispatch'), (SELECT count(pg_notify('roundtrip', 'offers')) FROM ended)
    FROM raised r
""")


async def escalate(session: AsyncSession, conversation_ids: Collection[UUID]) -> list[UUID]:
    """Those of the conversations, held by the caller, that are not done; the dispatcher does the rest."""
    escalated = (await session.execute(_ESCALATE, {"ids": sorted(conversation_ids)})).scalars().all()
    return list(escalated)
