-- What was said of messages before their providers' ids were known here (delivery/orphans.py): taken out for who has just
-- written these ids. Both sides take the lock before they look, and each statement of a function sees what was committed
-- before it began: whoever is second sees what the first has left.
CREATE OR REPLACE FUNCTION adopt_orphans_v1(p_channels uuid[], p_ids text[], p_messages uuid[])
RETURNS TABLE (o_message uuid, o_status text, o_detail text, o_code text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(k) FROM (
        SELECT DISTINCT hashtextextended(u.channel::text || ' ' || u.id, 8) AS k
        FROM unnest(p_channels, p_ids) AS u(channel, id) ORDER BY 1) AS keys;
    RETURN QUERY
    DELETE FROM orphan_status o
    USING unnest(p_channels, p_ids, p_messages) AS w(channel, id, message)
    WHERE o.channel_id = w.channel AND o.provider_message_id = w.id
    RETURNING w.message, o.status, o.detail, o.error_code;
END $$;
