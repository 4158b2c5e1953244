-- Fire what is due of these conversations: warnings, deadlines, escalations, each exactly once, whoever asks.
--
-- Conversations that somebody else holds are left for the next time. The locks are taken first; the statement after
-- them sees what the holders before us have committed, so a clock that was met or fired meanwhile is not due any more.
-- A clock's stages are moments in order (models/sla.py): those up to now that have not been told are told now. A breach
-- carries its deadline as its time, however late it was noticed. Clocks whose stages are not worked out yet are left.
-- Events are written as events/append.sql does, for the whole batch at once: `pos` under the held row, never below our
-- xid (docs/decisions/0004).
CREATE OR REPLACE FUNCTION fire_clocks_v2(p_conversations uuid[])
RETURNS TABLE (o_clock uuid, o_conversation uuid, o_policy uuid, o_metric text, o_target_s int, o_stage int, o_kind text,
               o_lag_s float8, o_channel_type text, o_category text, o_matter text, o_severity text, o_warranty text)
LANGUAGE plpgsql
-- Every lookup here is by a key, whatever the statistics said when the plan was made.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_held uuid[];
    v_at timestamptz;
    v_xid bigint;
BEGIN
    SELECT array_agg(h.id) INTO v_held
    FROM (SELECT c.id FROM conversation c WHERE c.id = ANY(p_conversations) ORDER BY c.id FOR UPDATE SKIP LOCKED) h;
    IF v_held IS NULL THEN
        RETURN;
    END IF;
    v_at := clock_timestamp();
    v_xid := pg_current_xact_id()::text::bigint;

    RETURN QUERY
    WITH due AS (
        SELECT k.id, k.stage AS was, width_bucket(v_at, k.stage_at) AS now
        FROM sla_clock k
        WHERE k.conversation_id = ANY(v_held) AND k.state = 'running' AND k.next_at <= v_at AND k.stage_at <> '{}'
    ), moved AS (
        UPDATE sla_clock k
        SET stage = d.now,
            level = greatest(d.now - k.breach_stage + 1, 0),
            warned_at = CASE WHEN k.warned_at IS NULL AND k.breach_stage > 1 THEN v_at ELSE k.warned_at END,
            breached_at = CASE WHEN d.now >= k.breach_stage THEN k.stage_at[k.breach_stage] ELSE k.breached_at END,
            next_at = k.stage_at[d.now + 1]
        FROM due d
        WHERE k.id = d.id
        RETURNING k.*, d.was
    ), fired AS (
        SELECT m.*, s.n, m.stage_at[s.n] AS moment,
               CASE WHEN s.n < m.breach_stage THEN 'warned' WHEN s.n = m.breach_stage THEN 'breached' ELSE 'escalated' END AS kind
        FROM moved m CROSS JOIN LATERAL generate_series(m.was + 1, m.stage) AS s(n)
    ), held AS (
        UPDATE conversation c
        SET stream_pos = greatest(c.stream_pos, v_xid), updated_at = now()
        WHERE c.id IN (SELECT f.conversation_id FROM fired f)
    ), told AS (
        INSERT INTO event(pos, type, conversation_id, contact_id, channel_id, seq, scope, queues, agents, to_customer, actor_type,
                          actor_id, correlation_id, payload)
        SELECT greatest(c.stream_pos, v_xid), 'sla.' || f.kind, c.id, c.contact_id, c.channel_id, c.last_seq, 'conversation',
               array_remove(ARRAY[c.queue_id], NULL),
               array_remove(ARRAY[c.assignee_id, nullif(c.owner_id, c.assignee_id)], NULL) || c.participant_ids,
               false, 'system', NULL, c.correlation_id,
               jsonb_build_object(
                   'clock', jsonb_build_object(
                       'metric', f.metric, 'target_s', f.target_s, 'cycle', f.cycle, 'policy', p.code,
                       'level', greatest(f.n - f.breach_stage + 1, 0),
                       'retargeted', coalesce(f.due_at <= f.retargeted_at, false),
                       'due_at', to_char(f.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
                   'conversation', jsonb_build_object(
                       'id', c.id, 'status', c.status, 'category', c.category, 'queue_id', c.queue_id,
                       'assignee_id', c.assignee_id, 'owner_id', c.owner_id))
        FROM fired f
        JOIN conversation c ON c.id = f.conversation_id
        JOIN sla_policy p ON p.id = f.policy_id
        ORDER BY c.id, f.moment, f.metric, f.turn, f.n
    ), counted AS (
        INSERT INTO sla_attainment_delta(day, policy_id, metric, channel_id, queue_id, agent_id, met, breached, late, elapsed_us)
        SELECT (f.moment AT TIME ZONE 'UTC')::date, f.policy_id, f.metric, c.channel_id, c.queue_id,
               coalesce(c.assignee_id, c.owner_id), 0, count(*)::int, 0, 0
        FROM fired f
        JOIN conversation c ON c.id = f.conversation_id
        WHERE f.kind = 'breached'
        GROUP BY 1, 2, 3, 4, 5, 6
    )
    SELECT f.id, f.conversation_id, f.policy_id, f.metric, f.target_s, f.n, f.kind,
           extract(epoch FROM v_at - greatest(f.moment, f.retargeted_at))::float8,
           c.channel_type, c.category, c.matter, c.severity, c.warranty
    FROM fired f
    JOIN conversation c ON c.id = f.conversation_id;

    IF FOUND THEN
        PERFORM pg_notify('roundtrip', 'events');
    END IF;
END $$;
