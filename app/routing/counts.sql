-- How many wait in each queue, without ever counting them: whatever changes queue_entry leaves the difference behind in
-- the same transaction, one row per queue and statement; routing/counts.py adds the differences up.
--
-- Statement-level triggers with transition tables: a batch costs one more INSERT, and a change that moves nothing (a ring,
-- who is left out) costs no row and no wakeup. Locking the table while the triggers are made lets nothing slip through
-- between what is counted here, once, and what they see.
DO $install$
BEGIN
    LOCK TABLE queue_entry IN SHARE ROW EXCLUSIVE MODE;

    CREATE OR REPLACE FUNCTION count_entries_v1() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO queue_delta(queue_id, waiting, offered)
            SELECT queue_id, count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'offered')
            FROM fresh GROUP BY queue_id;
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO queue_delta(queue_id, waiting, offered)
            SELECT queue_id, -count(*) FILTER (WHERE state = 'waiting'), -count(*) FILTER (WHERE state = 'offered')
            FROM gone GROUP BY queue_id;
        ELSE
            INSERT INTO queue_delta(queue_id, waiting, offered)
            SELECT queue_id, sum(waiting), sum(offered)
            FROM (
                SELECT queue_id, (state = 'waiting')::int AS waiting, (state = 'offered')::int AS offered FROM fresh
                UNION ALL
                SELECT queue_id, -(state = 'waiting')::int, -(state = 'offered')::int FROM gone
            ) moved
            GROUP BY queue_id HAVING sum(waiting) <> 0 OR sum(offered) <> 0;
        END IF;
        IF FOUND THEN
            PERFORM pg_notify('roundtrip', 'counts');
        END IF;
        RETURN NULL;
    END $$;

    CREATE OR REPLACE TRIGGER count_inserted AFTER INSERT ON queue_entry
        REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_entries_v1();
    CREATE OR REPLACE TRIGGER count_updated AFTER UPDATE ON queue_entry
        REFERENCING OLD TABLE AS gone NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_entries_v1();
    CREATE OR REPLACE TRIGGER count_deleted AFTER DELETE ON queue_entry
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_entries_v1();

    DELETE FROM queue_delta;
    DELETE FROM queue_count;
    INSERT INTO queue_count(queue_id, waiting, offered)
    SELECT queue_id, count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'offered')
    FROM queue_entry GROUP BY queue_id;
END $install$;
