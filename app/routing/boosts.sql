-- Head starts of a conversation, by what gives them ({"category:urgent": 600, "tier:vip": 900}), and their sum in
-- seconds. Tier and risk are words that people write: upper and lower case are the same. `repeat` with the value 7: the contact came with another matter in the 7 days before this one.
CREATE OR REPLACE FUNCTION boosts_v1(
    p_category text, p_matter text, p_severity text, p_channel_type text, p_contact uuid, p_conversation uuid,
    p_created timestamptz
) RETURNS TABLE (boosts jsonb, boost_s float8)
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(f.name, f.boost_s), '{}'), coalesce(sum(f.boost_s), 0)
    FROM (
        SELECT 'category:' || s.category AS name, s.boost_s
        FROM category_setting s
        WHERE s.category = p_category
        UNION ALL
        SELECT b.fact || ':' || b.value, b.boost_s
        FROM boost b LEFT JOIN contact p ON p.id = p_contact
        WHERE CASE b.fact
            WHEN 'matter' THEN b.value = p_matter
            WHEN 'severity' THEN b.value = p_severity
            WHEN 'channel_type' THEN b.value = p_channel_type
            WHEN 'tier' THEN lower(b.value) = lower(p.tier)
            WHEN 'risk' THEN lower(b.value) = lower(p.attributes->>'risk')
            WHEN 'repeat' THEN b.value ~ '^[0-9]{1,4}$' AND EXISTS (
                SELECT 1 FROM conversation o
                WHERE o.contact_id = p_contact AND o.id <> p_conversation AND o.created_at <= p_created
                  AND o.created_at > p_created - make_interval(days => CASE WHEN b.value ~ '^[0-9]{1,4}$' THEN b.value::int END))
            END
    ) f
    WHERE f.boost_s <> 0
$$;
