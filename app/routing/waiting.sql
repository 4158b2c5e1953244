-- Conversations that wait, in their order of service, each of which at least one of the given agents could take or
-- should be kept free for. The conditions are those of choose.py: they are here too so that a page never fills up with
-- entries that nobody can take while others wait behind them.
-- $1 agent, $2 queue (null once per agent: the agent as such), $3 free room, in parallel; $4 patience in seconds;
-- $5 conversations looked at in vain; $6 how many.
-- Agents who are alike are one line: of a thousand free ones, an entry meets a handful of lines.
WITH free AS MATERIALIZED (
    SELECT f.queue_id, f.free, a.capacity, a.skills, a.role IN ('supervisor', 'admin') AS senior, array_agg(a.id) AS agents
    FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS f(agent_id, queue_id, free)
    JOIN agent a ON a.id = f.agent_id
    GROUP BY 1, 2, 3, 4, 5
)
SELECT e.conversation_id, e.queue_id, e.weight, e.skills || q.skills AS skills, e.escalated, e.target_agent_id, e.excluded,
       extract(epoch FROM now() - e.enqueued_at)::float8 AS waited_s, c.assignee_id, c.channel_type, p.language
FROM queue_entry e
JOIN queue q ON q.id = e.queue_id
JOIN conversation c ON c.id = e.conversation_id
JOIN contact p ON p.id = c.contact_id
WHERE e.state = 'waiting' AND c.status NOT IN ('resolved', 'closed')
  AND e.conversation_id <> ALL($5::uuid[])
  AND (e.queue_id IN (SELECT f.queue_id FROM free f) OR e.escalated OR e.target_agent_id IS NOT NULL)
  AND EXISTS (
      SELECT 1 FROM free f
      WHERE CASE
            WHEN e.target_agent_id IS NOT NULL THEN e.target_agent_id = ANY(f.agents)
            WHEN e.escalated AND f.senior THEN true
            WHEN e.escalated AND c.assignee_id IS NOT NULL THEN false
            ELSE f.queue_id = e.queue_id AND e.skills || q.skills <@ f.skills
            END
        AND (f.free >= greatest(1, least(e.weight, f.capacity))
             OR e.enqueued_at <= now() - make_interval(secs => $4::float8))
        AND EXISTS (
            SELECT 1 FROM unnest(f.agents) AS one(id)
            WHERE one.id = coalesce(e.target_agent_id, one.id)
              AND one.id IS DISTINCT FROM c.assignee_id AND one.id::text <> ALL(e.excluded)))
ORDER BY e.order_at, e.conversation_id
LIMIT $6
