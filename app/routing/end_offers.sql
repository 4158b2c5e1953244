-- Pending offers of conversations whose rows, with those of their agents, the caller holds, end without an assignment:
-- capacity goes back and the entries wait again where they were in the order.
-- $1 conversations, $2 outcome, $3 reason, $4 only this agent's (null: anyone's), $5 only those past their time,
-- $6 whether the agent is left out for $7 seconds. Expired ones are counted as missed, a word of the agent ends the count.
WITH ending AS (
    SELECT o.id, o.conversation_id, o.agent_id, o.weight
    FROM offer o
    WHERE o.conversation_id = ANY($1::uuid[]) AND o.status = 'pending'
      AND ($4::uuid IS NULL OR o.agent_id = $4) AND (NOT $5::bool OR o.expires_at <= now())
), freed AS (
    UPDATE agent a
    SET load = greatest(a.load - t.weight, 0),
        missed_offers = CASE $2 WHEN 'expired' THEN a.missed_offers + t.offers WHEN 'rejected' THEN 0 ELSE a.missed_offers END
    FROM (SELECT e.agent_id, sum(e.weight)::int AS weight, count(*)::int AS offers FROM ending e GROUP BY e.agent_id) t
    WHERE a.id = t.agent_id
), ended AS (
    UPDATE offer o SET status = $2, reason = $3, decided_at = now() FROM ending e WHERE o.id = e.id
), back AS (
    UPDATE queue_entry w
    SET state = 'waiting', excluded = n.excluded, round_at = n.round_at,
        next_at = next_at_v1(q.rings, q.overflow_queue_id, q.overflow_after_s, q.max_wait_s, q.when_closed, q.calendar_id,
                             w.entered_at, w.ring, w.escalated, c.assignee_id IS NOT NULL, w.target_agent_id,
                             w.target_until, n.round_at)
    FROM ending e
    JOIN conversation c ON c.id = e.conversation_id
    JOIN queue_entry b ON b.conversation_id = e.conversation_id
    JOIN queue q ON q.id = b.queue_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN $6::bool THEN array_append(array_remove(b.excluded, e.agent_id::text), e.agent_id::text) ELSE b.excluded END,
               CASE WHEN $6::bool THEN now() + make_interval(secs => $7::float8) ELSE b.round_at END
    ) n(excluded, round_at)
    WHERE w.conversation_id = e.conversation_id
    RETURNING w.conversation_id, w.target_agent_id, w.escalated, w.next_at
)
SELECT e.id, e.conversation_id, e.agent_id, e.weight, b.target_agent_id, b.escalated, b.next_at
FROM ending e LEFT JOIN back b ON b.conversation_id = e.conversation_id
ORDER BY e.id
