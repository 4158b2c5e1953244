-- Offers for conversations that the caller holds: capacity is held, the offer made and the entry marked in one statement,
-- so that no moment exists in which one is there without the others. What changed since it was planned is left alone.
-- Several offers to one agent are added up in their order; those that do not fit any more are left out.
-- The agents' rows are held by the statement before, not by this one: conversations/assignment.py says why (_HOLD_AGENTS).
-- In parallel: $1 offer, $2 conversation, $3 agent, $4 weight to hold, $5 seconds to answer, $6 decision,
-- $7 explanation (JSON text); and as planned: $8 queue, $9 weight, $10 escalated, $11 target agent.
WITH wanted AS (
    SELECT w.*, e.note
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::float8[], $6::uuid[], $7::text[],
                $8::uuid[], $9::int[], $10::bool[], $11::uuid[]) WITH ORDINALITY
         AS w(offer_id, conversation_id, agent_id, weight, timeout_s, decision_id, explanation,
              queue_id, entry_weight, escalated, target_id, n)
    JOIN queue_entry e ON e.conversation_id = w.conversation_id
    WHERE e.state = 'waiting' AND e.queue_id = w.queue_id AND e.weight = w.entry_weight AND e.escalated = w.escalated
      AND e.target_agent_id IS NOT DISTINCT FROM w.target_id AND w.agent_id::text <> ALL(e.excluded)
), room AS (
    SELECT a.id, a.capacity - a.load AS free
    FROM agent a
    WHERE a.id IN (SELECT agent_id FROM wanted) AND a.active AND a.availability = 'online'
), fitting AS (
    SELECT * FROM (
        SELECT w.*, r.free, sum(w.weight) OVER (PARTITION BY w.agent_id ORDER BY w.n) AS upto
        FROM wanted w JOIN room r ON r.id = w.agent_id
    ) summed
    WHERE upto <= free
), made AS (
    INSERT INTO offer(id, conversation_id, agent_id, queue_id, weight, status, escalated, expires_at)
    SELECT offer_id, conversation_id, agent_id, queue_id, weight, 'pending', escalated,
           clock_timestamp() + make_interval(secs => timeout_s)
    FROM fitting ORDER BY n
    ON CONFLICT (conversation_id) WHERE status = 'pending' DO NOTHING
    RETURNING id, conversation_id, agent_id, queue_id, weight, escalated, created_at, expires_at
), held AS (
    UPDATE agent a
    SET load = a.load + t.weight, last_offered_at = clock_timestamp() + t.last * interval '1 microsecond'
    FROM (
        SELECT m.agent_id, sum(m.weight)::int AS weight, max(f.n) AS last
        FROM made m JOIN fitting f ON f.offer_id = m.id
        GROUP BY m.agent_id
    ) t
    WHERE a.id = t.agent_id
), marked AS (
    UPDATE queue_entry e SET state = 'offered', next_at = NULL FROM made m WHERE e.conversation_id = m.conversation_id
), explained AS (
    INSERT INTO routing_decision(id, conversation_id, queue_id, kind, agent_id, offer_id, explanation)
    SELECT f.decision_id, f.conversation_id, f.queue_id, 'offer', f.agent_id, f.offer_id, f.explanation::jsonb
    FROM fitting f JOIN made m ON m.id = f.offer_id
)
SELECT m.*, f.n, f.note, p.name AS contact_name,
       (SELECT left(s.text, 200) FROM message s
        WHERE s.conversation_id = m.conversation_id AND s.direction <> 'note'
        ORDER BY s.seq DESC LIMIT 1) AS last_message
FROM made m
JOIN fitting f ON f.offer_id = m.id
JOIN conversation c ON c.id = m.conversation_id
JOIN contact p ON p.id = c.contact_id
ORDER BY f.n
