-- How an entry of a queue is made, wherever that happens; only a batch of new conversations makes its own, with the same
-- boosts_v1 and next_at_v1 (intake/ingest.sql).
--
-- Let a conversation, held by the caller, wait for an agent; no offer of it is pending. What it waited for before is
-- replaced, but for what is not given:
-- p_queue       null: the conversation's, else the default one
-- p_weight      null: its category's
-- p_since       null: the age it has: of its entry, else of the matter: its beginning, or when it was reopened
-- p_escalated   null: as its entry is, else not; and p_specialists with it
-- p_target      who alone is asked, for p_target_s seconds
-- p_passed_over who is not asked for p_again_s seconds
-- In the queue it is in already it stays at its ring. Answers when something is due next.
CREATE OR REPLACE FUNCTION enqueue_v1(
    p_conversation uuid, p_queue uuid, p_weight int, p_since timestamptz, p_escalated bool, p_specialists text[],
    p_target uuid, p_target_s float8, p_passed_over text[], p_again_s float8, p_note text
) RETURNS timestamptz
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    c conversation;
    q queue;
    was queue_entry;
    v_since timestamptz;
    v_escalated bool;
    v_same bool;
    v_target_until timestamptz := CASE WHEN p_target IS NOT NULL THEN now() + make_interval(secs => p_target_s) END;
    v_round timestamptz := CASE WHEN p_passed_over <> '{}' THEN now() + make_interval(secs => p_again_s) END;
    v_next timestamptz;
BEGIN
    SELECT * INTO STRICT c FROM conversation WHERE id = p_conversation;
    SELECT * INTO STRICT q FROM queue
    WHERE id = coalesce(p_queue, c.queue_id, (SELECT d.id FROM queue d WHERE d.is_default));
    SELECT * INTO was FROM queue_entry WHERE conversation_id = p_conversation;
    v_same := coalesce(was.queue_id = q.id, false);
    v_escalated := coalesce(p_escalated, was.escalated, false);
    v_since := coalesce(p_since, was.enqueued_at,
                        (SELECT r.decided_at FROM resolution_cycle r
                         WHERE r.conversation_id = c.id AND r.number = c.cycle - 1 AND c.cycle > 1),
                        c.created_at);
    v_next := next_at_v1(q.rings, q.overflow_queue_id, q.overflow_after_s, q.max_wait_s, q.when_closed, q.calendar_id,
                         CASE WHEN v_same THEN was.entered_at ELSE now() END, CASE WHEN v_same THEN was.ring ELSE 0 END,
                         v_escalated, c.assignee_id IS NOT NULL, p_target, v_target_until, v_round);
    INSERT INTO queue_entry(
        conversation_id, queue_id, state, weight, skills, escalated, specialists, ring, target_agent_id, excluded, note,
        enqueued_at, order_at, boosts, entered_at, target_until, round_at, next_at)
    SELECT c.id, q.id, 'waiting',
           coalesce(p_weight, (SELECT s.weight FROM category_setting s WHERE s.category = c.category), 1),
           coalesce(was.skills, '{}'), v_escalated,
           coalesce(p_specialists, CASE WHEN p_escalated IS NULL THEN was.specialists END, '{}'),
           CASE WHEN v_same THEN was.ring ELSE 0 END, p_target, p_passed_over, p_note,
           v_since, v_since - make_interval(secs => b.boost_s), b.boosts,
           CASE WHEN v_same THEN was.entered_at ELSE now() END, v_target_until, v_round, v_next
    FROM boosts_v1(c.category, c.matter, c.severity, c.channel_type, c.contact_id, c.id, c.created_at) b
    ON CONFLICT (conversation_id) DO UPDATE SET
        queue_id = excluded.queue_id, state = excluded.state, weight = excluded.weight, escalated = excluded.escalated,
        specialists = excluded.specialists, ring = excluded.ring, target_agent_id = excluded.target_agent_id,
        excluded = excluded.excluded, note = excluded.note, enqueued_at = excluded.enqueued_at,
        order_at = excluded.order_at, boosts = excluded.boosts, entered_at = excluded.entered_at,
        target_until = excluded.target_until, round_at = excluded.round_at, next_at = excluded.next_at;
    PERFORM pg_notify('roundtrip', 'dispatch');
    IF v_next IS NOT NULL THEN
        PERFORM pg_notify('roundtrip', 'patience');
    END IF;
    RETURN v_next;
END $$;
