-- When something is due next for an entry that waits in a queue with these rules (routing/due.py says what); null: nothing ever.
-- One that is meant for an agent waits only for them, and one that somebody works on stays where it is. When a queue
-- that passes on what comes while it is closed closes, patience.py knows, so it looks at once.
CREATE OR REPLACE FUNCTION next_at_v1(
    p_rings jsonb, p_overflow uuid, p_overflow_s float8, p_max_wait_s float8, p_when_closed text, p_calendar uuid,
    p_entered timestamptz, p_ring int, p_escalated bool, p_held bool, p_target uuid, p_target_until timestamptz,
    p_round timestamptz
) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN p_target IS NOT NULL THEN p_target_until
        WHEN p_held THEN p_round
        ELSE least(
            p_round,
            p_entered + make_interval(secs => (p_rings->p_ring->>'after_s')::float8),
            CASE WHEN p_overflow IS NOT NULL THEN p_entered + make_interval(secs => p_overflow_s) END,
            CASE WHEN p_overflow IS NOT NULL AND p_when_closed = 'overflow' AND p_calendar IS NOT NULL THEN now() END,
            CASE WHEN NOT p_escalated THEN p_entered + make_interval(secs => p_max_wait_s) END)
        END
$$;
