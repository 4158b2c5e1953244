-- Pending offers of conversations whose rows, with those of their agents, the caller holds, end without an assignment:
-- capacity goes back and the entries wait again where they were in the order.
-- $1 conversations, $2 outcome, $3 reason, $4 only this agent's (null: anyone's), $5 only those past their time,
-- $6 whether the agent is left out of this round. When nobody else is there to be asked, the round starts again.
WITH ending AS (
    SELECT o.id, o.conversation_id, o.agent_id, o.weight
    FROM offer o
    WHERE o.conversation_id = ANY($1::uuid[]) AND o.status = 'pending'
      AND ($4::uuid IS NULL OR o.agent_id = $4) AND (NOT $5::bool OR o.expires_at <= now())
), freed AS (
    UPDATE agent a
    SET load = greatest(a.load - t.weight, 0)
    FROM (SELECT e.agent_id, sum(e.weight)::int AS weight FROM ending e GROUP BY e.agent_id) t
    WHERE a.id = t.agent_id
), ended AS (
    UPDATE offer o SET status = $2, reason = $3, decided_at = now() FROM ending e WHERE o.id = e.id
), back AS (
    UPDATE queue_entry q
    SET state = 'waiting',
        excluded = CASE
            WHEN NOT $6::bool THEN q.excluded
            WHEN EXISTS (
                SELECT 1 FROM agent a
                WHERE a.active AND a.availability = 'online' AND a.id <> e.agent_id AND a.id::text <> ALL(q.excluded)
                  AND EXISTS (SELECT 1 FROM agent_session s
                              WHERE s.agent_id = a.id AND s.closed_at IS NULL AND s.lease_until > now())
                  AND a.id IS DISTINCT FROM c.assignee_id
                  AND ((q.escalated AND a.role IN ('supervisor', 'admin'))
                       OR ((NOT q.escalated OR c.assignee_id IS NULL)
                           AND EXISTS (SELECT 1 FROM queue_member m WHERE m.queue_id = q.queue_id AND m.agent_id = a.id))))
            THEN array_append(q.excluded, e.agent_id::text)
            ELSE '{}'
            END
    FROM ending e JOIN conversation c ON c.id = e.conversation_id
    WHERE q.conversation_id = e.conversation_id
)
SELECT e.id, e.conversation_id, e.agent_id, e.weight, q.target_agent_id
FROM ending e LEFT JOIN queue_entry q ON q.conversation_id = e.conversation_id
ORDER BY e.id
