-- What the dispatcher reads of the queues. In functions because of their settings: a plan made while the table is small
-- would read it whole when it is large; these walk along ix_queue_entry_lane, whatever the statistics say.

-- The lanes in which something waits, by jumping from one to the next in the index; and the agents for whom alone
-- something waits (rows with target_agent_id).
CREATE OR REPLACE FUNCTION lanes_v1() RETURNS TABLE (
    queue_id uuid, escalated bool, weight int, ring int, skills text[], specialists text[], target_agent_id uuid
)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE lane AS (
        (SELECT e.queue_id, e.escalated, e.weight, e.ring, e.skills, e.specialists
         FROM queue_entry e
         WHERE e.state = 'waiting' AND e.target_agent_id IS NULL
         ORDER BY e.queue_id, e.escalated, e.weight, e.ring, e.skills, e.specialists LIMIT 1)
        UNION ALL
        SELECT n.*
        FROM lane l CROSS JOIN LATERAL (
            SELECT e.queue_id, e.escalated, e.weight, e.ring, e.skills, e.specialists
            FROM queue_entry e
            WHERE e.state = 'waiting' AND e.target_agent_id IS NULL
              AND (e.queue_id, e.escalated, e.weight, e.ring, e.skills, e.specialists)
                  > (l.queue_id, l.escalated, l.weight, l.ring, l.skills, l.specialists)
            ORDER BY e.queue_id, e.escalated, e.weight, e.ring, e.skills, e.specialists LIMIT 1) n
    )
    SELECT l.queue_id, l.escalated, l.weight, l.ring, l.skills, l.specialists, NULL::uuid FROM lane l;
    RETURN QUERY
    SELECT DISTINCT NULL::uuid, NULL::bool, NULL::int, NULL::int, NULL::text[], NULL::text[], e.target_agent_id
    FROM queue_entry e
    WHERE e.target_agent_id IS NOT NULL AND e.state = 'waiting';
END
$$;

-- Who had the contact last, in any conversation, within so many seconds; whoever has one of them now comes first.
-- Of a contact with more than a hundred conversations, only a hundred are looked at: this runs for each head.
CREATE OR REPLACE FUNCTION last_agent_v1(p_conversation uuid, p_contact uuid, p_window float8) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_window <= 0 THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT a.agent_id
        FROM (SELECT id FROM conversation WHERE contact_id = p_contact LIMIT 100) o
        JOIN assignment a ON a.conversation_id = o.id
        WHERE (a.ended_at > now() - make_interval(secs => p_window) OR (a.ended_at IS NULL AND o.id <> p_conversation))
        ORDER BY a.ended_at DESC NULLS FIRST
        LIMIT 1);
END
$$;

-- The next entries of lanes: [{n, queue_id, escalated, weight, ring, skills, specialists, target, after_at, after_id,
-- page, overdue}], in any order. Of lanes read for what is overdue only little is told, and only entries that have waited
-- for p_patience seconds. `preferred_id` is the owner, else who had the contact last.
CREATE OR REPLACE FUNCTION heads_v1(p_lanes jsonb, p_patience float8) RETURNS TABLE (
    n int, conversation_id uuid, order_at timestamptz, weight int, excluded text[], waited_s float8, boosts text,
    working bool, assignee_id uuid, channel_type text, language text, preferred_id uuid, preferred_for_s float8,
    queue_id uuid, escalated bool
)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH lane AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(p_lanes) AS l(
            n int, queue_id uuid, escalated bool, weight int, ring int, skills text[], specialists text[], target uuid,
            after_at timestamptz, after_id uuid, page int, overdue bool)
    ), head AS (
        SELECT l.n, e.*
        FROM lane l CROSS JOIN LATERAL (
            SELECT e.conversation_id, e.order_at, e.weight, e.excluded, e.enqueued_at, e.entered_at, e.boosts, e.queue_id,
                   e.escalated
            FROM queue_entry e
            WHERE e.state = 'waiting' AND e.target_agent_id IS NULL
              AND e.queue_id = l.queue_id AND e.escalated = l.escalated AND e.weight = l.weight AND e.ring = l.ring
              AND e.skills = l.skills AND e.specialists = l.specialists
              AND (e.order_at, e.conversation_id) > (l.after_at, l.after_id)
            ORDER BY e.order_at, e.conversation_id
            LIMIT l.page) e
        WHERE l.target IS NULL AND NOT l.overdue
        UNION ALL
        SELECT l.n, e.*
        FROM lane l CROSS JOIN LATERAL (
            SELECT e.conversation_id, e.order_at, e.weight, e.excluded, e.enqueued_at, e.entered_at, e.boosts, e.queue_id,
                   e.escalated
            FROM queue_entry e
            WHERE e.target_agent_id = l.target AND e.state = 'waiting'
              AND (e.order_at, e.conversation_id) > (l.after_at, l.after_id)
            ORDER BY e.order_at, e.conversation_id
            LIMIT l.page) e
        WHERE l.target IS NOT NULL
    )
    SELECT h.n, h.conversation_id, h.order_at, h.weight, h.excluded, extract(epoch FROM now() - h.enqueued_at)::float8,
           h.boosts::text, c.status NOT IN ('resolved', 'closed'), c.assignee_id, c.channel_type, p.language,
           coalesce(c.owner_id, last_agent_v1(c.id, c.contact_id, q.sticky_window_s)),
           (q.sticky_wait_s - extract(epoch FROM now() - h.entered_at))::float8, h.queue_id, h.escalated
    FROM head h
    JOIN queue q ON q.id = h.queue_id
    JOIN conversation c ON c.id = h.conversation_id
    JOIN contact p ON p.id = c.contact_id;
    RETURN QUERY
    SELECT l.n, e.conversation_id, e.order_at, l.weight, e.excluded, e.waited_s, NULL::text, true, c.assignee_id, NULL::text,
           NULL::text, NULL::uuid, 0::float8, l.queue_id, l.escalated
    FROM jsonb_to_recordset(p_lanes) AS l(
        n int, queue_id uuid, escalated bool, weight int, ring int, skills text[], specialists text[], target uuid,
        after_at timestamptz, after_id uuid, page int, overdue bool)
    CROSS JOIN LATERAL (
        SELECT e.conversation_id, e.order_at, e.excluded, extract(epoch FROM now() - e.enqueued_at)::float8 AS waited_s
        FROM queue_entry e
        WHERE e.state = 'waiting' AND e.target_agent_id IS NULL
          AND e.queue_id = l.queue_id AND e.escalated = l.escalated AND e.weight = l.weight AND e.ring = l.ring
          AND e.skills = l.skills AND e.specialists = l.specialists
          AND (e.order_at, e.conversation_id) > (l.after_at, l.after_id)
          AND e.enqueued_at <= now() - make_interval(secs => p_patience)
        ORDER BY e.order_at, e.conversation_id
        LIMIT l.page) e
    JOIN conversation c ON c.id = e.conversation_id
    WHERE l.overdue;
END
$$;
