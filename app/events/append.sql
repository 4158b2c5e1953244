-- One event of a conversation whose row this transaction has locked, or of none (p_conversation null).
--
-- The order of the stream is (pos, id). A transaction's id (xid) is given at its first write, which may be before it
-- waits for the conversation's lock; so xids alone can order two events of one conversation against their history.
-- `pos` is the greater of our xid and the conversation's newest pos, taken under the row lock: it never runs
-- backwards inside a conversation, and is never below our own xid, so that "pos < the oldest running xid" still
-- means "everything up to here is visible" (docs/decisions/0004).
CREATE OR REPLACE FUNCTION append_event_v1(
    p_conversation uuid, p_type text, p_scope text, p_queues uuid[], p_agents uuid[], p_to_customer boolean,
    p_actor_type text, p_actor uuid, p_correlation text, p_payload jsonb
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_pos bigint := pg_current_xact_id()::text::bigint;
    v_seq int;
    v_contact uuid;
    v_channel uuid;
    v_participants uuid[] := '{}';
    v_id bigint;
BEGIN
    IF p_conversation IS NOT NULL THEN
        UPDATE conversation SET stream_pos = greatest(stream_pos, v_pos), updated_at = now()
        WHERE id = p_conversation
        RETURNING stream_pos, last_seq, contact_id, channel_id, CASE WHEN p_scope = 'conversation' THEN participant_ids ELSE '{}' END
        INTO STRICT v_pos, v_seq, v_contact, v_channel, v_participants;
    END IF;
    INSERT INTO event(pos, type, conversation_id, contact_id, channel_id, seq, scope, queues, agents, to_customer,
                      actor_type, actor_id, correlation_id, payload)
    VALUES (v_pos, p_type, p_conversation, v_contact, v_channel, v_seq, p_scope, p_queues, p_agents || v_participants, p_to_customer,
            p_actor_type, p_actor, p_correlation, p_payload)
    RETURNING id INTO v_id;
    PERFORM pg_notify('roundtrip', 'events');
    RETURN v_id;
END $$;
