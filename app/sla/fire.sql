-- Fire what is due of these conversations: warnings, then deadlines, each exactly once, whoever asks.
--
-- Conversations that somebody else holds are left for the next time. The locks are taken first; the statement after
-- them sees what the holders before us have committed, so a clock that was met or fired meanwhile is not due any more.
-- A breach carries its deadline as its time, however late it was noticed. Events are written as events/append.sql does,
-- for the whole batch at once: `pos` under the held row, never below our xid (docs/decisions/0004).
CREATE OR REPLACE FUNCTION fire_clocks_v1(p_conversations uuid[])
RETURNS TABLE (o_conversation uuid, o_metric text, o_stage text, o_lag_s float8)
LANGUAGE plpgsql AS $$
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
    WITH moved AS (  -- a clock that is still looked at has no breach yet
        UPDATE sla_clock k
        SET warned_at = CASE WHEN k.warned_at IS NULL AND k.warn_at <= v_at THEN v_at ELSE k.warned_at END,
            breached_at = CASE WHEN k.due_at <= v_at THEN k.due_at END,
            next_at = CASE WHEN k.due_at > v_at THEN k.due_at END
        WHERE k.conversation_id = ANY(v_held) AND k.state = 'running' AND k.next_at <= v_at
        RETURNING k.*
    ), fired AS (
        SELECT m.*, s.stage, s.moment
        FROM moved m
        CROSS JOIN LATERAL (
            VALUES ('warned', m.warned_at = v_at, m.warn_at), ('breached', m.breached_at IS NOT NULL, m.due_at)
        ) AS s(stage, happens, moment)
        WHERE s.happens
    ), held AS (
        UPDATE conversation c
        SET stream_pos = greatest(c.stream_pos, v_xid), updated_at = now()
        WHERE c.id IN (SELECT f.conversation_id FROM fired f)
    ), told AS (
        INSERT INTO event(pos, type, conversation_id, contact_id, seq, scope, queues, agents, to_customer, actor_type,
                          actor_id, correlation_id, payload)
        SELECT greatest(c.stream_pos, v_xid), 'sla.' || f.stage, c.id, c.contact_id, c.last_seq, 'conversation',
               array_remove(ARRAY[c.queue_id], NULL),
               array_remove(ARRAY[c.assignee_id, nullif(c.owner_id, c.assignee_id)], NULL) || c.participant_ids,
               false, 'system', NULL, c.correlation_id,
               jsonb_build_object(
                   'clock', jsonb_build_object(
                       'metric', f.metric, 'target_s', f.target_s, 'cycle', f.cycle, 'policy', p.code,
                       'due_at', to_char(f.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
                   'conversation', jsonb_build_object(
                       'id', c.id, 'status', c.status, 'category', c.category, 'queue_id', c.queue_id,
                       'assignee_id', c.assignee_id, 'owner_id', c.owner_id))
        FROM fired f
        JOIN conversation c ON c.id = f.conversation_id
        JOIN sla_policy p ON p.id = f.policy_id
        ORDER BY c.id, f.moment, f.metric
    )
    SELECT f.conversation_id, f.metric, f.stage, extract(epoch FROM v_at - f.moment)::float8 FROM fired f;

    IF FOUND THEN
        PERFORM pg_notify('roundtrip', 'events');
    END IF;
END $$;
